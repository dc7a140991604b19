package interceptors

import (
	"context"

	"github.com/astra-grpc/astra/internal/breaker"
)

func (c *call) changed(t breaker.Transition) {
	if t.Happened() {
		c.tellAll(breakerChange(t))
		c.suite.changed(c.plan.endpoint, c.breaker(), t, false)
	}
}

func breakerChange(t breaker.Transition) Event {
	return Event{Kind: BreakerChange, From: BreakerState(t.From), To: BreakerState(t.To), Reason: t.Reason.String()}
}

func (c *call) tellAll(e Event) {
	c.tell(c.plan.tells.all, c.ctx, e)
}

// heard reports whether any of them wants to hear of this call.
func (c *call) heard(to []*recorder) bool {
	for _, r := range to {
		if c.deaf&r.bit == 0 {
			return true
		}
	}
	return false
}

func (c *call) tell(to []*recorder, ctx context.Context, e Event) {
	e.Lane = c.lane
	for _, r := range to {
		if c.deaf&r.bit == 0 {
			r.tell(ctx, &e)
		}
	}
}

// start tells those who asked that a call or attempt begins, and returns the
// context they want it to have.
func (c *call) start(ctx context.Context, k Kind) context.Context {
	if k == CallStart && c.plan.tells.timed {
		c.started = c.suite.now()
	}
	for i := range c.plan.tells.starters {
		s := &c.plan.tells.starters[i]
		if c.deaf&s.bit != 0 {
			continue
		}
		var enough bool
		ctx, enough = s.start(ctx, Event{Kind: k, Attempt: c.loop.Attempts, AttemptKind: c.kind, Lane: c.lane})
		if k == CallStart && enough {
			c.deaf |= s.bit
		}
	}
	return ctx
}
