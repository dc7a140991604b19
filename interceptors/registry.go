package interceptors

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/changelog"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc"
)

const (
	// idleAfter is how long a pair must have been without a call to be
	// forgotten; hurriedAfter, where there are too many.
	idleAfter    = 10 * time.Minute
	hurriedAfter = time.Minute
	// overflow is the target and method of all pairs past maxPlans.
	overflow = "other"
)

// noRecorders is for calls after Close.
var noRecorders hooks.Recorders

// registry holds what calls share, beneath the drivers that make them: policies,
// the plans made of them, and the state of these: breakers, limits, budgets.
type registry struct {
	engine.Host
	number    uint64 // of the process's suites
	observers []*hooks.Observer
	stores    []Store
	changes   *changelog.Queue // logs those of breakers and backends; nil: an observer does
	naming    *naming          // nil: targets are their own names
	balancing *balancing       // nil: where calls go is not for it to say

	unhedged       atomic.Int64          // methods that were warned of
	overflowLogged atomic.Bool           // there are too many plans, and that has been logged
	storePanicked  atomic.Bool           // and logged
	table          atomic.Pointer[table] // what calls read
	view           atomic.Pointer[view]  // of what mu guards
	history        history

	mu               sync.Mutex // guards what follows, and writing to table
	closed           bool
	revision         Revision
	policies         patternTable[*compiled]
	fallbacks        patternTable[Fallback]
	resumes          patternTable[Resume]
	classifiers      patternTable[*classifier]
	plans            map[key]*plan // by names
	strange          int           // of them, those whose method the program does not know
	budgets          map[budgetKey]*budget.Guard
	swept            time.Duration // last look for idle plans
	overflowEndpoint *endpoint     // of what there are too many of; nil: there are not

	pending        map[key]pendingBreaker // what stores have reported, until a call asks for it
	pendingBudgets map[string]map[budget.Config]pendingBudget
	purged         time.Duration // last removal of expired pending reports
}

// key is a pair, by names: a target's is its own unless [WithTargetName] says
// otherwise, and long names are shortened.
type key struct{ target, method string }

// budgetKey: methods of a target share a budget as long as their policies
// agree on it.
type budgetKey struct {
	target string
	config budget.Config
}

// planOf returns the plan of a call, and whether it is to be looked at when the
// call is over.
func (r *registry) planOf(cc *grpc.ClientConn, method string, l *nativeRetryCheck, last *lastPlan) (p *plan, fresh bool) {
	var target string
	if cc != nil {
		target = cc.Target()
	}
	if p = last.get(r.table.Load(), target, method); p == nil {
		p = r.plan(cc, target, method)
	}
	want := uint32(flagUsed)
	if l != nil {
		want = flagsAll
	}
	if fresh = p.flags.Load()&want != want; fresh {
		p.flags.Or(flagUsed)
	}
	return p, fresh
}

// plan returns what a call needs. The first call of a method on a target makes
// it; later ones read it without a lock.
func (r *registry) plan(cc *grpc.ClientConn, target, method string) *plan {
	if p := r.table.Load().find(target, method); p != nil {
		return p
	}
	return r.firstPlan(cc, target, method)
}

func (r *registry) firstPlan(cc *grpc.ClientConn, target, method string) *plan {
	name := r.naming.name(target, r.Log)
	p, observed, made, idle := r.makePlan(cc, target, name, method)
	evict(idle)
	r.ask(observed)
	if observed == p.endpoint {
		r.reportRestored(p.endpoint)
		r.publish(target, method, p.endpoint)
	}
	switch {
	case p.overflow && r.overflowLogged.CompareAndSwap(false, true):
		r.Log().Warn("astra: too many methods and targets: further ones share a budget, have no breaker or limit, and are observed as one",
			"kept", maxPlans, "method", text.Name(method), "target", text.Name(name))
	case made && p.unhedged:
		r.warnUnhedged(p)
	}
	return p
}

// makePlan makes a plan and keeps it, unless there are too many. Observed is the
// endpoint that observers know, which is not the plan's own if there are. Idle are
// endpoints to be evicted. The plan is to be published once observers were asked.
func (r *registry) makePlan(cc *grpc.ClientConn, target, name, method string) (p *plan, observed *endpoint, made bool, idle []*endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p = r.table.Load().find(target, method); p != nil {
		return p, p.endpoint, false, nil
	}
	k := key{name, method}
	if !r.namedLocked(method) {
		k.method = shortMethod(method)
	}
	if p = r.plans[k]; p == nil {
		known, idempotent := describe(method)
		strange := !known && !r.namedLocked(method)
		now := r.Now()
		full := r.fullLocked(strange)
		if since := now - r.swept; since >= idleAfter || full && since >= hurriedAfter {
			idle = r.sweepLocked(now)
			full = r.fullLocked(strange)
		}
		if full {
			return r.overflowPlanLocked(now, k.target, method, idempotent), r.overflowEndpoint, false, idle
		}
		e := &endpoint{target: k.target, canonical: k.target, method: k.method, known: known, idempotent: idempotent}
		if cc != nil && name == target {
			e.canonical = short(cc.CanonicalTarget())
		}
		p, made = r.newPlanLocked(now, e, nil), true
		r.plans[k] = p
		if strange {
			r.strange++
		}
	}
	p.flags.Or(flagUsed)
	return p, p.endpoint, made, idle
}

