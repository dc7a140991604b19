package interceptors

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/hedge"
	"github.com/astra-grpc/astra/observe"
)

const (
	// minHedgeDelay is the least delay that is made of a method's own latency.
	minHedgeDelay = time.Millisecond
)

// hedgedCall drives the engine through attempts side by side. One goroutine at a
// time does, whoever waits for the call: only that one talks to the engine.
// Attempts that still run when the race is left are cancelled, and not waited
// for.
type hedgedCall struct {
	call         *engine.Call
	plan         *plan
	late         *logFailure // of attempts that nobody waits for
	schedule     hedge.Schedule
	delay        time.Duration
	source       source
	streaming    bool               // an attempt that succeeds goes on: it is a stream
	clock        time.Duration      // when something last happened
	results      chan *hedgeAttempt // with room for all; nil: an attempt may be due
	headers      chan *hedgeAttempt // attempts whose header has come
	headed       *hedgeAttempt      // one of them, while nobody waited for it
	headerWanted atomic.Bool        // somebody waits for a header: the first decides
	attempts     []*hedgeAttempt
	last         *hedgeAttempt // the last attempt that failed
	abandonErr   error         // the error of attempts that are abandoned
}

// hedgedCalls keeps the memory of races. Their channels and timers belong to the
// bubble of testing/synctest that they were made in, if any, and are not kept.
var hedgedCalls = sync.Pool{New: func() any { return new(hedgedCall) }}

// newHedgedCall returns a race of the call's attempts, which must be left.
func newHedgedCall(c *engine.Call, p *plan, late *logFailure, from source) *hedgedCall {
	now := c.Host.Now()
	delay := c.Policy.HedgeDelay
	if delay == 0 {
		delay = hedge.Never
		if q := p.latencies(); q != nil {
			if p95, ok := q.Value(now); ok {
				delay = max(p95, minHedgeDelay)
			}
		}
	}
	r := hedgedCalls.Get().(*hedgedCall)
	r.call, r.plan, r.late, r.source, r.delay = c, p, late, from, delay
	r.schedule = hedge.New(&c.Policy.Hedge, now, delay)
	r.clock = now
	r.abandonErr = errLost
	r.results = make(chan *hedgeAttempt, c.Policy.Hedge.MaxAttempts+2) // and what timers say
	return r
}

// run goes on until an attempt has succeeded or the call has failed. It returns
// the attempt that says so, which is to be checked; nil if the call's context
// does.
func (r *hedgedCall) run() (*hedgeAttempt, error) {
	for {
		r.startDue()
		if r.schedule.Over() {
			return r.last, r.lose()
		}
		a, headed := r.await()
		switch {
		case a == nil:
			if err := r.expired(); err != nil {
				return nil, err
			} // else one is due
		case headed:
			if r.adopt(a) {
				return a, nil
			} // else it has just reported
		case r.ended(a):
			return a, nil
		}
	}
}

// adopt makes an attempt that runs the call.
func (r *hedgedCall) adopt(a *hedgeAttempt) bool {
	if a.handled || !a.state.CompareAndSwap(running, adopted) {
		return false
	}
	a.handled = true
	r.call.Adopt(&a.Attempt)
	r.hedged(a, observe.HedgeWon)
	return true
}

// wantHeader lets the first header decide, whoever runs the race.
func (r *hedgedCall) wantHeader() {
	if !r.headerWanted.Swap(true) {
		select {
		case r.results <- nil:
		default: // there is something to wake up for
		}
	}
}

// oldest returns the attempt that has run longest; nil: none runs.
func (r *hedgedCall) oldest() *hedgeAttempt {
	for _, a := range r.attempts {
		if !a.handled {
			return a
		}
	}
	return nil
}

// start starts the race's next attempt, on a goroutine of its own.
func (r *hedgedCall) start(w work) { go r.begin(w).run() }

// begin books the start of the race's next attempt.
func (r *hedgedCall) begin(w work) *hedgeAttempt {
	c, a := r.call, w.of()
	a.work, a.results, a.failed = w, r.results, r.late
	a.cancel = c.Launch(&a.Attempt, w)
	r.attempts = append(r.attempts, a)
	r.schedule.Start(a.Began)
	r.clock = a.Began
	return a
}

// startDue starts a hedge if it is time for one, and if it can be afforded, but
// not if the call may be about to end.
func (r *hedgedCall) startDue() {
	c := r.call
	for r.schedule.Due() <= r.clock && c.Ctx.Err() == nil && !r.waiting() {
		why := c.Afford()
		var w work
		if why == failure.Again {
			var err error
			if w, err = r.source.work(); err != nil { // a codec that fails now and then
				c.Refund()
				why = failure.NotRetryable
			}
		}
		if why != failure.Again {
			r.schedule.Refuse(why)
			r.suppressed(why)
			return
		}
		r.start(w)
	}
}

// waiting reports whether the end of an attempt waits to be looked at.
func (r *hedgedCall) waiting() bool {
	for _, a := range r.attempts {
		if !a.handled && a.state.Load() == reported {
			return true
		}
	}
	return false
}

