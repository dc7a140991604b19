package interceptors

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/retry"
)

// attemptsKey is the header that tells a server how many attempts came before
// (gRFC A6).
const attemptsKey = "grpc-previous-rpc-attempts"

// call is the engine: one call's way from admission through its attempts to
// its settlement. It decides and keeps the books; attempts, timers and
// goroutines are its driver's, who owns it:
//
//	admit → (begin → attempt → end → next → [backoff → resume])… → settle → close
//
// Whatever happens to the driver, a panic too, [call.unwind] must be reached.
type call struct {
	suite  *Suite
	plan   *plan
	policy *compiled
	ctx    context.Context // the call's: deadline, cancellation, spans
	lane   uint32

	loop     retry.Loop
	kind     AttemptKind // of the last attempt begun; in the end, of the one that is the call's outcome
	token    breaker.Token
	admitted bool    // token is to be settled
	funded   bool    // a budget token is held for an attempt not made yet
	pausing  bool    // a backoff has begun and not ended
	running  attempt // that has begun and not ended, of those made in turn
	owed     bool    // those told in one word have not been told of the attempt yet
	closed   bool    // CallEnd has been told

	untimed   bool // a stream: how long it lives says nothing about the server
	slow      bool // the last attempt was
	exhausted bool
	rejected  Outcome       // who refused it; SuccessFirst: nobody
	code      codes.Code    // of the last attempt
	delay     time.Duration // of the backoff
	refusal   string        // why it was refused
	place     place         // in the method's limit

	deaf    uint64        // bits of the starters that want to hear no more
	why     retry.Reason  // there was no other attempt
	started time.Duration // if an observer wants to know how long calls take
	since   time.Duration // the backoff began
	waited  time.Duration // in backoffs
	hedges  int           // of the attempts
}

// admit asks the limit, then the breaker. The error is what the caller gets.
func (c *call) admit() error {
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
		token, change, wait, ok = g.Admit(c.suite.now())
		c.changed(change)
		if !ok {
			return c.refusedByBreaker(wait)
		}
	}
	c.token, c.admitted = token, true
	return nil
}

func (c *call) refusedByBreaker(wait time.Duration) error {
	c.rejected, c.refusal = RejectedBreaker, "breaker_open"
	return breakerOpen(c.plan, wait)
}

func (c *call) breaker() *breaker.Guard {
	if c.policy.breakerOff {
		return nil
	}
	return c.plan.breaker
}

// attempt is one that has begun and not ended.
type attempt struct {
	ctx    context.Context // nil: there is none
	number int
	kind   AttemptKind
	began  time.Duration // if it matters
}

// begin starts an attempt and returns its context. cancel, which may be nil,
// must be called when the attempt is over.
func (c *call) begin(l limiter) (ctx context.Context, cancel context.CancelFunc) {
	if c.policy.attemptTimeout == 0 {
		l = nil
	}
	c.running, cancel = c.launch(l)
	return c.running.ctx, cancel
}

// end closes the books of the attempt that begin started.
func (c *call) end(code codes.Code, err error) {
	a := c.running
	c.running = attempt{}
	c.ended(a, code, err)
}

// limiter bounds an attempt's context.
type limiter interface {
	limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc)
}

// limitFunc is a limiter.
type limitFunc func(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc)

func (f limitFunc) limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return f(ctx, timeout)
}

// launch starts an attempt. Its context derives from the call's, never from
// another attempt's.
func (c *call) launch(l limiter) (a attempt, cancel context.CancelFunc) {
	c.loop.Attempts++
	if c.kind == HedgeAttempt {
		c.hedges++
	}
	a = attempt{ctx: c.ctx, number: c.loop.Attempts, kind: c.kind}
	if c.policy.slowCall > 0 || c.policy.hedges() {
		a.began = c.suite.now()
	}
	if a.number > 1 {
		a.ctx = metadata.AppendToOutgoingContext(a.ctx, attemptsKey, strconv.Itoa(a.number-1))
	}
	if l != nil {
		a.ctx, cancel = l.limit(a.ctx, c.policy.attemptTimeout)
	}
	a.ctx = c.start(a.ctx, AttemptStart)
	return a, cancel
}

