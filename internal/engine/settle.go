package engine

import (
	"math/rand/v2"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
)

func (c *Call) refusedByBreaker(g *breaker.Guard, wait time.Duration) error {
	c.rejected, c.refusal = observe.RejectedBreaker, observe.ReasonBreakerOpen
	return breakerOpen(c.Host, c.Plan, g, wait)
}

// opened reports whether the breaker forbids another attempt: it has opened
// since the call was admitted, or is open and had the call try once.
func (c *Call) opened() bool {
	return c.admitted && (c.token.Early() || c.breaker().Opened(c.token)) && !c.route.Well()
}

// Answered is for a stream whose server has answered, by a header or a message.
// A stream may live for days, and few end well: that it was answered is its
// success, at that moment.
func (c *Call) Answered() {
	if c.answered {
		return
	}
	c.answered = true
	c.earn()
	now := c.Host.Now()
	if p := c.running.place; p != nil {
		c.backendChanged(c.route.Answered(p, now, c.shard))
	}
	if c.admitted {
		c.changed(c.breaker().Succeed(now, c.token, c.shard))
	}
}

// Probing reports whether the call is to find out if the server is back, and
// has not yet.
func (c *Call) Probing() bool { return c.admitted && !c.answered && c.token.Probe() }

// Lived is for a stream that has been a probe for as long as one may take: it
// has not failed.
func (c *Call) Lived() {
	if c.Probing() {
		c.changed(c.breaker().Succeed(c.Host.Now(), c.token, c.shard))
	}
}

// Answer reports whether the attempt that ended last, with an error, was
// answered by a server that is well.
func (c *Call) Answer() bool { return c.last.Earns }

// earn is for a call that the server has answered: it funds retries, once.
func (c *Call) earn() {
	if c.Plan.Budget != nil && !c.Policy.BudgetOff && !c.earned {
		c.earned = true
		c.Plan.Budget.Deposit()
	}
}

// Settle reports to limit, breaker and budget how the call ended, once. What
// counts is the last attempt: a call saved by a retry is a success, one whose
// attempts all failed is one failure.
func (c *Call) Settle(err error) {
	c.releaseSlot(true)
	c.Refund()
	good := err == nil && c.last.Breaker != verdict.Bad || c.loop.Attempts > 0 && c.last.Earns
	if good {
		c.earn()
	}
	if !c.admitted || c.answered && good {
		c.admitted = false
		return
	}
	c.admitted = false
	g, now := c.breaker(), c.Host.Now()
	o := breaker.Success
	if !good || c.slow {
		o = c.outcome(good)
	}
	if o == breaker.Success {
		c.changed(g.Succeed(now, c.token, c.shard))
		return
	}
	c.changed(g.Settle(now, c.token, o, rand.Float64()))
}

// outcome is what the call says to the breaker: nothing bad while its method is
// served elsewhere.
func (c *Call) outcome(good bool) breaker.Outcome {
	switch {
	case good && c.route.Well():
		return breaker.Success
	case good: // and slow
		return breaker.SlowSuccess
	case c.last.Breaker != verdict.Bad || c.route.Well():
		return breaker.Neutral
	case c.last.Lost && !c.Plan.Losses.CompareAndSwap(c.losses, c.losses+1):
		return breaker.Neutral // another call has counted this event
	case c.slow:
		return breaker.SlowFailure
	}
	return breaker.Failure
}
