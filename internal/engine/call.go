package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/internal/retry"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
)

// Call is the engine: one call's way from admission through its attempts to
// its settlement. It decides and keeps the books; attempts, timers and
// goroutines are its driver's, who owns it:
//
//	start → admit → (begin → attempt → end → next → [pause → resume])… → settle → finish → release
//
// Whatever happens to the driver, a panic too, [Call.Unwind] must be reached.
type Call struct {
	// What drivers may read, and only the engine writes.
	Host   *Host
	Plan   *Plan
	Policy *Policy
	Ctx    context.Context // the call's: deadline, cancellation, spans

	shard   uint32 // see observe.Event
	stream  bool   // how long it lives says nothing about the server
	loop    retry.Loop
	kind    observe.AttemptKind // of the last attempt begun; in the end, of the one that is the call's outcome
	running Attempt             // that has begun and not ended, of those made in turn
	hedges  int                 // of the attempts

	token    breaker.Token
	admitted bool // token is to be settled
	answered bool // a stream whose server has answered, which has been counted
	earned   bool // the budget has been paid for it
	funded   bool // a budget token is held for an attempt not made yet
	pausing  bool // a backoff has begun and not ended
	finished bool // CallEnd has been emitted
	slot     slot // of the method's limit

	route fleet.Route // among the target's backends

	firstEndPending bool   // the first attempt succeeded, and summary recorders do not know yet
	mutedStarters   uint64 // bits of those that want no more events of this call

	slow      bool // the last attempt was
	old       bool // it was a stream that lived long unanswered
	exhausted bool
	code      codes.Code      // of the last attempt
	last      verdict.Verdict // on it
	elsewhere bool            // it failed on a backend that is not ours to choose, and another serves the method
	losses    uint64          // Plan.Losses when it began
	vain      time.Duration   // the longest that an attempt has waited for an answer until its time ran out; notInVain: one failed otherwise
	why       failure.Reason  // there was no other attempt
	rejected  observe.Outcome // who refused the call; OutcomeNone: nobody
	refusal   observe.Reason  // why

	started time.Duration // if an observer wants to know how long calls take
	since   time.Duration // the backoff began
	delay   time.Duration // of the backoff
	waited  time.Duration // in backoffs

	trail []journal.Attempt // of the failed attempts; nil: none has
}

var lastShard atomic.Uint32

// Init prepares a unary call, which may have been released by another use. f is
// where its attempts go; nil: that is not for the suite to say.
func (c *Call) Init(ctx context.Context, h *Host, p *Plan, policy *Policy, f *fleet.Fleet) {
	if c.shard == 0 {
		c.shard = lastShard.Add(1)
	}
	c.Host, c.Plan, c.Policy, c.Ctx, c.route = h, p, policy, ctx, fleet.NewRoute(f, p.LastGood)
}

// InitStream prepares a stream.
func (c *Call) InitStream(ctx context.Context, h *Host, p *Plan, policy *Policy, f *fleet.Fleet) {
	c.Init(ctx, h, p, policy, f)
	c.stream = true
}

// Release lets go of everything that the call knows, for another to be made of it.
func (c *Call) Release() { *c = Call{shard: c.shard} }

// Shard returns which of the shards of counters is the call's.
func (c *Call) Shard() uint32 { return c.shard }

// Attempts returns how many attempts have begun.
func (c *Call) Attempts() int { return c.loop.Attempts }

// Start begins the call, in a context that has its deadline: the hooks' that
// want to know may put their values into it.
func (c *Call) Start(ctx context.Context) { c.Ctx = c.begins(ctx, observe.CallStart) }

// Admit asks the limit, then the breaker. The error is what the caller gets. A call
// that has to wait for a slot does so as returned, and asks again. The channel may
// be nil.
func (c *Call) Admit(channel Channel) (Wait, error) {
	if c.Plan.Limit != nil {
		if w, err := c.takeSlot(channel); err != nil || w.Needed() {
			return w, err
		}
	}
	g := c.breaker()
	if g == nil {
		return Wait{}, nil
	}
	token, ok := g.AdmitClosed()
	if !ok {
		c.reconnect(channel)
		var change breaker.Transition
		var wait time.Duration
		token, change, wait, ok = g.Admit(c.Host.Now())
		c.changed(change)
		if !ok && c.exempt(g) {
			c.observed()
			return Wait{}, nil
		}
		if !ok {
			if token, ok = g.AdmitPatient(c.ownTime()); !ok {
				return Wait{}, c.refusedByBreaker(g, wait)
			}
		}
	}
	c.token, c.admitted = token, true
	return Wait{}, nil
}

func (c *Call) breaker() *breaker.Guard {
	if c.Policy.BreakerOff {
		return nil
	}
	return c.Plan.Breaker
}

// EndStream closes the books of a stream's last attempt. A committed one that
// failed might have been retried, had it failed before. If none runs, there is
// nothing to do.
func (c *Call) EndStream(err error, committed bool, evidence func() Evidence) {
	if c.running.Ctx == nil {
		return
	}
	c.End(err, evidence())
	if err != nil && committed && c.Policy.Retry.Codes.Contains(c.code) && CallerOf(c.Ctx) == failure.Waiting {
		c.Stop(failure.Committed)
	}
}

