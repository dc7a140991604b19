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

// nobody is told what happens after Close, or past maxPlans.
var nobody engine.Recorders

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
	p, full := s.makePlan(cc, key{target, method})
	if p.unhedged {
		s.warnUnhedged(p)
	}
	if full && s.full.CompareAndSwap(false, true) {
		s.Log().Warn("astra: too many methods and targets: further ones share a budget, go without breaker and limit, and are observed as one",
			"kept", maxPlans, "method", method, "target", target)
	}
	return p
}

// makePlan makes a plan and keeps it, unless there are too many.
func (s *Suite) makePlan(cc *grpc.ClientConn, k key) (p *plan, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.plans[k]; p != nil {
		return p, false
	}
	now := s.Now()
	if now-s.swept >= idleAfter {
		s.sweep(now)
	}
	if len(s.plans) >= maxPlans {
		return s.overflowPlan(now, k), true
	}
	p = s.newPlan(now, s.newEndpoint(cc, k), nil)
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

func (s *Suite) newEndpoint(cc *grpc.ClientConn, k key) *endpoint {
	e := &endpoint{target: k.target, canonical: k.target, method: k.method, idempotent: declaredIdempotent(k.method)}
	if cc != nil {
		e.canonical = cc.CanonicalTarget()
	}
	if !s.closed {
		for _, w := range s.watchers {
			e.watchedBy.Add(w.Recorder(observe.NewEndpoint(live{e, &s.Host})))
		}
	}
	return e
}

// overflowPlan is the plan of a pair that nothing is kept for: its method's
// policy and fallback, and one budget and one endpoint for all of these.
func (s *Suite) overflowPlan(now time.Duration, k key) *plan {
	if s.others == nil {
		s.others = s.newEndpoint(nil, key{overflow, overflow})
	}
	e := &endpoint{target: k.target, method: k.method, idempotent: declaredIdempotent(k.method), fleeting: true}
	c, _ := s.policy(k.method, e.idempotent)
	p := &plan{endpoint: e, policy: c, Plan: s.callPlan(e, c)}
	p.Plan.Budget = s.budget(now, &endpoint{target: overflow}, c, nil)
	if !s.closed {
		p.Recorders = &s.others.watchedBy
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
		used := p.marks.And(^uint32(markUsed))&markUsed != 0
		if used || p.keptLimit != nil && !p.keptLimit.Idle(now) { // a stream may hold a slot for days
			if p.Budget != nil {
				inUse[budgetKey{k.target, p.policy.Budget}] = p.Budget
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
