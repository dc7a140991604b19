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
// called at any time from any goroutine. One injector may serve any number of
// connections.
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

// WithConsent consents to faults in this program's calls. Whether it is passed
// must depend on where the program runs.
func WithConsent() Option { return func(i *Injector) { i.consent = true } }

// WithLogger sets the logger for a plan's beginning and end. Default:
// slog.Default, at the time of the record.
func WithLogger(l *slog.Logger) Option { return func(i *Injector) { i.logger = l } }

// WithHook calls f for each injection, on the goroutine of the attempt. It must
// return at once, must not panic, and must be safe for concurrent use.
func WithHook(f func(Injection)) Option { return func(i *Injector) { i.hook = f } }

// New returns an injector without a plan. It returns an error if an option is
// nil.
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

// Start starts a plan, in place of the one that is on. It returns
// [ErrNoConsent], or every fault of the plan, joined; nothing changes then. A
// plan whose window is over injects nothing. Callers must not change the plan
// afterwards.
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

// Update is [Injector.Start] for callers that hold the wanted plan, such as a
// watched file: a plan equal to the last one started is left as it is, whether
// on, over or stopped. Nil stops.
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

// Stop ends the plan at once. Attempts that it keeps waiting continue as if
// there had been no plan.
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

// Active reports whether a plan is on: it was started, not stopped, and its
// window is not over.
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

// Injected calls f for each pattern and kind, with the number of faults since
// the injector was created. Past 1000 patterns, pattern is "other".
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
