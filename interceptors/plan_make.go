package interceptors

import (
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
)

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
		s.recall(now, e)
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
		g = s.newBudget(now, k)
	case g == nil:
		g = had.Successor(now, c.budget)
	case had != nil && had != g:
		g.AtMost(now, had.Level(now))
	}
	s.budgets[k] = g
	e.keptBudget = g
	return g
}