// ended closes the books of an attempt whose end is the call's, or was to be.
func (c *call) ended(a attempt, code codes.Code, err error) {
	c.code = code
	c.place.strained = c.place.strained || strain.Contains(code)
	c.timed(a)
	to := c.plan.tells.all
	if c.owed = err == nil && c.loop.Attempts == 1; c.owed {
		to = c.plan.tells.verbose
	}
	c.tellEnd(to, a, code, err)
}

// timed sees whether an attempt has been slow.
func (c *call) timed(a attempt) {
	if c.policy.slowCall > 0 && !c.untimed {
		c.slow = c.suite.now()-a.began >= c.policy.slowCall
	}
}

func (c *call) tellEnd(to []*recorder, a attempt, code codes.Code, err error) {
	if c.heard(to) {
		c.tell(to, a.ctx, Event{Kind: AttemptEnd, Attempt: a.number, AttemptKind: a.kind, Code: code, Err: err})
	}
}

// endStream closes the books of a stream's last attempt. A committed one that
// failed might have been retried, had it failed before.
func (c *call) endStream(err error, committed bool) {
	code := codes.OK
	if err != nil {
		code = codeOf(err)
	}
	c.end(code, err)
	if err != nil && committed && c.policy.retry.Codes.Contains(code) && callerOf(c.ctx) == retry.Waiting {
		c.stop(retry.Committed)
	}
}

// next decides what follows the failed attempt: another one after the delay,
// or the end. The token for it is taken now, before the backoff: were it taken
// after, an outage would run for seconds of backoffs before it empties the
// bucket.
func (c *call) next(f retry.Failure) (delay time.Duration, again bool) {
	d := c.loop.Next(&c.policy.retry, f, rand.Float64())
	if d.Reason == retry.Again {
		d.Reason = c.afford()
	}
	if d.Reason == retry.Again {
		return d.Delay, true
	}
	c.stop(d.Reason)
	return 0, false
}

// afford asks those who may veto another attempt.
func (c *call) afford() retry.Reason {
	switch {
	case c.opened():
		return retry.Breaker
	case c.policy.budgetOff || c.plan.budget == nil:
		return retry.Again
	case !c.plan.budget.Take(c.suite.now()):
		return retry.Budget
	}
	c.funded = true
	return retry.Again
}

// pause begins the backoff before another attempt.
func (c *call) pause(delay time.Duration, err error) {
	c.pausing, c.delay, c.since = true, delay, c.suite.now()
	c.tellAll(Event{Kind: BackoffStart, Attempt: c.loop.Attempts, Delay: delay, Code: c.code, Err: err})
}

// paused ends it.
func (c *call) paused() {
	c.pausing = false
	c.waited += c.suite.now() - c.since
	c.tellAll(Event{Kind: BackoffEnd, Attempt: c.loop.Attempts, Delay: c.delay, Code: c.code})
}

// resume is asked after the backoff: the breaker may have opened meanwhile.
func (c *call) resume() bool {
	if c.opened() { // settle refunds
		c.stop(retry.Breaker)
		return false
	}
	c.funded = false // spent
	return true
}

// opened reports whether the breaker forbids another attempt: it has opened
// since the call was admitted, or is open and had the call try once.
func (c *call) opened() bool {
	return c.admitted && (c.token.Early() || c.breaker().Opened(c.token))
}

func (c *call) stop(why retry.Reason) {
	c.exhausted = why == retry.Exhausted
	if why != retry.Buffer { // that one ends nothing yet
		c.why = why
	}
	if why.Suppressed() {
		c.tellAll(Event{Kind: Suppressed, Reason: why.String(), Attempt: c.loop.Attempts, Code: c.code})
	}
}

