package interceptors

import (
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/text"
)

// remade is a plan in place of another.
type remade struct {
	*plan
	before *plan
}

// rebuilt logs and reports what came of a rebuild. It is called without the lock,
// as observers and loggers may call the suite.
func (r *registry) rebuilt(all []remade) {
	for _, p := range all {
		r.reportRestored(p.endpoint)
		if p.unhedged && !p.before.unhedged {
			r.warnUnhedged(p.plan)
		}
	}
}

// rebuildLocked makes the plans anew, around the state they have.
func (r *registry) rebuildLocked() (all []remade) {
	now := r.Now()
	old := r.budgets
	r.budgets = make(map[budgetKey]*budget.Guard)
	r.keepOverflowLocked(now, old)
	r.strange = 0
	r.unhedged.Store(0)
	for k, p := range r.plans {
		if r.strangeLocked(p.endpoint) {
			r.strange++
		}
		next := r.newPlanLocked(now, p.endpoint, old)
		next.flags.Store(p.flags.Load())
		r.plans[k] = next
		all = append(all, remade{next, p})
	}
	r.refillLocked()
	return all
}

// keepOverflowLocked keeps the budgets of the pairs past the bound that today's
// policies can ask for. What is new among them begins with what the emptiest of
// those dropped held: a change of policy must not pay for retries.
func (r *registry) keepOverflowLocked(now time.Duration, old map[budgetKey]*budget.Guard) {
	asked := make(map[budget.Config]bool)
	for _, c := range r.policies {
		if !c.BudgetOff {
			asked[c.Budget] = true
		}
	}
	var spent *budget.Guard
	for k, g := range old {
		switch {
		case k.target != overflow:
		case asked[k.config]:
			r.budgets[k] = g
		case spent == nil || g.Level(now) < spent.Level(now):
			spent = g
		}
	}
	for config := range asked {
		if k := (budgetKey{overflow, config}); spent != nil && r.budgets[k] == nil {
			r.budgets[k] = spent.Successor(now, config)
		}
	}
}

// policyLocked returns what the policies say of a method. Unhedged is true if they
// would hedge it, were it declared idempotent or named exactly.
func (r *registry) policyLocked(method string, declared bool) (c *compiled, unhedged bool) {
	c = r.policies.lookup(method)
	if declared {
		return c.idempotent, false
	}
	if _, exact := r.policies[method]; exact {
		return c, false
	}
	return c.undeclared, c.Hedges()
}

// newPlanLocked joins an endpoint's living state and today's policy. Budgets that
// are not in r.budgets yet start from what the endpoint's had, or from one of
// old.
func (r *registry) newPlanLocked(now time.Duration, e *endpoint, old map[budgetKey]*budget.Guard) *plan {
	c, unhedged := r.policyLocked(e.method, e.idempotent)
	p := &plan{endpoint: e, policy: c, unhedged: unhedged, Plan: r.callPlan(e, c), balancing: r.balancing}
	p.Budget = r.budgetLocked(now, e, c, old)
	e.currentBudget.Store(p.Budget)
	p.Limit = r.limitLocked(now, e, c)
	if r.closed {
		e.currentBreaker.Store(nil)
		return p
	}
	p.fallback = r.fallbacks.lookup(e.method)
	p.resume = r.resumes.lookup(e.method)
	p.classifier = r.classifiers.lookup(e.method)
	p.Recorders = &e.recorders
	if c.BreakerOff {
		e.currentBreaker.Store(nil)
		return p
	}
	if e.breaker == nil {
		e.breaker = breaker.NewGuard(c.Breaker)
		e.restored = r.applyPendingLocked(now, e)
	} else {
		e.breaker.Reconfigure(now, c.Breaker)
	}
	p.Breaker = e.breaker
	e.currentBreaker.Store(p.Breaker)
	return p
}

// callPlan returns what the engine needs, without state.
func (r *registry) callPlan(e *endpoint, c *compiled) engine.Plan {
	return engine.Plan{Target: e.target, Method: e.method, Adaptive: c.Limit.Adaptive, Recorders: &noRecorders, Record: &e.record, Losses: &e.losses, LastGood: &e.lastGood, Peers: &e.peers,
		Changed: func(g *breaker.Guard, t breaker.Transition) { r.changed(e, g, t, false) }}
}

// budgetLocked returns the budget of an endpoint under a policy. One that the policy
// turns off is kept for the day it is turned on again. Where budgets become one,
// it holds the least of them; where one becomes several, each what it held.
func (r *registry) budgetLocked(now time.Duration, e *endpoint, c *compiled, old map[budgetKey]*budget.Guard) *budget.Guard {
	if c.BudgetOff {
		return nil
	}
	k := budgetKey{e.target, c.Budget}
	had := e.budget
	g := r.budgets[k]
	if g == nil {
		g = old[k]
	}
	switch {
	case g == nil && had == nil:
		g = r.newBudgetLocked(now, k)
	case g == nil:
		g = had.Successor(now, c.Budget)
	case had != nil && had != g:
		g.AtMost(now, had.Level(now))
	}
	r.budgets[k] = g
	e.budget = g
	return g
}

// limitLocked returns the limit of an endpoint under a policy. One that the policy
// turns off lets go all that wait for it, and is kept: calls hold its slots.
func (r *registry) limitLocked(now time.Duration, e *endpoint, c *compiled) *limit.Guard {
	limits := c.Limit.MaxConcurrent > 0 || c.Limit.Rate > 0
	switch on := limits && !r.closed; {
	case on && e.limit == nil:
		e.limit = limit.NewGuard(now, c.Limit)
	case on:
		e.limit.Reconfigure(now, c.Limit)
	default:
		if e.limit != nil {
			e.limit.Reconfigure(now, limit.Config{})
		}
		e.currentLimit.Store(nil)
		return nil
	}
	e.currentLimit.Store(e.limit)
	return e.limit
}

// maxUnhedged bounds the methods that are warned of: a proxy's clients may make
// up names without end.
const maxUnhedged = 100

// warnUnhedged says that a policy for many methods leaves one of them out.
func (r *registry) warnUnhedged(p *plan) {
	n := r.unhedged.Add(1)
	if n > maxUnhedged {
		return
	}
	r.Log().Warn("astra: method is neither hedged nor retried: its policy hedges and names it only by a wildcard, and its descriptor does not declare it"+
		" NO_SIDE_EFFECTS or IDEMPOTENT; name it exactly to hedge it",
		"method", text.Name(p.method), "target", text.Name(p.target))
	if n == maxUnhedged {
		r.Log().Warn("astra: too many methods are not hedged: further ones are not logged until the next Reload", "named", n)
	}
}
