package fleet

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/backend"
)

// Fleet is the backends of a target.
type Fleet struct {
	Target   string
	registry *Registry

	out     atomic.Int32  // backends whose breaker is not closed …
	held    atomic.Int32  // … and those of them that were drained
	version atomic.Uint64 // counts what may change who is believed out
	steady  atomic.Int64  // when a call was last chosen for that may be made again
	turns   atomic.Uint64 // choices by cost
	all     atomic.Pointer[[]*Backend]
	picked  atomic.Bool // a policy has chosen for one of the suite's attempts

	mu       sync.Mutex // guards what follows
	backends map[string]*Backend
	members  map[*Member]struct{}
	left     time.Duration // when the last member did
	warned   map[string]bool
}

// Endpoint is a backend as a resolver names it.
type Endpoint struct {
	Key  string // all of its addresses
	Name string // one of them
}

func newFleet(r *Registry, target string) *Fleet {
	f := &Fleet{Target: target, registry: r, backends: make(map[string]*Backend), members: make(map[*Member]struct{}), left: r.Now()}
	f.all.Store(new([]*Backend))
	return f
}

// Registry returns the suite's.
func (f *Fleet) Registry() *Registry { return f.registry }

func (f *Fleet) idleSince(now time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.members) > 0 {
		return 0
	}
	return now - f.left
}

// Member is a connection's view of the fleet.
type Member struct {
	fleet *Fleet
	has   map[string]*Backend // guarded by fleet.mu
	ready []*Backend          // guarded by fleet.mu
}

// Join adds a connection.
func (f *Fleet) Join() *Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &Member{fleet: f, has: make(map[string]*Backend)}
	f.members[m] = struct{}{}
	return m
}

// Fleet returns whose member it is.
func (m *Member) Fleet() *Fleet { return m.fleet }

// Leave is for a connection that is idle or closed. Backends are kept: if it was
// the last to know of them, for the next that joins.
func (m *Member) Leave() {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	m.readyLocked(nil)
	delete(f.members, m)
	if len(f.members) == 0 {
		f.left = f.registry.Now()
		return
	}
	f.pruneLocked()
}

// Resolved replaces the endpoints that the connection knows of. What no
// connection knows of any more is forgotten.
func (m *Member) Resolved(endpoints []Endpoint) {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.registry.Now()
	clear(m.has)
	for _, e := range endpoints {
		b := f.backends[e.Key]
		if b == nil {
			b = newBackend(f, e, now)
			f.backends[e.Key] = b
			b.applyPendingLocked(now)
		}
		m.has[e.Key] = b
	}
	f.pruneLocked()
	if len(m.has) == 1 {
		f.warnLocked("target has a single address, so all calls go there, and a proxy behind it may choose; backends are neither avoided nor ejected")
	}
}

// Ready replaces those of the endpoints that have a connection, by their keys,
// and returns them. A key that was not resolved gives nil.
func (m *Member) Ready(keys []string) []*Backend {
	f := m.fleet
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*Backend, len(keys))
	if _, member := f.members[m]; !member {
		return all // it has left
	}
	for i, k := range keys {
		all[i] = m.has[k]
	}
	m.readyLocked(all)
	f.version.Add(1)
	return all
}

func (m *Member) readyLocked(all []*Backend) {
	for _, b := range all {
		if b != nil {
			b.ready.Add(1)
		}
	}
	for _, b := range m.ready {
		if b != nil {
			b.ready.Add(-1)
		}
	}
	m.ready = all
}

// pruneLocked forgets the backends that no member has.
func (f *Fleet) pruneLocked() {
	for key, b := range f.backends {
		known := false
		for m := range f.members {
			if m.has[key] == b {
				known = true
				break
			}
		}
		if !known {
			delete(f.backends, key)
			b.forgetLocked(f.registry.Now())
		}
	}
	all := make([]*Backend, 0, len(f.backends))
	for _, b := range f.backends {
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b *Backend) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	f.all.Store(&all)
	f.version.Add(1)
}

func (f *Fleet) reconfigure(now time.Duration, cfg *Config) {
	for _, b := range *f.all.Load() {
		b.guard.Reconfigure(now, cfg.Breaker)
	}
	f.version.Add(1)
}

// warnLocked logs something about the target once.
func (f *Fleet) warnLocked(what string) {
	if f.warned[what] {
		return
	}
	if f.warned == nil {
		f.warned = make(map[string]bool)
	}
	f.warned[what] = true
	go f.registry.warn(f, what) // a logger may come back
}

// unused is for an attempt that was answered though no policy has chosen for it.
func (f *Fleet) unused() {
	if f.picked.Load() {
		return // one that was on its way when its connection changed policies
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.warnLocked("connection does not use the suite's load-balancing policy: its resolver, xDS or a dial option after Suite.DialOptions sets another service config (merge yours with Suite.ServiceConfig); backends are neither avoided nor ejected")
}

// Backends returns all, by name.
func (f *Fleet) Backends() []*Backend { return *f.all.Load() }

// away returns how many backends are ejected, and how many drained.
func (f *Fleet) away() (ejected, drained int) {
	ejected = int(f.out.Load())
	if ejected == 0 {
		return 0, 0
	}
	if f.held.Load() > 0 {
		now := f.registry.Now()
		for _, b := range *f.all.Load() {
			if b.drained(now) {
				drained++
			}
		}
	}
	if f.registry.Config().EjectOff {
		return 0, drained
	}
	return max(0, ejected-drained), drained
}

// Believed reports whether those that are ejected are believed out: no more than
// the share that may be of those not drained.
func (f *Fleet) Believed() bool {
	ejected, drained := f.away()
	return ejected == 0 || ejected <= backend.Most(len(*f.all.Load())-drained, f.registry.Config().MaxShare)
}

// certain reports whether what is said of backends is to be relied on: those that
// are ejected are believed out, or nobody minds them.
func (f *Fleet) certain() bool { return !f.registry.Config().steers() || f.Believed() }

// divided reports whether some backends are ejected and others, which are there,
// are in. If those fail too, they will be out as well, and then nobody is believed
// to be.
func (f *Fleet) divided() bool {
	if f.out.Load() == 0 || !f.registry.Config().steers() {
		return false
	}
	if ejected, _ := f.away(); ejected == 0 || !f.Believed() {
		return false
	}
	return f.anyIn()
}

// anyIn reports whether a backend that is there is in.
func (f *Fleet) anyIn() bool {
	for _, b := range *f.all.Load() {
		if b.ready.Load() > 0 && b.in() {
			return true
		}
	}
	return false
}

// elsewhere is [Route.Elsewhere]. It looks at the call's own connection: what is
// ready on another is of no use to it.
func (f *Fleet) elsewhere(c *Call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.among == nil || f.registry.Config().SameBackend || !f.certain() || f.registry.Closed() {
		return false
	}
	for _, b := range c.among.backends {
		if b.Ready() && b.in() && b.last.Load() != bad && !c.triedLocked(b) {
			return true
		}
	}
	return false
}

// recount brings the fleet's counts up to date, as a backend's breaker has changed.
func (f *Fleet) recount(b *Backend, now time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recountLocked(b, now)
}

func (f *Fleet) recountLocked(b *Backend, now time.Duration) {
	count := func(n *atomic.Int32, counted *bool, is bool) {
		switch {
		case is && !*counted:
			n.Add(1)
		case !is && *counted:
			n.Add(-1)
		}
		*counted = is
	}
	out := !b.gone.Load() && !b.closed()
	count(&f.out, &b.countedOut, out)
	count(&f.held, &b.countedHeld, out && b.drained(now))
	f.version.Add(1)
}