func (c *call) refund() {
	if c.funded {
		c.funded = false
		c.plan.budget.Refund()
	}
}

// answered is for a stream whose server has answered. A stream may live for
// days: if it is a probe, that is enough to know that the server is back.
func (c *call) answered() {
	if c.admitted && c.token.Probe() {
		c.admitted = false
		c.changed(c.breaker().Settle(c.suite.now(), c.token, breaker.Success, 0))
	}
}

// settle tells limit, breaker and budget how the call ended, once. What it says is
// the last attempt's: a call saved by a retry is a success, one whose attempts
// all failed is one failure.
func (c *call) settle(err error) {
	c.leave(true)
	c.refund()
	if err == nil && c.plan.budget != nil && !c.policy.budgetOff {
		c.plan.budget.Deposit()
	}
	if !c.admitted {
		return
	}
	c.admitted = false
	g, now := c.breaker(), c.suite.now()
	if err == nil && !c.slow {
		c.changed(g.Succeed(now, c.token, c.lane))
		return
	}
	c.changed(g.Settle(now, c.token, c.verdict(err), rand.Float64()))
}

// verdict is what the call says about the server.
func (c *call) verdict(err error) breaker.Outcome {
	switch {
	case err == nil: // and slow
		return breaker.SlowSuccess
	case callerOf(c.ctx) == retry.Cancelled, !c.policy.failures.Contains(c.code):
		return breaker.Neutral
	case c.slow:
		return breaker.SlowFailure
	}
	return breaker.Failure
}

// close tells the observers how the call ended, once. err is its error, even
// if a fallback rescued it from that.
func (c *call) close(err error, rescued bool) {
	if c.closed {
		return
	}
	c.closed = true
	to := c.plan.tells.all
	if c.owed {
		for i := range c.plan.tells.terse {
			c.confirm(&c.plan.tells.terse[i], err == nil)
		}
		if err == nil {
			to = c.plan.tells.verbose
		}
	}
	if !c.heard(to) {
		return
	}
	e := Event{Kind: CallEnd, Attempt: c.loop.Attempts, Hedges: c.hedges, Err: err, Exhausted: c.exhausted, Waited: c.waited}
	if err != nil {
		e.Code = codeOf(err)
		if c.why.Suppressed() {
			e.Reason = c.why.String()
		}
	}
	if c.plan.tells.timed {
		e.Elapsed = c.suite.now() - c.started
	}
	switch {
	case rescued:
		e.Outcome = Rescued
	case c.rejected != SuccessFirst:
		e.Outcome, e.Reason = c.rejected, c.refusal
	case err != nil:
		e.Outcome = Failed
	case c.kind == HedgeAttempt:
		e.Outcome = SuccessHedge
	case c.kind != FirstAttempt:
		e.Outcome = SuccessAfterRetry
	}
	c.tell(to, c.ctx, e)
}

// confirm tells what was held back when the first attempt succeeded: that all
// went well, or, if something panicked since, of the attempt alone.
func (c *call) confirm(t *terse, well bool) {
	switch {
	case c.deaf&t.bit != 0:
	case well:
		t.succeeded(c.lane)
	default:
		t.tell(c.ctx, &Event{Kind: AttemptEnd, Attempt: 1, Lane: c.lane})
	}
}

// unwind ends what a panic or runtime.Goexit beneath left open; after close
// there is nothing to do.
func (c *call) unwind() {
	if c.closed {
		return
	}
	if c.running.ctx != nil {
		c.end(codes.Unknown, errPanicked)
	}
	if c.pausing { // a context may panic too
		c.paused()
	}
	c.unqueue()
	c.leave(false)
	if c.admitted {
		c.admitted = false
		c.changed(c.breaker().Settle(c.suite.now(), c.token, breaker.Neutral, 0))
	}
	c.refund()
	c.close(errPanicked, false)
}
