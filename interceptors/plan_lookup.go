package interceptors

import (
	"maps"
	"time"

	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc"
)

const (
	// maxPlans bounds the pairs of target and method that state is kept for.
	maxPlans = 4096
	// idleAfter is how long a pair must have been without a call to be
	// forgotten.
	idleAfter = 10 * time.Minute
	// overflow is the target and method of all pairs past maxPlans.
	overflow = "other"
)

// noRecorders is for calls after Close.
var noRecorders engine.Recorders

// planOf returns the plan of a call, and whether it is to be looked at when the
// call is over.
func (s *Suite) planOf(cc *grpc.ClientConn, method string, l *layers) (p *plan, fresh bool) {
	var target string
	if cc != nil {
		target = cc.Target()
	}
	p = s.plan(cc, target, method)
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
func (s *Suite) plan(cc *grpc.ClientConn, target, method string) *plan {
	if p := s.table.Load().find(target, method); p != nil {
		return p
	}
	k := key{target, method}
	p, observed, idle := s.makePlan(cc, k)
	evict(idle)
	s.ask(observed)
	full := observed != p.endpoint
	if !full {
		s.reportRestored(p.endpoint)
		s.publish(k, p)
	}
	if p.unhedged {
		s.warnUnhedged(p)
	}
	if full && s.full.CompareAndSwap(false, true) {
		s.Log().Warn("astra: too many methods and targets: further ones share a budget, go without breaker and limit, and are observed as one",
			"kept", maxPlans, "method", method, "target", target)
	}
	return p
}

// makePlan makes a plan and keeps it, unless there are too many. Observed is the
// endpoint that its observers know, which is not the plan's own if there are. Idle
// are endpoints to be evicted.
func (s *Suite) makePlan(cc *grpc.ClientConn, k key) (p *plan, observed *endpoint, idle []*endpoint) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.plans[k]; p != nil {
		return p, p.endpoint, nil
	}
	now := s.Now()
	if now-s.swept >= idleAfter {
		idle = s.sweep(now)
	}
	if len(s.plans) >= maxPlans {
		return s.overflowPlan(now, k), s.others, idle
	}
	p = s.newPlan(now, newEndpoint(cc, k), nil)
	p.marks.Store(markUsed)
	s.plans[k] = p
	return p, p.endpoint, idle
}

// ask asks the observers about an endpoint, once. It is called without the lock, as
// observers and loggers may come back.
func (s *Suite) ask(e *endpoint) {
	e.asking.Do(func() {
		for _, o := range s.observers {
			e.recorders.Add(o, observe.NewEndpoint(live{e, &s.Host}))
		}
	})
}

// publish lets calls find a plan without a lock, once its observers have been
// asked.
func (s *Suite) publish(k key, p *plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.asked {
		return
	}
	p.asked = true
	if p = s.withEndpoint(k, p.endpoint); p == nil {
		return
	}
	t := s.table.Load()
	next := &table{maps.Clone(t.methods)}
	if m := next.methods[k.method]; m != nil {
		next.methods[k.method] = &perMethod{m.target, m.plan, maps.Clone(m.more)}
	}
	next.add(k, p)
	s.table.Store(next)
}

// withEndpoint returns the plan that an endpoint has by now; nil if it has been
// forgotten.
func (s *Suite) withEndpoint(k key, e *endpoint) *plan {
	if p := s.plans[k]; p != nil && p.endpoint == e {
		return p
	}
	return nil
}

func newEndpoint(cc *grpc.ClientConn, k key) *endpoint {
	e := &endpoint{target: k.target, canonical: k.target, method: k.method, idempotent: declaredIdempotent(k.method)}
	if cc != nil {
		e.canonical = cc.CanonicalTarget()
	}
	return e
}

// overflowPlan is the plan of a pair that nothing is kept for: its method's
// policy and fallback, and one budget and one endpoint for all of these.
func (s *Suite) overflowPlan(now time.Duration, k key) *plan {
	if s.others == nil {
		s.others = newEndpoint(nil, key{overflow, overflow})
	}
	e := &endpoint{target: k.target, method: k.method, idempotent: declaredIdempotent(k.method), fleeting: true}
	c, _ := s.policy(k.method, e.idempotent)
	p := &plan{endpoint: e, policy: c, Plan: s.callPlan(e, c)}
	p.Plan.Budget = s.budget(now, &endpoint{target: overflow}, c, nil)
	if !s.closed {
		p.Recorders = &s.others.recorders
		p.fallback, _ = s.fallbacks.lookup(k.method)
		p.resume, _ = s.resumes.lookup(k.method)
	}
	return p
}

// sweep forgets the plans that no call has used since the last sweep, and returns
// their endpoints.
func (s *Suite) sweep(now time.Duration) (idle []*endpoint) {
	s.swept = now
	inUse := make(map[budgetKey]*budget.Guard)
	for k, g := range s.budgets {
		if k.target == overflow {
			inUse[k] = g
		}
	}
	for k, p := range s.plans {
		used := p.marks.And(^uint32(markUsed))&markUsed != 0
		if used || p.keptLimit != nil && !p.keptLimit.Idle(now) { // a stream may hold a slot for days
			if p.Budget != nil {
				inUse[budgetKey{k.target, p.policy.Budget}] = p.Budget
			}
			continue
		}
		idle = append(idle, p.endpoint)
		delete(s.plans, k)
	}
	if len(idle) > 0 {
		s.budgets = inUse
		s.table.Store(newTable(s.plans))
	}
	return idle
}
