package engine

import (
	"context"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
)

func (c *Call) changed(t breaker.Transition) {
	if t.Happened() {
		c.Emit(BreakerChange(t))
		c.Plan.Changed(c.breaker(), t)
	}
}

// BreakerChange returns the event of a transition.
func BreakerChange(t breaker.Transition) observe.Event {
	return observe.Event{Kind: observe.BreakerChange, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Reason: BreakerReason(t.Reason)}
}

// Emit hands an event of the call to all recorders.
func (c *Call) Emit(e observe.Event) {
	c.emitTo(c.Plan.Recorders.all, c.Ctx, e)
}

func (c *Call) emitAttemptEnd(to []*recorder, a *Attempt, code codes.Code, err error) {
	if c.anyListens(to) {
		c.emitTo(to, a.Ctx, observe.Event{Kind: observe.AttemptEnd, Attempt: a.Number, AttemptKind: a.Kind, Code: code, Err: err})
	}
}

// anyListens reports whether any of them wants the events of this call.
func (c *Call) anyListens(to []*recorder) bool {
	for _, r := range to {
		if c.mutedStarters&r.bit == 0 {
			return true
		}
	}
	return false
}

func (c *Call) emitTo(to []*recorder, ctx context.Context, e observe.Event) {
	e.Shard = c.shard
	for _, r := range to {
		if c.mutedStarters&r.bit == 0 {
			r.emit(ctx, &e)
		}
	}
}

// flushFirstEnd hands on what was held back when the first attempt succeeded: that
// the call did or, if something panicked since, the end of the attempt alone.
func (c *Call) flushFirstEnd(succeeded bool) {
	for _, r := range c.Plan.Recorders.summary {
		switch {
		case c.mutedStarters&r.bit != 0:
		case succeeded:
			r.firstSuccess(c.shard)
		case r.hooks.Event != nil:
			r.emit(c.Ctx, &observe.Event{Kind: observe.AttemptEnd, Attempt: 1, Shard: c.shard})
		}
	}
}

// begins calls the Start hooks for a call or an attempt that begins, and returns
// the context that they want it to have.
func (c *Call) begins(ctx context.Context, k observe.Kind) context.Context {
	if k == observe.CallStart && c.Plan.Recorders.elapsed {
		c.started = c.Host.Now()
	}
	for _, r := range c.Plan.Recorders.starters {
		if c.mutedStarters&r.bit != 0 {
			continue
		}
		var enough bool
		ctx, enough = r.start(ctx, observe.Event{Kind: k, Attempt: c.loop.Attempts, AttemptKind: c.kind, Shard: c.shard})
		if k == observe.CallStart && enough {
			c.mutedStarters |= r.bit
		}
	}
	return ctx
}