// Next decides what follows the failed attempt: another one after the delay,
// or the end. The token for it is taken now, before the backoff: were it taken
// after, an outage would run for seconds of backoffs before it empties the
// bucket.
func (c *Call) Next(f failure.Failure) (delay time.Duration, again bool) {
	if c.old {
		c.loop.Delivered() // it has used up no attempt
	}
	f.Elsewhere = c.last.Breaker == verdict.Bad && c.route.AtOnce()
	d := c.loop.Next(&c.Policy.Retry, f, c.Host.chance())
	if d.Reason == failure.Again {
		d.Reason = c.Afford()
	}
	if d.Reason != failure.Again {
		c.Stop(d.Reason)
	}
	return d.Delay, d.Reason == failure.Again
}

// Afford asks those who may veto another attempt.
func (c *Call) Afford() failure.Reason {
	switch {
	case c.opened():
		return failure.Breaker
	case c.Policy.BudgetOff || c.Plan.Budget == nil || c.old || c.route.Displaced():
		return failure.Again
	}
	ok := c.Plan.Budget.Take(c.Host.Now())
	c.budgetTurned()
	if !ok {
		return failure.Budget
	}
	c.funded = true
	return failure.Again
}

// Pause begins the backoff before another attempt, which the driver waits for.
func (c *Call) Pause(delay time.Duration, err error) {
	c.pausing, c.delay, c.since = true, delay, c.Host.Now()
	if n := len(c.trail); n > 0 {
		c.trail[n-1].Delay = delay
	}
	c.Emit(observe.Event{Kind: observe.BackoffStart, Attempt: c.loop.Attempts, Delay: delay, Code: c.code, Err: err})
}

// paused ends the backoff.
func (c *Call) paused() {
	c.pausing = false
	if CallerOf(c.Ctx) == failure.Cancelled { // so the failure before is not the call's end
		c.last = verdict.Verdict{Origin: verdict.CallerGone}
	}
	c.waited += c.Host.Now() - c.since
	c.Emit(observe.Event{Kind: observe.BackoffEnd, Attempt: c.loop.Attempts, Delay: c.delay, Code: c.code})
}

// Resume ends the backoff that followed a failure, and reports whether to try
// again: the call's context may have ended meanwhile, or the breaker opened. If
// there is to be no other attempt, the error is the call's.
func (c *Call) Resume(last error) (again bool, err error) {
	c.paused()
	switch {
	case c.Ctx.Err() != nil && last == nil: // a reply that was not good enough, and is all there is
		return false, nil
	case c.Ctx.Err() != nil:
		return false, Interrupted(c.Ctx, c.loop.Attempts, last)
	case c.opened(): // Settle refunds
		c.Stop(failure.Breaker)
		return false, last
	}
	c.funded = false // spent
	c.kind = observe.RetryAttempt
	return true, nil
}

// Continue makes of the retry that follows the resumption of a stream that was
// cut after it had delivered messages.
func (c *Call) Continue() { c.kind = observe.ResumeAttempt }

// Unsatisfied reports whether a classifier asks for another attempt, though the
// last one succeeded.
func (c *Call) Unsatisfied() bool { return c.last.Again }

// Delivered notes that the running attempt of a stream that can be resumed has
// delivered a message, or lived for long: attempts and backoff count from here.
func (c *Call) Delivered() { c.loop.Delivered() }

// Stop notes why there is no other attempt, and emits it if that is not because
// the attempts are used up or the caller has gone.
func (c *Call) Stop(why failure.Reason) {
	c.exhausted = why == failure.Exhausted
	if why != failure.Buffer { // that one ends nothing yet
		c.why = why
	}
	if why.Suppressed() {
		c.Emit(observe.Event{Kind: observe.Suppressed, Reason: RetryReason(why), Attempt: c.loop.Attempts, Code: c.code})
	}
}

// Refund gives back the budget token of an attempt that is not made.
func (c *Call) Refund() {
	if c.funded {
		c.funded = false
		c.Plan.Budget.Refund()
	}
}

// Finish emits how the call ended, once. err is its error, even if a fallback
// rescued it from that.
func (c *Call) Finish(err error, rescued bool) {
	if c.finished {
		return
	}
	c.finished = true
	to := c.Plan.Recorders.All
	if c.firstEndPending {
		c.flushFirstEnd(err == nil)
		if err == nil {
			to = c.Plan.Recorders.Detailed
		}
	}
	listened := c.anyListens(to)
	if !listened && err == nil && c.trail == nil {
		return
	}
	r, failed := c.Report(err, rescued), c.failedCode()
	if err != nil || c.trail != nil {
		c.note(r)
	}
	if !listened {
		return
	}
	e := observe.Event{Kind: observe.CallEnd, Attempt: r.Attempts, Hedges: r.Hedges, Backend: c.route.Last(), Err: err, Exhausted: r.Exhausted, Waited: r.Waited, Code: r.Code, FailedCode: failed, Reason: r.Reason, Outcome: r.Outcome}
	if c.Plan.Recorders.Elapsed {
		e.Elapsed = c.Host.Now() - c.started
	}
	c.emitTo(to, c.Ctx, e)
}

// Unwind ends what a panic or runtime.Goexit beneath left open. It reports whether
// there was anything to do: after Finish there is not.
func (c *Call) Unwind() bool {
	if c.finished {
		return false
	}
	c.unwind()
	return true
}

func (c *Call) unwind() {
	if c.running.Ctx != nil {
		c.End(ErrPanicked, Evidence{})
	}
	if c.pausing { // a context may panic too
		c.paused()
	}
	c.leaveQueue()
	c.releaseSlot(false)
	if c.admitted {
		c.admitted = false
		c.changed(c.breaker().Settle(c.Host.Now(), c.token, breaker.Neutral, 0))
	}
	c.Refund()
	c.Finish(ErrPanicked, false)
}
