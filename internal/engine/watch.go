package engine

import (
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/observe"
)

// A policy may have breaker and limit watched only: all is judged and shown, and
// what would be refused passes.

// observes reports whether a breaker refuses nobody. One that somebody forced open
// does.
func (c *Call) observes(g *breaker.Guard) bool {
	return c.Policy.BreakerObserve && g.Forced(c.Host.Now()) != breaker.ForcedOpen
}

// refusedByBreaker returns nil if the breaker is to be watched only: the call
// passes then, and says nothing to it.
func (c *Call) refusedByBreaker(g *breaker.Guard, wait time.Duration) error {
	if c.observes(g) {
		c.wouldRefuse(observe.RejectedBreaker, observe.ReasonBreakerOpen)
		return nil
	}
	if c.Plan.Record != nil {
		c.Plan.Record.BreakerRefused.Add(1)
	}
	c.rejected, c.refusal = observe.RejectedBreaker, observe.ReasonBreakerOpen
	return breakerOpen(c.Plan, wait)
}

// wouldRefuse counts a call that passes.
func (c *Call) wouldRefuse(by observe.Outcome, why observe.Reason) {
	if r := c.Plan.Record; r != nil {
		if by == observe.RejectedBreaker {
			r.BreakerWouldRefuse.Add(1)
		} else {
			r.LimitWouldRefuse.Add(1)
		}
	}
	c.Emit(observe.Event{Kind: observe.WouldRefuse, Outcome: by, Reason: why})
}

// wouldHaveSlot asks the limit for a slot that needs its lock. A call that would
// have to wait does not, and passes without.
func (c *Call) wouldHaveSlot(g *limit.Guard) bool {
	now := c.Host.Now()
	a, ticket := g.Enter(now, c.patience())
	if ticket != nil {
		if a.Verdict == limit.Waiting {
			g.Cancel(now, ticket)
		}
	}
	switch a.Verdict {
	case limit.Admitted:
		return true
	case limit.Waiting:
		c.wouldRefuse(observe.RejectedLimit, observe.ReasonMustWait)
	default:
		c.wouldRefuse(observe.RejectedLimit, limitReason(a.Verdict))
	}
	return false
}
