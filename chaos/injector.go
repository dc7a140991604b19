package chaos

import (
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// ErrNoConsent is what [Injector.Start] returns where the program has not given
// its consent.
var ErrNoConsent = errors.New("chaos: program has not consented: pass chaos.WithConsent to New where faults may be injected")

// Injector injects the faults of a plan, while one is on. Its methods may be
// called at any time from any goroutine. It may serve any number of connections.
type Injector struct {
	consent bool
	logger  *slog.Logger // nil: the default at the time
	hook    func(Injection)

	running atomic.Pointer[running] // nil: nothing is injected

	mu     sync.Mutex
	latest *Plan                      // the last plan started; guarded by mu
	counts map[counted]*atomic.Uint64 // guarded by mu
}

// Injection is a fault that an attempt met.
type Injection struct {
	Method  string // of the attempt, its full name
	Pattern string // of the fault
	Kind    Kind
}

// Option configures an [Injector].
type Option func(*Injector)

// WithConsent says that faults may be injected into this program's calls. Let it
// depend on where the program runs.
func WithConsent() Option { return func(i *Injector) { i.consent = true } }

// WithLogger sets where beginnings and ends are logged. Default: slog.Default, at
// the time.
func WithLogger(l *slog.Logger) Option { return func(i *Injector) { i.logger = l } }

// WithHook has f called for each injection, on the goroutine of the attempt and by
// many at a time. It must return at once, and must not panic.
func WithHook(f func(Injection)) Option { return func(i *Injector) { i.hook = f } }

// New returns an injector without a plan. The error says that an option is nil.
func New(opts ...Option) (*Injector, error) {
	i := &Injector{counts: make(map[counted]*atomic.Uint64)}
	for _, o := range opts {
		if o == nil {
			return nil, errors.New("chaos: option: must not be nil")
		}
		o(i)
	}
	return i, nil
}

// Consented reports whether the program has given its consent.
func (i *Injector) Consented() bool { return i.consent }

// DialOptions returns what grpc.NewClient needs, to be given after the options of
// a suite; none without consent. While no plan is on, an attempt costs one atomic
// load more.
func (i *Injector) DialOptions() []grpc.DialOption {
	if !i.consent {
		return nil
	}
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(i.UnaryClientInterceptor()),
		grpc.WithChainStreamInterceptor(i.StreamClientInterceptor()),
	}
}

// Start begins a plan, in place of the one that is on. The error is
// [ErrNoConsent], or joins everything that is wrong with the plan; nothing changes
// then. A plan whose window is over does nothing. The plan must not be changed
// after.
func (i *Injector) Start(p Plan) error {
	if !i.consent {
		return ErrNoConsent
	}
	if err := p.Validate(); err != nil {
		return err
	}
	i.mu.Lock()
	report := i.startLocked(p)
	i.mu.Unlock()
	report()
	return nil
}

// Update is [Injector.Start] for what keeps a plan: it leaves one that equals the
// last one started as it is, be it on, over or stopped. nil stops, too.
func (i *Injector) Update(p *Plan) error {
	if p == nil {
		i.mu.Lock()
		i.latest = nil
		report := i.endLocked("it was taken away")
		i.mu.Unlock()
		report()
		return nil
	}
	i.mu.Lock()
	same := i.latest != nil && reflect.DeepEqual(*i.latest, *p)
	i.mu.Unlock()
	if same {
		return nil
	}
	return i.Start(*p)
}

// startLocked returns what reports it, which is not to be done under the lock: a
// handler of logs may ask the injector something.
func (i *Injector) startLocked(p Plan) (report func()) {
	ended := i.endLocked("another plan began")
	p.Faults = slices.Clone(p.Faults)
	i.latest = &p
	now := time.Now()
	begin := p.Start
	if begin.IsZero() {
		begin = now
	}
	left := begin.Add(p.For).Sub(now)
	if left <= 0 {
		return func() {
			ended()
			i.log().Warn("astra: chaos: plan's window is over: nothing is injected", "ended", begin.Add(p.For))
		}
	}
	r := &running{injector: i, begin: begin, length: p.For, seed: p.Seed, over: make(chan struct{})}
	for _, f := range p.Faults {
		r.faults = append(r.faults, newFault(f, i.counterLocked(counted{f.Method, f.Kind})))
	}
	r.end = time.AfterFunc(left, func() { i.windowOver(r) })
	i.running.Store(r)
	return func() {
		ended()
		i.log().Warn("astra: chaos: injecting faults into calls", "faults", len(p.Faults), "from", begin, "for", p.For, "seed", p.Seed)
	}
}

// Stop ends the plan at once. Attempts that it keeps waiting go on as if there had
// been none.
func (i *Injector) Stop() {
	i.mu.Lock()
	report := i.endLocked("it was stopped")
	i.mu.Unlock()
	report()
}

func (i *Injector) windowOver(r *running) {
	i.mu.Lock()
	report := func() {}
	if i.running.Load() == r {
		report = i.endLocked("its window is over")
	}
	i.mu.Unlock()
	report()
}

func (i *Injector) endLocked(why string) (report func()) {
	r := i.running.Swap(nil)
	if r == nil {
		return func() {}
	}
	r.end.Stop()
	close(r.over)
	return func() {
		var total uint64
		for _, f := range r.faults {
			total += f.drawn.Load()
		}
		i.log().Warn("astra: chaos: fault injection ended", "why", why, "injected", total)
	}
}

func (i *Injector) log() *slog.Logger {
	if i.logger != nil {
		return i.logger
	}
	return slog.Default()
}

// Active reports whether a plan is on: given, not stopped, and its window not over.
func (i *Injector) Active() bool { return i.running.Load() != nil }

// counted is what injections are counted by.
type counted struct {
	pattern string
	kind    Kind
}

// mostCounted bounds the patterns that reloads may bring.
const mostCounted = 1000

func (i *Injector) counterLocked(c counted) *atomic.Uint64 {
	if i.counts[c] == nil {
		if len(i.counts) >= mostCounted {
			c.pattern = "other"
		}
		if i.counts[c] == nil {
			i.counts[c] = new(atomic.Uint64)
		}
	}
	return i.counts[c]
}

// Injected calls f with how many faults each pattern and kind has brought since
// the injector was made. Past 1000 of them, pattern is "other".
func (i *Injector) Injected(f func(pattern, kind string, n uint64)) {
	i.mu.Lock()
	type count struct {
		counted
		n uint64
	}
	var all []count
	for c, n := range i.counts {
		all = append(all, count{c, n.Load()})
	}
	i.mu.Unlock()
	for _, c := range all {
		f(c.pattern, c.kind.String(), c.n)
	}
}
