package engine

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/retry"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
)

// Call is the engine: one call's way from admission through its attempts to
// its settlement. It decides and keeps the books; attempts, timers and
// goroutines are its driver's, who owns it:
//
//	admit → (begin → attempt → end → next → [backoff → resume])… → settle → close
//
// Whatever happens to the driver, a panic too, [Call.Unwind] must be reached.
type Call struct {
	Host   *Host
	Plan   *Plan
	Policy *Policy
	Ctx    context.Context // the call's: deadline, cancellation, spans
	Shard  uint32          // see observe.Event

	Loop     retry.Loop
	Kind     observe.AttemptKind // of the last attempt begun; in the end, of the one that is the call's outcome
	token    breaker.Token
	admitted bool    // token is to be settled
	answered bool    // a stream whose server has answered, which has been counted
	earned   bool    // the budget has been paid for it
	Funded   bool    // a budget token is held for an attempt not made yet
	pausing  bool    // a backoff has begun and not ended
	Running  Attempt // that has begun and not ended, of those made in turn
	Closed   bool    // CallEnd has been emitted

	firstEndPending bool // the first attempt succeeded, and summary recorders do not know yet

	Untimed   bool // a stream: how long it lives says nothing about the server
	slow      bool // the last attempt was
	exhausted bool
	rejected  observe.Outcome // who refused it; OutcomeNone: nobody
	Code      codes.Code      // of the last attempt
	last      verdict.Verdict // on it
	losses    uint64          // Plan.Losses when it began
	old       bool            // it was a stream that lived long unanswered
	delay     time.Duration   // of the backoff
	refusal   observe.Reason  // why it was refused
	Place     place           // in the method's limit

	mutedStarters uint64 // bits of those that want no more events of this call

	why     retry.Reason  // there was no other attempt
	started time.Duration // if an observer wants to know how long calls take
	since   time.Duration // the backoff began
	waited  time.Duration // in backoffs
	hedges  int           // of the attempts
}

var lastShard atomic.Uint32

// NewShard returns the next shard.
func NewShard() uint32 { return lastShard.Add(1) }

// Admit asks the limit, then the breaker. The error is what the caller gets.
func (c *Call) Admit() error {
	if err := c.enter(); err != nil {
		return err
	}
	g := c.breaker()
	if g == nil {
		return nil
	}
	token, ok := g.AdmitClosed()
	if !ok {
		var change breaker.Transition
		var wait time.Duration
		token, change, wait, ok = g.Admit(c.Host.Now())
		c.changed(change)
		if !ok {
			return c.refusedByBreaker(wait)
		}
	}
	c.token, c.admitted = token, true
	return nil
}

func (c *Call) refusedByBreaker(wait time.Duration) error {
	c.rejected, c.refusal = observe.RejectedBreaker, observe.ReasonBreakerOpen
	return breakerOpen(c.Plan, wait)
}

func (c *Call) breaker() *breaker.Guard {
	if c.Policy.BreakerOff {
		return nil
	}
	return c.Plan.Breaker
}

// Attempt is one that has begun and not ended.
type Attempt struct {
	Ctx    context.Context // nil: there is none
	Number int
	Kind   observe.AttemptKind
	Began  time.Duration // if it matters
}

// Begin starts an attempt and returns its context. cancel, which may be nil,
// must be called when the attempt is over.
func (c *Call) Begin(l Limiter) (ctx context.Context, cancel context.CancelFunc) {
	if c.Policy.AttemptTimeout == 0 {
		l = nil
	}
	c.Running, cancel = c.Launch(l)
	return c.Running.Ctx, cancel
}

// End closes the books of the attempt that Begin started.
func (c *Call) End(err error, ev Evidence) {
	a := c.Running
	c.Running = Attempt{}
	c.Ended(a, err, ev)
}

// Limiter bounds an attempt's context.
type Limiter interface {
	Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc)
}

// LimitFunc is a limiter.
type LimitFunc func(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc)

// Limit implements [Limiter].
func (f LimitFunc) Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return f(ctx, timeout)
}

// Launch starts an attempt. Its context derives from the call's, never from
// another attempt's.
func (c *Call) Launch(l Limiter) (a Attempt, cancel context.CancelFunc) {
	c.Loop.Attempts++
	if c.Kind == observe.HedgeAttempt {
		c.hedges++
	}
	a = Attempt{Ctx: c.Ctx, Number: c.Loop.Attempts, Kind: c.Kind}
	c.losses, c.answered = c.Plan.Losses.Load(), false
	if c.Policy.SlowCall > 0 || c.Policy.Hedges() || c.Untimed {
		a.Began = c.Host.Now()
	}
	if a.Number > 1 {
		a.Ctx = numbered(a.Ctx, a.Number)
	}
	if l != nil {
		a.Ctx, cancel = l.Limit(a.Ctx, c.Policy.AttemptTimeout)
	}
	a.Ctx = c.Start(a.Ctx, observe.AttemptStart)
	return a, cancel
}

// Ended closes the books of an attempt whose end is the call's, or was to be.
func (c *Call) Ended(a Attempt, err error, ev Evidence) {
	c.Code = codes.OK
	c.last = verdict.Verdict{}
	if c.Untimed && (err == nil || ev.Header || ev.Message) {
		c.Answered()
	}
	if err != nil {
		c.Code = CodeOf(err)
		c.Judge(a, err, ev)
	}
	c.Timed(a)
	to := c.Plan.Recorders.all
	if c.firstEndPending = err == nil && c.Loop.Attempts == 1; c.firstEndPending {
		to = c.Plan.Recorders.detailed
	}
	c.emitAttemptEnd(to, a, c.Code, err)
}

