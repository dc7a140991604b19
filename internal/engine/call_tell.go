package engine

import (
	"context"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/observe"
)

func (c *Call) changed(t breaker.Transition) {
	if t.Happened() {
		c.TellAll(BreakerChange(t))
		c.Plan.Changed(c.breaker(), t)
	}
}

func BreakerChange(t breaker.Transition) observe.Event {
	return observe.Event{Kind: observe.BreakerChange, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Reason: t.Reason.String()}
}

func (c *Call) TellAll(e observe.Event) {
	c.tell(c.Plan.Recorders.All, c.Ctx, e)
}

// heard reports whether any of them wants to hear of this call.
func (c *Call) heard(to []*recorder) bool {
	for _, r := range to {
		if c.deaf&r.bit == 0 {
			return true
		}
	}
	return false
}

func (c *Call) tell(to []*recorder, ctx context.Context, e observe.Event) {
	e.Lane = c.Lane
	for _, r := range to {
		if c.deaf&r.bit == 0 {
			r.Tell(ctx, &e)
		}
	}
}

// start tells those who asked that a call or attempt begins, and returns the
// context they want it to have.
func (c *Call) Start(ctx context.Context, k observe.Kind) context.Context {
	if k == observe.CallStart && c.Plan.Recorders.timed {
		c.started = c.Host.Now()
	}
	for i := range c.Plan.Recorders.starters {
		s := &c.Plan.Recorders.starters[i]
		if c.deaf&s.bit != 0 {
			continue
		}
		var enough bool
		ctx, enough = s.start(ctx, observe.Event{Kind: k, Attempt: c.Loop.Attempts, AttemptKind: c.Kind, Lane: c.Lane})
		if k == observe.CallStart && enough {
			c.deaf |= s.bit
		}
	}
	return ctx
}
