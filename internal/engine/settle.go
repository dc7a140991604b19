package engine

import (
	"net"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
)

// reconnect ends the open time of a breaker that opened for want of a connection,
// if there is one: grpc-go, which lets the server rest between two attempts to
// connect, knows first when it is back.
func (c *Call) reconnect(channel Channel) {
	g := c.breaker()
	if g == nil || channel == nil || !g.CutOff() || channel.Down() {
		return
	}
	g.Connected(c.Host.Now())
}

func (c *Call) refusedByBreaker(g *breaker.Guard, wait time.Duration) error {
	if c.Plan.Record != nil {
		c.Plan.Record.BreakerRefused.Add(1)
	}
	c.rejected, c.refusal = observe.RejectedBreaker, observe.ReasonBreakerOpen
	return breakerOpen(c.Host, c.Plan, g, wait)
}

// opened reports whether the breaker forbids another attempt: it has opened
// since the call was admitted, or is open and had the call try once.
func (c *Call) opened() bool {
	return c.admitted && (c.token.Early() || c.breaker().Opened(c.token)) && !c.exempt(c.breaker())
}

// Answered is for a stream whose server has answered, by a header or a message.
// A stream may live for days, and few end well: that it was answered is its
// success, at that moment. peer is who has; nil: not known.
func (c *Call) Answered(peer net.Addr) {
	if c.answered {
		return
	}
	c.answered = true
	c.earn()
	now := c.Host.Now()
	if p := c.running.backend; p != nil {
		c.backendChanged(c.route.Answered(p, now, c.shard))
	}
	c.Plan.Peers.Succeeded(now, peer)
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

// earn is for a call that the server has answered: it funds retries, once.
func (c *Call) earn() {
	if c.Plan.Budget != nil && !c.Policy.BudgetOff && !c.earned {
		c.earned = true
		if c.Plan.Budget.Deposit() {
			c.budgetTurned()
		}
	}
}

// Settle reports to limit, breaker and budget how the call ended, once. What
// counts is the last attempt: a call saved by a retry is a success, one whose
// attempts all failed is one failure.
func (c *Call) Settle(err error) {
	c.Refund()
	good := err == nil && c.last.Breaker != verdict.Bad || c.last.Earns
	if good {
		c.earn()
	}
	if c.admitted {
		c.settleBreaker(good)
	}
	if c.slot.held { // last: if the breaker has opened, the call that waits for it is to be refused
		c.releaseSlot(true)
	}
}

func (c *Call) settleBreaker(good bool) {
	c.admitted = false
	if c.answered && good {
		return
	}
	g, now := c.breaker(), c.Host.Now()
	o := breaker.Success
	if !good || c.slow {
		o = c.outcome(good)
	}
	if o == breaker.Success {
		c.changed(g.Succeed(now, c.token, c.shard))
		return
	}
	c.changed(g.SettleAfter(now, c.token, o, c.vain, c.Host.chance()))
}

// bounded reports whether an attempt may run out of time, so that it matters how
// much it had.
func (c *Call) bounded() bool {
	_, ok := c.Ctx.Deadline()
	return ok || c.Policy.AttemptTimeout > 0
}

// ownTime is how long an attempt that begins now can wait for an answer; 0: nobody
// has said.
func (c *Call) ownTime() time.Duration {
	own := c.Policy.AttemptTimeout
	if deadline, ok := c.Ctx.Deadline(); ok {
		if left := max(0, c.Host.until(deadline)); own == 0 || left < own {
			return left
		}
	}
	return own
}

// outcome is what the call says to the breaker: nothing bad while its method is
// served elsewhere.
func (c *Call) outcome(good bool) breaker.Outcome {
	switch {
	case good && c.route.Well():
		return breaker.Success
	case good: // and slow
		return breaker.SlowSuccess
	case c.last.Breaker != verdict.Bad || c.elsewhere || c.route.Well():
		return breaker.Neutral
	case c.last.Lost && !c.Plan.Losses.CompareAndSwap(c.losses, c.losses+1):
		return breaker.Neutral // another call has counted this event
	case c.last.CutOff:
		return breaker.Unreached
	case c.slow:
		return breaker.SlowFailure
	}
	return breaker.Failure
}

// exempt reports whether a call passes that a breaker would refuse: the breaker only
// observes, or a backend serves the method while others fail. What somebody forced open
// refuses all.
func (c *Call) exempt(g *breaker.Guard) bool {
	now := c.Host.Now()
	return (c.Policy.BreakerObserve || c.served(now)) && g.Forced(now) != breaker.ForcedOpen
}

// served reports whether a backend serves the method while others fail, be they ours to
// choose among or not.
func (c *Call) served(now time.Duration) bool { return c.route.Well() || c.Plan.Peers.Well(now) }

// observed counts a call that passes because the breaker only observes.
func (c *Call) observed() {
	if c.Policy.BreakerObserve && !c.served(c.Host.Now()) {
		c.wouldRefuse(observe.RejectedBreaker, observe.ReasonBreakerOpen)
	}
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
