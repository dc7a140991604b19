package engine

import (
	"context"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
)

func (c *Call) changed(t breaker.Transition) {
	if t.Happened() {
		c.emitChange(t)
	}
}

func (c *Call) emitChange(t breaker.Transition) {
	c.Emit(BreakerChange(c.breaker(), c.Host.Now(), t))
	c.Plan.Changed(c.breaker(), t)
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

// BackendChange returns the event of a backend's transition that has just been.
func BackendChange(name string, t breaker.Transition) observe.Event {
	return observe.Event{Kind: observe.BackendChange, Backend: name, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Reason: BreakerReason(t.Reason)}
}

func (c *Call) backendChanged(ch fleet.Change) {
	if t := ch.Transition; t.Happened() {
		e := BackendChange(ch.Backend.Name, t)
		e.Delay = ch.Backend.Lasts(c.Host.Now(), t)
		c.Emit(e)
		c.logChange(e)
	}
}

// budgetTurned emits that the target's budget has run empty, or has recovered.
func (c *Call) budgetTurned() {
	var e observe.Event
	switch turn, since := c.Plan.Budget.Turned(); turn {
	case budget.Unturned:
		return
	case budget.Emptied:
		e = observe.Event{Kind: observe.BudgetEmpty, Code: c.code}
	case budget.Recovered:
		e = observe.Event{Kind: observe.BudgetRecovered, Delay: c.Host.Now() - since}
	}
	c.Emit(e)
	c.logChange(e)
}

func (c *Call) logChange(e observe.Event) {
	if c.Host.LogChange != nil {
		c.Host.LogChange(c.Plan.Method, c.Plan.Target, e)
	}
}

// Emit hands an event of the call to all recorders.
func (c *Call) Emit(e observe.Event) {
	c.emitTo(c.Plan.Recorders.All, c.Ctx, e)
}

func (c *Call) emitAttemptEnd(to []*hooks.Recorder, a *Attempt, code codes.Code, err error) {
	if c.anyListens(to) {
		e := observe.Event{Kind: observe.AttemptEnd, Attempt: a.Number, AttemptKind: a.Kind, Backend: a.backend.Name(), Elsewhere: a.backend.Moved(), Code: code, Err: err}
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
	if !c.Plan.Recorders.Begins {
		return ctx
	}
	return c.callStarters(ctx, k)
}

func (c *Call) callStarters(ctx context.Context, k observe.Kind) context.Context {
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

// failedCode is that of the last attempt that failed; OK: none has.
func (c *Call) failedCode() codes.Code {
	if n := len(c.trail); n > 0 {
		return c.trail[n-1].Code
	}
	return codes.OK
}

// noteAttempt keeps what a failed attempt came to.
func (c *Call) noteAttempt(a *Attempt, code codes.Code) {
	n := journal.Attempt{Number: a.Number, Kind: a.Kind, Code: code, At: c.Host.Now()}
	if c.trail == nil {
		c.trail = make([]journal.Attempt, 0, min(journal.MaxTrail, max(c.Policy.Retry.MaxAttempts, c.Policy.Hedge.MaxAttempts)))
	}
	if len(c.trail) < journal.MaxTrail {
		c.trail = append(c.trail, n)
	} else {
		c.trail[journal.MaxTrail-1] = n
	}
}

// note keeps what the call came to, unless its first attempt succeeded.
func (c *Call) note(r journal.Report) {
	if r.Outcome == observe.SuccessFirst || c.Plan.Record == nil {
		return
	}
	now, own := c.Host.Now(), c.Plan.Record.Own()
	c.Plan.Record.Noted(now)
	if r.Attempts == 0 { // in an outage there are thousands of these
		if n := own.Newest(); n != nil && n.Attempts == 0 && n.Outcome == r.Outcome && n.Reason == r.Reason && n.Code == r.Code {
			n.Count.Add(1)
			n.Last.Store(int64(now))
			return
		}
	}
	n := &journal.Note{
		Target: c.Plan.Target, Method: c.Plan.Method, At: now,
		Outcome: r.Outcome, Code: r.Code, Reason: r.Reason, Exhausted: r.Exhausted,
		Attempts: r.Attempts, Hedges: r.Hedges, Waited: r.Waited, Trail: c.trail,
	}
	if r.Code == codes.OK && len(n.Trail) > 0 && len(n.Trail) < journal.MaxTrail {
		n.Trail = append(n.Trail, journal.Attempt{Number: r.Attempts, Kind: c.kind, At: now})
	}
	n.Count.Store(1)
	n.Last.Store(int64(now))
	c.trail = nil // it is the note's
	own.Add(n)
	if c.Host.Journal != nil {
		c.Host.Journal.Add(n)
	}
}

// Report returns how the call has gone. err is its error, even if a fallback
// rescued it from that.
func (c *Call) Report(err error, rescued bool) journal.Report {
	r := journal.Report{Outcome: observe.SuccessFirst, Exhausted: c.exhausted && err != nil, Attempts: c.loop.Attempts, Hedges: c.hedges, Waited: c.waited}
	if err != nil {
		r.Code, r.Reason = CodeOf(err), c.reason()
	}
	switch {
	case rescued:
		r.Outcome = observe.Rescued
	case c.rejected != observe.OutcomeNone:
		r.Outcome = c.rejected
	case err != nil:
		r.Outcome = observe.Failed
	case c.kind == observe.HedgeAttempt:
		r.Outcome = observe.SuccessHedge
	case c.kind != observe.FirstAttempt:
		r.Outcome = observe.SuccessAfterRetry
	}
	return r
}
