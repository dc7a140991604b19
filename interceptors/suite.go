package interceptors

import (
	"errors"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
)

// Suite holds policies and the state that calls share: breakers, budgets,
// observers. One suite may serve any number of connections; breakers are kept
// apart by target and method, budgets by target. All methods may be called at
// any time, from any goroutine.
type Suite struct {
	epoch    time.Time // the cores' time starts here
	logger   *slog.Logger
	watchers []*watcher
	layers   layers

	full   atomic.Bool           // there are too many plans, and that has been logged
	table  atomic.Pointer[table] // what calls read
	replay atomic.Int64          // bytes that streams keep to send again

	mu        sync.Mutex // guards what follows, and the replacing of table
	closed    bool
	policies  patternTable[*compiled]
	fallbacks patternTable[Fallback]
	resumes   patternTable[Resume]
	plans     map[key]*plan
	budgets   map[budgetKey]*budget.Guard
	swept     time.Duration // last look for idle plans
	others    *endpoint     // of what there are too many of; nil: there are not
}

// budgetKey: methods of a target share a budget as long as their policies
// agree on it.
type budgetKey struct {
	target string
	config budget.Config
}

const (
	// maxPlans bounds the pairs of target and method that state is kept for.
	maxPlans = 4096
	// idleAfter is how long a pair must have been without a call to be
	// forgotten.
	idleAfter = 10 * time.Minute
	// overflow is the target and method of all pairs past maxPlans.
	overflow = "other"
)

// nobody is told what happens after Close, or past maxPlans.
var nobody recorders

// New returns a suite. Without options every method has the default [Policy].
// The error joins every fault of every option, each naming field, value and
// allowed range.
func New(opts ...Option) (*Suite, error) {
	set := readOptions(opts)
	if err := set.err(); err != nil {
		return nil, err
	}
	s := &Suite{
		epoch:     time.Now(),
		logger:    set.logger,
		policies:  compileAll(set.policies),
		fallbacks: set.fallbacks,
		resumes:   set.resumes,
		plans:     make(map[key]*plan),
		budgets:   make(map[budgetKey]*budget.Guard),
	}
	for _, o := range set.observers {
		s.watchers = append(s.watchers, newWatcher(s, o))
	}
	s.table.Store(newTable(nil))
	return s, nil
}

func compileAll(policies patternTable[Policy]) patternTable[*compiled] {
	all := make(patternTable[*compiled], len(policies)+1)
	for pattern, p := range policies {
		all[pattern] = compile(p)
	}
	if all[everyMethod] == nil {
		all[everyMethod] = compile(Policy{}.withDefaults())
	}
	return all
}

// UnaryClientInterceptor returns the interceptor of unary calls. It is to be
// the first of a chain: those after it see each attempt, those before it see
// the call. The connection should be dialed with [grpc.WithDisableRetry], as
// [Suite.DialOptions] does, or grpc-go's own retries multiply with these.
//
// An interceptor after it must have ended its use of its CallOptions when it
// returns, as grpc-go's own have.
func (s *Suite) UnaryClientInterceptor() grpc.UnaryClientInterceptor {
	return s.unary(&s.layers)
}

// StreamClientInterceptor returns the interceptor of streams of every kind. See
// [Suite.UnaryClientInterceptor] for where it belongs.
func (s *Suite) StreamClientInterceptor() grpc.StreamClientInterceptor {
	return s.stream(&s.layers)
}

// DialOptions returns what [grpc.NewClient] needs: both interceptors, chained
// (so given before other interceptors, they are outermost), and
// [grpc.WithDisableRetry].
func (s *Suite) DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(s.unary(nil)),
		grpc.WithChainStreamInterceptor(s.stream(nil)),
		grpc.WithDisableRetry(),
	}
}

// Reload replaces all policies by those given: no options, and every method
// has the default again. Observers, fallbacks and the logger stay, so those
// options are faults here. The state of breakers, budgets and metrics stays
// too: an open breaker stays open for the time it has, under the new
// thresholds. Calls that run end under the policy they began with. If there
// are faults, they are returned, joined, and nothing changes.
func (s *Suite) Reload(opts ...Option) error {
	set := readOptions(opts)
	if len(set.observers) > 0 || len(set.fallbacks) > 0 || len(set.resumes) > 0 || set.logger != nil {
		set.fault(errors.New("reload: want policies only: observers, fallbacks, resumes and the logger are given to New"))
	}
	if err := set.err(); err != nil {
		return err
	}
	policies := compileAll(set.policies)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.policies = policies
	s.rebuild()
	return nil
}

// Close ends the suite's goroutines, after its observers have been told what
// is queued for them (an observer that does not return is given up after
// 5 s). Calls after it still work, as plain calls with their policies'
// retries and budgets: without breaker, fallback or observers. Close may be
// called more than once; it returns nil.
func (s *Suite) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		s.rebuild()
		for _, p := range s.plans {
			p.evict()
		}
		if s.others != nil {
			s.others.evict()
		}
	}
	s.mu.Unlock()
	for _, w := range s.watchers {
		w.close()
	}
	return nil
}

// rebuild makes the plans anew, around the state they have.
func (s *Suite) rebuild() {
	now := s.now()
	old := s.budgets
	s.budgets = make(map[budgetKey]*budget.Guard)
	for k, g := range old {
		if k.target == overflow {
			s.budgets[k] = g
		}
	}
	for k, p := range s.plans {
		next := s.newPlan(now, p.endpoint, old)
		next.marks.Store(p.marks.Load())
		s.plans[k] = next
	}
	s.table.Store(newTable(s.plans))
}

