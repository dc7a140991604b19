package fleet

import (
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/text"
)

// Config is how backends are chosen and judged. It is immutable.
type Config struct {
	P2C         bool // else in turn
	SameBackend bool // attempts of a call need not avoid where it has been
	KeepBackoff bool // another backend does not spare the backoff
	EjectOff    bool
	Observe     bool    // ejections are judged and shown, and keep no attempt away
	MaxShare    float64 // of the backends that may be believed out
	Breaker     breaker.Config
}

// steers reports whether ejections, and silence, keep attempts away.
func (c *Config) steers() bool { return !c.EjectOff && !c.Observe }

// Registry is what a suite knows of backends.
type Registry struct {
	ID string

	// Of a simulation, set before anything else is done with the registry:
	Clock  func() time.Duration // instead of the time since the epoch; nil: that
	Chance *rand.Rand           // nil: the program's own

	epoch time.Time
	log   func() *slog.Logger

	config  atomic.Pointer[Config]
	pending pending
	closed  atomic.Bool

	mu     sync.Mutex        // guards what follows
	fleets map[string]*Fleet // by canonical target
}

// suites are the registries alive, by ID: the JSON of a service config is all
// that a policy is given.
var suites struct {
	sync.Mutex
	last uint64
	all  map[string]weak.Pointer[Registry]
}

// NewRegistry returns an empty registry, which [Find] finds until it is
// forgotten or closed. Time is counted from epoch.
func NewRegistry(epoch time.Time, log func() *slog.Logger, cfg Config) *Registry {
	suites.Lock()
	defer suites.Unlock()
	suites.last++
	r := &Registry{ID: strconv.FormatUint(suites.last, 10), epoch: epoch, log: log, fleets: make(map[string]*Fleet)}
	r.config.Store(&cfg)
	if suites.all == nil {
		suites.all = make(map[string]weak.Pointer[Registry])
	}
	suites.all[r.ID] = weak.Make(r)
	runtime.AddCleanup(r, forget, r.ID)
	return r
}

func forget(id string) {
	suites.Lock()
	defer suites.Unlock()
	delete(suites.all, id)
}

// Find returns the registry with that ID; nil: there is none, or no longer.
func Find(id string) *Registry {
	suites.Lock()
	defer suites.Unlock()
	return suites.all[id].Value()
}

// Config returns how backends are judged now.
func (r *Registry) Config() *Config { return r.config.Load() }

// Reconfigure replaces the configuration, and keeps what is known of backends.
func (r *Registry) Reconfigure(cfg Config) {
	r.config.Store(&cfg)
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.fleets {
		f.reconfigure(now, &cfg)
	}
}

// Close makes policies plain ones: nobody judges backends any more.
func (r *Registry) Close() {
	r.closed.Store(true)
	forget(r.ID)
}

// Closed reports whether Close has been called.
func (r *Registry) Closed() bool { return r.closed.Load() }

// Now returns the time, as all here count it.
func (r *Registry) Now() time.Duration {
	if r.Clock != nil {
		return r.Clock()
	}
	return time.Since(r.epoch)
}

// chance returns a number in [0, 1).
func (r *Registry) chance() float64 {
	if r.Chance != nil {
		return r.Chance.Float64()
	}
	return rand.Float64()
}

// draw returns one of 0 to n−1.
func (r *Registry) draw(n int) int {
	if r.Chance != nil {
		return r.Chance.IntN(n)
	}
	return rand.IntN(n)
}

const (
	// maxFleets is how many targets may be kept before those without
	// connection are forgotten …
	maxFleets = 1024
	// … after that time.
	keepFor = time.Hour
)

// Fleet returns that of a target, which is made if need be. The target is
// canonical: as a connection's policy sees it.
func (r *Registry) Fleet(target string) *Fleet {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.fleets[target]
	if f == nil {
		r.sweepLocked()
		f = newFleet(r, target)
		r.fleets[target] = f
	}
	return f
}

// sweepLocked forgets targets without a connection, where there are many.
func (r *Registry) sweepLocked() {
	if len(r.fleets) < maxFleets {
		return
	}
	now := r.Now()
	for target, f := range r.fleets {
		if f.idleSince(now) > keepFor {
			delete(r.fleets, target)
		}
	}
}

// warn logs what a target's user should know.
func (r *Registry) warn(f *Fleet, what string) {
	r.log().Warn("astra: balancing: "+what, "target", text.Name(f.Target))
}