// publish lets calls find an endpoint's plan without a lock, once its observers
// have been asked.
func (r *registry) publish(target, method string, e *endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.plans[key{e.target, e.method}]
	t := r.table.Load()
	if p == nil || p.endpoint != e || t.find(target, method) != nil {
		return // forgotten meanwhile, or published
	}
	if len(target) <= maxKey && len(method) <= text.MaxName && t.n < 2*maxNames { // of one name there may be many targets
		t.add(target, method, p)
	}
}

// namedLocked reports whether an option names the method, and not a wildcard
// alone. Those are as few as the options.
func (r *registry) namedLocked(method string) bool {
	if _, ok := r.policies[method]; ok {
		return true
	}
	if _, ok := r.fallbacks[method]; ok {
		return true
	}
	if _, ok := r.classifiers[method]; ok {
		return true
	}
	_, ok := r.resumes[method]
	return ok
}

// fullLocked reports whether there is no room for another plan. Names that
// nobody knows, which a proxy's clients may make up without end, take none from
// those that the program knows.
func (r *registry) fullLocked(strange bool) bool {
	if strange {
		return r.strange >= maxPlans
	}
	return len(r.plans)-r.strange >= maxPlans
}

// ask asks the observers about an endpoint, once. It is called without the lock,
// as observers and loggers may call the suite.
func (r *registry) ask(e *endpoint) {
	e.asking.Do(func() {
		for _, o := range r.observers {
			e.recorders.Add(o, observe.NewEndpoint(live{e, &r.Host}))
		}
	})
}

// overflowPlanLocked is the plan of a pair that nothing is kept for: its
// method's policy and fallback, and one budget and one endpoint for all of
// these.
func (r *registry) overflowPlanLocked(now time.Duration, target, method string, idempotent bool) *plan {
	if r.overflowEndpoint == nil {
		r.overflowEndpoint = &endpoint{target: overflow, canonical: overflow, method: overflow}
	}
	e := &endpoint{target: target, method: method, idempotent: idempotent, overflow: true}
	c, _ := r.policyLocked(method, idempotent)
	p := &plan{endpoint: e, policy: c, Plan: r.callPlan(e, c), balancing: r.balancing}
	p.Budget = r.budgetLocked(now, &endpoint{target: overflow}, c, nil)
	if !r.closed {
		p.Recorders = &r.overflowEndpoint.recorders
		p.fallback = r.fallbacks.lookup(method)
		p.resume = r.resumes.lookup(method)
		p.classifier = r.classifiers.lookup(method)
	}
	return p
}

// sweepLocked forgets the plans that no call has used since the last sweep,
// except those that are busy, and returns their endpoints.
func (r *registry) sweepLocked(now time.Duration) (idle []*endpoint) {
	r.swept = now
	inUse := make(map[budgetKey]*budget.Guard)
	for k, g := range r.budgets {
		if k.target == overflow {
			inUse[k] = g
		}
	}
	for k, p := range r.plans {
		used := p.flags.And(^uint32(flagUsed))&flagUsed != 0
		if used || p.busy(now) {
			if p.Budget != nil {
				inUse[budgetKey{k.target, p.policy.Budget}] = p.Budget
			}
			continue
		}
		idle = append(idle, p.endpoint)
		delete(r.plans, k)
		if r.strangeLocked(p.endpoint) {
			r.strange--
		}
	}
	if len(idle) > 0 {
		r.budgets = inUse
	}
	switch {
	case r.naming != nil: // calls ask for the names of their targets once more
		r.naming.sweep()
		r.table.Store(newTable(len(r.plans)))
	case len(idle) > 0:
		r.refillLocked()
	}
	return idle
}

// refillLocked replaces the table by one of today's plans.
func (r *registry) refillLocked() {
	r.table.Store(r.table.Load().with(func(p *plan) *plan { return r.plans[key{p.target, p.method}] }))
}

// strangeLocked is for a plan that is kept. See [registry.fullLocked].
func (r *registry) strangeLocked(e *endpoint) bool { return !e.known && !r.namedLocked(e.method) }

// busy reports whether an endpoint must not be forgotten, though no call came
// lately: a stream may hold a slot for days, and an open time is a promise.
func (e *endpoint) busy(now time.Duration) bool {
	if e.limit != nil && !e.limit.Idle(now) {
		return true
	}
	if e.breaker == nil {
		return false
	}
	m, ok := e.breaker.Snapshot(now)
	return ok && m.Left > 0
}