// planOf returns the plan of a call, and whether it is to be looked at when the
// call is over.
func (s *Suite) planOf(cc *grpc.ClientConn, method string, l *layers) (p *plan, fresh bool) {
	var target string
	if cc != nil {
		target = cc.Target()
	}
	p = s.plan(target, method)
	want := uint32(markUsed)
	if l != nil {
		want = markAll
	}
	if fresh = p.marks.Load()&want != want; fresh {
		p.marks.Or(markUsed)
	}
	return p, fresh
}

// plan returns what a call needs. The first call of a method on a target makes
// it; later ones read it without a lock.
func (s *Suite) plan(target, method string) *plan {
	if p := s.table.Load().find(target, method); p != nil {
		return p
	}
	p, full := s.makePlan(key{target, method})
	if full && s.full.CompareAndSwap(false, true) {
		s.log().Warn("astra: too many methods and targets: further ones share a budget, go without a breaker, and are observed as one",
			"kept", maxPlans, "method", method, "target", target)
	}
	return p
}

// makePlan makes a plan and keeps it, unless there are too many.
func (s *Suite) makePlan(k key) (p *plan, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.plans[k]; p != nil {
		return p, false
	}
	now := s.now()
	if now-s.swept >= idleAfter {
		s.sweep(now)
	}
	if len(s.plans) >= maxPlans {
		return s.overflowPlan(now, k), true
	}
	p = s.newPlan(now, s.newEndpoint(k), nil)
	p.marks.Store(markUsed)
	s.plans[k] = p

	t := s.table.Load()
	next := &table{maps.Clone(t.methods)}
	if m := next.methods[k.method]; m != nil {
		next.methods[k.method] = &perMethod{m.target, m.plan, maps.Clone(m.more)}
	}
	next.add(k, p)
	s.table.Store(next)
	return p, false
}

func (s *Suite) newEndpoint(k key) *endpoint {
	e := &endpoint{target: k.target, method: k.method}
	if !s.closed {
		for _, w := range s.watchers {
			e.watchedBy.add(w.recorder(Endpoint{s, e}))
		}
	}
	return e
}

// overflowPlan is the plan of a pair that nothing is kept for: its method's
// policy and fallback, and one budget and one endpoint for all of these.
func (s *Suite) overflowPlan(now time.Duration, k key) *plan {
	if s.others == nil {
		s.others = s.newEndpoint(key{overflow, overflow})
	}
	p := &plan{
		endpoint: &endpoint{target: k.target, method: k.method},
		tells:    &nobody,
		policy:   s.policy(k.method),
		budget:   s.budget(now, &endpoint{target: overflow}, s.policy(k.method), nil),
	}
	if !s.closed {
		p.tells = &s.others.watchedBy
		p.fallback, _ = s.fallbacks.lookup(k.method)
		p.resume, _ = s.resumes.lookup(k.method)
	}
	return p
}

// sweep forgets the plans that no call has used since the last sweep.
func (s *Suite) sweep(now time.Duration) {
	s.swept = now
	idle := false
	inUse := make(map[budgetKey]*budget.Guard)
	for k, g := range s.budgets {
		if k.target == overflow {
			inUse[k] = g
		}
	}
	for k, p := range s.plans {
		if p.marks.And(^uint32(markUsed))&markUsed != 0 {
			if p.budget != nil {
				inUse[budgetKey{k.target, p.policy.budget}] = p.budget
			}
			continue
		}
		idle = true
		delete(s.plans, k)
		p.evict()
	}
	if idle {
		s.budgets = inUse
		s.table.Store(newTable(s.plans))
	}
}

func (s *Suite) policy(method string) *compiled {
	c, _ := s.policies.lookup(method)
	return c
}

// newPlan joins an endpoint's living state and today's policy. Budgets that
// are not in s.budgets yet start from what the endpoint's had, or from one of
// old.
func (s *Suite) newPlan(now time.Duration, e *endpoint, old map[budgetKey]*budget.Guard) *plan {
	c := s.policy(e.method)
	p := &plan{endpoint: e, tells: &nobody, policy: c, budget: s.budget(now, e, c, old)}
	e.liveBudget.Store(p.budget)
	if s.closed {
		e.liveBreaker.Store(nil)
		return p
	}
	p.fallback, _ = s.fallbacks.lookup(e.method)
	p.resume, _ = s.resumes.lookup(e.method)
	p.tells = &e.watchedBy
	if c.breakerOff {
		e.liveBreaker.Store(nil)
		return p
	}
	if e.kept == nil {
		e.kept = breaker.NewGuard(c.breaker)
	} else {
		e.kept.Reconfigure(now, c.breaker)
	}
	p.breaker = e.kept
	e.liveBreaker.Store(p.breaker)
	return p
}

// budget returns the budget of an endpoint under a policy. One that the policy
// turns off is kept for the day it is turned on again. Where budgets become one,
// it holds the least of them; where one becomes several, each what it held.
func (s *Suite) budget(now time.Duration, e *endpoint, c *compiled, old map[budgetKey]*budget.Guard) *budget.Guard {
	if c.budgetOff {
		return nil
	}
	k := budgetKey{e.target, c.budget}
	had := e.keptBudget
	g := s.budgets[k]
	if g == nil {
		g = old[k]
	}
	switch {
	case g == nil && had == nil:
		g = budget.NewGuard(now, c.budget)
	case g == nil:
		g = had.Successor(now, c.budget)
	case had != nil && had != g:
		g.AtMost(now, had.Level(now))
	}
	s.budgets[k] = g
	e.keptBudget = g
	return g
}

// now is the time as the cores count it.
func (s *Suite) now() time.Duration { return time.Since(s.epoch) }

func (s *Suite) log() *slog.Logger {
	if s.logger != nil {
		return s.logger
	}
	return slog.Default()
}