// Timed sees whether an attempt has been slow.
func (c *Call) Timed(a Attempt) {
	if c.Policy.SlowCall > 0 && !c.Untimed {
		c.slow = c.Host.Now()-a.Began >= c.Policy.SlowCall
	}
}

// EndStream closes the books of a stream's last attempt. A committed one that
// failed might have been retried, had it failed before.
func (c *Call) EndStream(err error, committed bool, ev Evidence) {
	c.End(err, ev)
	if err != nil && committed && c.Policy.Retry.Codes.Contains(c.Code) && CallerOf(c.Ctx) == retry.Waiting {
		c.Stop(retry.Committed)
	}
}

// Next decides what follows the failed attempt: another one after the delay,
// or the end. The token for it is taken now, before the backoff: were it taken
// after, an outage would run for seconds of backoffs before it empties the
// bucket.
func (c *Call) Next(f retry.Failure) (delay time.Duration, again bool) {
	if c.old {
		c.Loop.Delivered() // it has used up no attempt
	}
	d := c.Loop.Next(&c.Policy.Retry, f, rand.Float64())
	if d.Reason == retry.Again {
		d.Reason = c.Afford()
	}
	if d.Reason == retry.Again {
		return d.Delay, true
	}
	c.Stop(d.Reason)
	return 0, false
}

// Afford asks those who may veto another attempt.
func (c *Call) Afford() retry.Reason {
	switch {
	case c.opened():
		return retry.Breaker
	case c.Policy.BudgetOff || c.Plan.Budget == nil || c.old:
		return retry.Again
	case !c.Plan.Budget.Take(c.Host.Now()):
		return retry.Budget
	}
	c.Funded = true
	return retry.Again
}

// Pause begins the backoff before another attempt.
func (c *Call) Pause(delay time.Duration, err error) {
	c.pausing, c.delay, c.since = true, delay, c.Host.Now()
	c.Emit(observe.Event{Kind: observe.BackoffStart, Attempt: c.Loop.Attempts, Delay: delay, Code: c.Code, Err: err})
}

// Paused ends it.
func (c *Call) Paused() {
	c.pausing = false
	if CallerOf(c.Ctx) == retry.Cancelled { // so the failure before is not the call's end
		c.last = verdict.Verdict{Origin: verdict.CallerGone}
	}
	c.waited += c.Host.Now() - c.since
	c.Emit(observe.Event{Kind: observe.BackoffEnd, Attempt: c.Loop.Attempts, Delay: c.delay, Code: c.Code})
}

// Resume is asked after the backoff: the breaker may have opened meanwhile.
func (c *Call) Resume() bool {
	if c.opened() { // settle refunds
		c.Stop(retry.Breaker)
		return false
	}
	c.Funded = false // spent
	return true
}

// opened reports whether the breaker forbids another attempt: it has opened
// since the call was admitted, or is open and had the call try once.
func (c *Call) opened() bool {
	return c.admitted && (c.token.Early() || c.breaker().Opened(c.token))
}

// Stop notes why there is no other attempt, and emits it if that is not because
// the attempts are used up or the caller has gone.
func (c *Call) Stop(why retry.Reason) {
	c.exhausted = why == retry.Exhausted
	if why != retry.Buffer { // that one ends nothing yet
		c.why = why
	}
	if why.Suppressed() {
		c.Emit(observe.Event{Kind: observe.Suppressed, Reason: RetryReason(why), Attempt: c.Loop.Attempts, Code: c.Code})
	}
}

// Refund gives back the budget token of an attempt that is not made.
func (c *Call) Refund() {
	if c.Funded {
		c.Funded = false
		c.Plan.Budget.Refund()
	}
}

// Close emits how the call ended, once. err is its error, even if a fallback
// rescued it from that.
func (c *Call) Close(err error, rescued bool) {
	if c.Closed {
		return
	}
	c.Closed = true
	to := c.Plan.Recorders.all
	if c.firstEndPending {
		c.flushFirstEnd(err == nil)
		if err == nil {
			to = c.Plan.Recorders.detailed
		}
	}
	if !c.anyListens(to) {
		return
	}
	e := observe.Event{Kind: observe.CallEnd, Attempt: c.Loop.Attempts, Hedges: c.hedges, Err: err, Exhausted: c.exhausted, Waited: c.waited}
	if err != nil {
		e.Code = CodeOf(err)
		e.Reason = RetryReason(c.why)
	}
	if c.Plan.Recorders.elapsed {
		e.Elapsed = c.Host.Now() - c.started
	}
	switch {
	case rescued:
		e.Outcome = observe.Rescued
	case c.rejected != observe.OutcomeNone:
		e.Outcome, e.Reason = c.rejected, c.refusal
	case err != nil:
		e.Outcome = observe.Failed
	case c.Kind == observe.HedgeAttempt:
		e.Outcome = observe.SuccessHedge
	case c.Kind != observe.FirstAttempt:
		e.Outcome = observe.SuccessAfterRetry
	default:
		e.Outcome = observe.SuccessFirst
	}
	c.emitTo(to, c.Ctx, e)
}

// Unwind ends what a panic or runtime.Goexit beneath left open; after close
// there is nothing to do.
func (c *Call) Unwind() {
	if c.Closed {
		return
	}
	if c.Running.Ctx != nil {
		c.End(ErrPanicked, Evidence{})
	}
	if c.pausing { // a context may panic too
		c.Paused()
	}
	c.unqueue()
	c.leave(false)
	if c.admitted {
		c.admitted = false
		c.changed(c.breaker().Settle(c.Host.Now(), c.token, breaker.Neutral, 0))
	}
	c.Refund()
	c.Close(ErrPanicked, false)
}