func (r *hedgedCall) suppressed(why failure.Reason) {
	r.call.Emit(observe.Event{Kind: observe.Hedged, Attempt: r.call.Attempts() + 1, Hedge: observe.HedgeSuppressed, Reason: engine.RetryReason(why)})
}

// await waits until an attempt has ended or, if that is asked for, has a header;
// until another is due, or the call's context ends: then it returns nil.
func (r *hedgedCall) await() (a *hedgeAttempt, headed bool) {
	if due := r.schedule.Due(); due != hedge.Never {
		// Not the channel of a timer: a select with one costs as much as all
		// the rest of a call.
		results := r.results
		t := time.AfterFunc(due-r.clock, func() {
			select {
			case results <- nil:
			default: // there is something to wake up for
			}
		})
		defer t.Stop()
	}
	if r.headed != nil && r.headerWanted.Load() {
		a, r.headed = r.headed, nil
		return a, true
	}
	for waiting := true; waiting; {
		waiting = false
		select {
		case a = <-r.results:
		case head := <-r.headers:
			r.call.Answered(head.work.from())
			if r.headerWanted.Load() {
				a, headed = head, true
				break
			}
			if r.headed == nil {
				r.headed = head
			}
			waiting = true
		case <-r.call.Ctx.Done():
			select { // an answer that came at the same time is one
			case a = <-r.results:
			default:
			}
		}
	}
	r.clock = r.call.Host.Now()
	return a, headed
}

// expired returns the error of a call whose context has ended, with
// attempts running that are not waited for; nil if it has not.
func (r *hedgedCall) expired() error {
	c := r.call
	if c.Ctx.Err() == nil {
		return nil
	}
	var last error
	if r.last != nil {
		last = r.last.err
	}
	var oldest *engine.Attempt
	if a := r.oldest(); a != nil {
		oldest = &a.Attempt
	}
	r.abandonErr = engine.Ended(c.Ctx)
	return c.Expire(oldest, last)
}

// ended books the end of an attempt, and reports whether it has ended the call.
func (r *hedgedCall) ended(a *hedgeAttempt) bool {
	c := r.call
	a.handled = true
	if !a.returned {
		a.cancel()
		r.abandonErr = engine.ErrPanicked
		c.Abandon(&a.Attempt, engine.ErrPanicked)
		r.hedged(a, observe.HedgeLost)
		return true // no other may save what check will end
	}
	if a.err == nil {
		r.sample(r.clock - a.Began - a.idle)
		if r.streaming {
			c.Adopt(&a.Attempt)
		} else {
			a.cancel()
			c.EndOf(&a.Attempt, nil, engine.Evidence{Peer: a.work.from()})
		}
		r.hedged(a, observe.HedgeWon)
		return true
	}
	a.cancel()
	ev := a.work.evidence()
	if k := r.plan.classifier; k != nil {
		seen := a.work.seen(a.err)
		seen.Number = a.Number
		ev.Ruling = k.rule(c, seen)
	}
	if c.EndOf(&a.Attempt, a.err, ev) {
		r.sample(r.clock - a.Began - a.idle)
	}
	r.hedged(a, observe.HedgeLost)
	r.last = a
	f := c.FailureOf(a.err, a.work.trailers(), nil)
	before := r.schedule.Why()
	r.schedule.Fail(r.clock, f)
	if before == failure.Again && r.schedule.Why() == failure.PushedBack {
		r.suppressed(failure.PushedBack)
	}
	return false
}

// lose returns the error of a call that no attempt can save any more.
func (r *hedgedCall) lose() error {
	r.call.StopSchedule(r.schedule.Why())
	return r.last.err
}

// leave gives up the attempts that still run, and ends the race.
func (r *hedgedCall) leave() {
	c := r.call
	alone, late := true, 0
	for _, a := range r.attempts {
		if a.handled {
			continue
		}
		a.handled = true
		a.cancel()
		if a.state.CompareAndSwap(running, abandoned) {
			alone = false
		} else {
			late++
		}
		if errors.Is(r.abandonErr, errLost) && r.clock-a.Began >= r.delay {
			r.sample(r.clock - a.Began) // it took that long at least, which is as much as counts
		}
		c.Abandon(&a.Attempt, r.abandonErr)
		r.hedged(a, observe.HedgeLost)
	}
	for late > 0 { // too late to win, and too early to be given up
		a := <-r.results
		if a == nil {
			continue
		}
		if late--; a.panicked != nil {
			(*r.late)(a.panicked, a.stack)
		}
	}
	if alone {
		for _, a := range r.attempts {
			a.work.recycle()
		}
	}
	clear(r.attempts)
	*r = hedgedCall{attempts: r.attempts[:0]}
	hedgedCalls.Put(r)
}

// hedged reports what became of a hedge.
func (r *hedgedCall) hedged(a *hedgeAttempt, result observe.HedgeResult) {
	if a.Kind == observe.HedgeAttempt {
		r.call.Emit(observe.Event{Kind: observe.Hedged, Attempt: a.Number, Hedge: result})
	}
}

// sample counts how long an attempt took, for a delay of the method's own.
func (r *hedgedCall) sample(took time.Duration) {
	if r.call.Policy.HedgeDelay != 0 {
		return
	}
	if q := r.plan.latencies(); q != nil {
		q.Add(r.clock, took, r.call.Shard())
	}
}
