package interceptors

import (
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/limit"
)

// remade is a plan in place of another.
type remade struct {
	*plan
	before *plan
}

// rebuilt logs and reports what came of a rebuild. It is called without the lock,
// as observers and loggers may come back.
func (s *Suite) rebuilt(all []remade) {
	for _, p := range all {
		s.reportRestored(p.endpoint)
		if p.unhedged && !p.before.unhedged {
			s.warnUnhedged(p.plan)
		}
	}
}

// rebuild makes the plans anew, around the state they have.
func (s *Suite) rebuild() (all []remade) {
	now := s.Now()
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
		all = append(all, remade{next, p})
	}
	s.table.Store(newTable(s.plans))
	return all
}

// policy returns what the policies say of a method. Unhedged is true if they
// would hedge it, were it declared idempotent or named exactly.
func (s *Suite) policy(method string, declared bool) (c *compiled, unhedged bool) {
	c, _ = s.policies.lookup(method)
	if declared {
		return c.idempotent, false
	}
	if _, exact := s.policies[method]; exact {
		return c, false
	}
	return c.undeclared, c.Hedges()
}

// newPlan joins an endpoint's living state and today's policy. Budgets that
// are not in s.budgets yet start from what the endpoint's had, or from one of
// old.
func (s *Suite) newPlan(now time.Duration, e *endpoint, old map[budgetKey]*budget.Guard) *plan {
	c, unhedged := s.policy(e.method, e.idempotent)
	p := &plan{endpoint: e, policy: c, unhedged: unhedged, Plan: s.callPlan(e, c)}
	p.Budget = s.budget(now, e, c, old)
	e.liveBudget.Store(p.Budget)
	p.Limit = s.limit(now, e, c)
	if s.closed {
		e.liveBreaker.Store(nil)
		return p
	}
	p.fallback, _ = s.fallbacks.lookup(e.method)
	p.resume, _ = s.resumes.lookup(e.method)
	p.Recorders = &e.recorders
	if c.BreakerOff {
		e.liveBreaker.Store(nil)
		return p
	}
	if e.kept == nil {
		e.kept = breaker.NewGuard(c.Breaker)
		e.restored = s.recall(now, e)
	} else {
		e.kept.Reconfigure(now, c.Breaker)
	}
	p.Breaker = e.kept
	e.liveBreaker.Store(p.Breaker)
	return p
}

// callPlan returns what the engine needs, without state.
func (s *Suite) callPlan(e *endpoint, c *compiled) engine.Plan {
	return engine.Plan{Target: e.target, Method: e.method, Adaptive: c.Limit.Adaptive, Recorders: &noRecorders,
		Changed: func(g *breaker.Guard, t breaker.Transition) { s.changed(e, g, t, false) }}
}

// budget returns the budget of an endpoint under a policy. One that the policy
// turns off is kept for the day it is turned on again. Where budgets become one,
// it holds the least of them; where one becomes several, each what it held.
func (s *Suite) budget(now time.Duration, e *endpoint, c *compiled, old map[budgetKey]*budget.Guard) *budget.Guard {
	if c.BudgetOff {
		return nil
	}
	k := budgetKey{e.target, c.Budget}
	had := e.keptBudget
	g := s.budgets[k]
	if g == nil {
		g = old[k]
	}
	switch {
	case g == nil && had == nil:
		g = s.newBudget(now, k)
	case g == nil:
		g = had.Successor(now, c.Budget)
	case had != nil && had != g:
		g.AtMost(now, had.Level(now))
	}
	s.budgets[k] = g
	e.keptBudget = g
	return g
}

// limit returns the limit of an endpoint under a policy. One that the policy
// turns off lets go all that wait for it, and is kept: calls hold its slots.
func (s *Suite) limit(now time.Duration, e *endpoint, c *compiled) *limit.Guard {
	switch on := c.Limits() && !s.closed; {
	case on && e.keptLimit == nil:
		e.keptLimit = limit.NewGuard(now, c.Limit)
	case on:
		e.keptLimit.Reconfigure(now, c.Limit)
	default:
		if e.keptLimit != nil {
			e.keptLimit.Reconfigure(now, limit.Config{})
		}
		e.liveLimit.Store(nil)
		return nil
	}
	e.liveLimit.Store(e.keptLimit)
	return e.keptLimit
}
