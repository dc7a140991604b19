package engine

import (
	"context"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
)

func (c *Call) changed(t breaker.Transition) {
	if t.Happened() {
		c.Emit(BreakerChange(c.breaker(), c.Host.Now(), t))
		c.Plan.Changed(c.breaker(), t)
	}
}

// BreakerChange returns the event of a transition that has just been.
func BreakerChange(g *breaker.Guard, now time.Duration, t breaker.Transition) observe.Event {
	return observe.Event{Kind: observe.BreakerChange, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Reason: BreakerReason(t.Reason), Delay: g.Lasts(now, t)}
}

// reason is why the call failed: it was refused, or not tried again.
func (c *Call) reason() observe.Reason {
	if c.rejected != observe.OutcomeNone {
		return c.refusal
	}
	return RetryReason(c.why)
}

func (c *Call) backendChanged(ch fleet.Change) {
	if t := ch.Transition; t.Happened() {
		e := observe.Event{Kind: observe.BackendChange, Backend: ch.Backend.Name, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Reason: BreakerReason(t.Reason)}
		c.Emit(e)
		if c.Host.LogChange != nil {
			c.Host.LogChange(c.Plan.Method, c.Plan.Target, e)
		}
	}
}

// Emit hands an event of the call to all recorders.
func (c *Call) Emit(e observe.Event) {
	c.emitTo(c.Plan.Recorders.All, c.Ctx, e)
}

func (c *Call) emitAttemptEnd(to []*hooks.Recorder, a *Attempt, code codes.Code, err error) {
	if c.anyListens(to) {
		e := observe.Event{Kind: observe.AttemptEnd, Attempt: a.Number, AttemptKind: a.Kind, Backend: a.place.Name(), Code: code, Err: err}
		if c.Plan.Recorders.Timed {
			e.Elapsed = c.Host.Now() - a.Began
		}
		c.emitTo(to, a.Ctx, e)
	}
}

// anyListens reports whether any of them wants the events of this call.
func (c *Call) anyListens(to []*hooks.Recorder) bool {
	for _, r := range to {
		if c.mutedStarters&r.Bit == 0 {
			return true
		}
	}
	return false
}

func (c *Call) emitTo(to []*hooks.Recorder, ctx context.Context, e observe.Event) {
	e.Shard = c.shard
	for _, r := range to {
		if c.mutedStarters&r.Bit == 0 {
			r.Emit(ctx, &e)
		}
	}
}

// flushFirstEnd hands on what was held back when the first attempt succeeded: that
// the call did or, if something panicked since, the end of the attempt alone.
func (c *Call) flushFirstEnd(succeeded bool) {
	for _, r := range c.Plan.Recorders.Summary {
		switch {
		case c.mutedStarters&r.Bit != 0:
		case succeeded:
			r.FirstSuccess(c.shard)
		case r.HasEvent():
			r.Emit(c.Ctx, &observe.Event{Kind: observe.AttemptEnd, Attempt: 1, Shard: c.shard})
		}
	}
}

// begins calls the Start hooks for a call or an attempt that begins, and returns
// the context that they want it to have.
func (c *Call) begins(ctx context.Context, k observe.Kind) context.Context {
	if k == observe.CallStart && c.Plan.Recorders.Elapsed {
		c.started = c.Host.Now()
	}
	for _, r := range c.Plan.Recorders.Starters {
		if c.mutedStarters&r.Bit != 0 {
			continue
		}
		var enough bool
		ctx, enough = r.Start(ctx, observe.Event{Kind: k, Attempt: c.loop.Attempts, AttemptKind: c.kind, Shard: c.shard})
		if k == observe.CallStart && enough {
			c.mutedStarters |= r.Bit
		}
	}
	return ctx
}
