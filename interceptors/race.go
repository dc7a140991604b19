package interceptors

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/hedge"
	"github.com/astra-grpc/astra/internal/retry"
)

const (
	// minHedgeDelay is the least delay that is made of a method's own latency.
	minHedgeDelay = time.Millisecond
	// hintMost is how long a google.rpc.RetryInfo may put off the next attempt.
	hintMost = 5 * time.Second
)

// errLost is what observers are told of an attempt that was cancelled as
// another's end was the call's.
var errLost = status.Error(codes.Canceled, "astra: another attempt ended the call")

// work is what an attempt of a race does.
type work interface {
	limiter                // of the attempt's context; a timeout of 0 is none
	of() *side             // the same each time
	attempt(a *side) error // on its own goroutine
	trailers() metadata.MD // once it has ended
	recycle()              // nobody uses it any more
}

// source makes the work of attempts.
type source interface{ work() (work, error) }

// side is an attempt that runs beside others, on a goroutine of its own.
type side struct {
	attempt
	work   work
	cancel context.CancelFunc
	gone   bool // the race has done with it

	fate    atomic.Int32 // decided once
	reports chan<- *side
	done    chan struct{} // closed when it is over; nil: nobody asks
	failed  *logFailure
	// Valid once it has reported:
	err      error
	returned bool
	panicked any // what it panicked with, if it has not returned; nil: Goexit
	stack    []byte
}

// The fates of a side.
const (
	running   int32 = iota
	reported        // to the race, which will look at it
	abandoned       // nobody will
	adopted         // it is the call now: who waits for done will
)

// logFailure says that an attempt panicked that nobody waited for.
type logFailure func(what any, stack []byte)

func (a *side) run() {
	defer a.report()
	a.err = a.work.attempt(a)
	a.returned = true
}

// report tells the race that the attempt is over, unless it has been given up.
func (a *side) report() {
	if !a.returned {
		if a.panicked = recover(); a.panicked != nil {
			a.stack = debug.Stack()
		}
	}
	if a.done != nil {
		close(a.done)
	}
	if a.fate.CompareAndSwap(running, reported) {
		a.reports <- a // there is room; a is the race's from here on
	} else if a.panicked != nil && a.fate.Load() == abandoned {
		(*a.failed)(a.panicked, a.stack)
	}
}

// check panics, or ends the goroutine, as the attempt did.
func (a *side) check() {
	switch {
	case a.returned:
	case a.panicked == nil:
		runtime.Goexit()
	default:
		panic(a.panicked)
	}
}

// racing drives the engine through attempts side by side, from the goroutine of
// whoever waits for the call: only that one talks to the engine. An attempt is
// given up when the race is: cancelled, and not waited for.
type racing struct {
	call    *call
	race    hedge.Race
	delay   time.Duration
	source  source
	lives   bool       // an attempt that succeeds goes on: it is a stream
	reports chan *side // with room for all
	heads   chan *side // attempts whose header has come; nil: nobody asks
	sides   []*side
	refused retry.Reason // why a hedge was
	last    *side        // the last attempt that failed
	left    error        // what those given up are told to have ended with
}

// racings keeps the memory of races. Their channels and timers belong to the
// bubble of testing/synctest that they were made in, if any, and are not kept.
var racings = sync.Pool{New: func() any { return new(racing) }}

// newRacing returns a race of the call's attempts, which must be left.
func newRacing(c *call, from source) *racing {
	now := c.suite.now()
	delay := c.policy.hedgeDelay
	if delay == 0 {
		delay = hedge.Never
		if p95, ok := c.plan.latencies().Value(now); ok {
			delay = max(p95, minHedgeDelay)
		}
	}
	r := racings.Get().(*racing)
	r.call, r.source, r.delay = c, from, delay
	r.race = hedge.NewRace(&c.policy.hedge, now, delay)
	r.reports = make(chan *side, c.policy.hedge.MaxAttempts)
	r.left = errLost
	return r
}

// run goes on until an attempt has succeeded or the call has failed. It returns
// the attempt that says so; nil if the call's context does.
func (r *racing) run() (*side, error) {
	for {
		r.startDue()
		if r.race.Over() {
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
func (r *racing) adopt(a *side) bool {
	if a.gone || !a.fate.CompareAndSwap(running, adopted) {
		return false
	}
	a.gone = true
	r.call.running, r.call.kind = a.attempt, a.kind
	r.hedged(a, HedgeWon)
	return true
}

// oldest returns the attempt that has run longest; nil: none runs.
func (r *racing) oldest() *side {
	for _, a := range r.sides {
		if !a.gone {
			return a
		}
	}
	return nil
}

// start starts the race's next attempt.
func (r *racing) start(w work) {
	c := r.call
	a := w.of()
	a.work, a.reports, a.failed = w, r.reports, &c.suite.lateFailure
	a.attempt, a.cancel = c.launch(w)
	r.sides = append(r.sides, a)
	r.race.Start(c.suite.now())
	go a.run()
}

// cancellable bounds an attempt that is to be cancelled when it has lost.
func cancellable(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d > 0 {
		return context.WithTimeout(ctx, d)
	}
	return context.WithCancel(ctx)
}

// startDue starts a hedge if it is time for one, and if it can be afforded.
func (r *racing) startDue() {
	c := r.call
	for due := r.race.Due(); due != hedge.Never && due <= c.suite.now(); due = r.race.Due() {
		why := c.afford()
		var w work
		if why == retry.Again {
			var err error
			if w, err = r.source.work(); err != nil { // a codec that fails now and then
				c.refund()
				why = retry.NotRetryable
			}
		}
		if why != retry.Again {
			r.refused = why
			r.race.Refuse()
			r.suppressed(why)
			return
		}
		c.funded = false // spent
		c.kind = HedgeAttempt
		r.start(w)
	}
}

func (r *racing) suppressed(why retry.Reason) {
	r.call.tellAll(Event{Kind: Hedged, Attempt: r.call.loop.Attempts + 1, Hedge: HedgeSuppressed, Reason: why.String()})
}

// await waits until an attempt has ended or, if that is asked for, has a header;
// until another is due, or the call's context ends: then it returns nil.
func (r *racing) await() (a *side, headed bool) {
	var fire <-chan time.Time
	if due := r.race.Due(); due != hedge.Never {
		t := time.NewTimer(due - r.call.suite.now())
		defer t.Stop()
		fire = t.C
	}
	select {
	case a = <-r.reports:
		return a, false
	case a = <-r.heads:
		return a, true
	case <-fire:
		return nil, false
	case <-r.call.ctx.Done():
	}
	select { // an answer that came at the same time is one
	case a = <-r.reports:
	default:
	}
	return a, false
}

// expired returns the error of a call whose context has ended, with
// attempts running that are not waited for; nil if it has not.
func (r *racing) expired() error {
	c := r.call
	if c.ctx.Err() == nil {
		return nil
	}
	err := ended(c.ctx)
	c.code, r.left = codeOf(err), err
	c.stop(stopped(callerOf(c.ctx)))
	if r.last != nil && r.oldest() == nil {
		return interrupted(c.ctx, c.loop.Attempts, r.last.err)
	}
	return err
}

// ended books the end of an attempt, and reports whether it has won.
func (r *racing) ended(a *side) bool {
	c, now := r.call, r.call.suite.now()
	a.gone = true
	if !a.returned {
		a.cancel()
		r.left = errPanicked
		c.tellEnd(c.plan.tells.all, a.attempt, codes.Unknown, errPanicked)
		a.check()
	}
	if a.err == nil {
		r.sample(now, a)
		if r.lives {
			c.running = a.attempt
		} else {
			a.cancel()
			c.ended(a.attempt, codes.OK, nil)
		}
		c.kind = a.kind
		r.hedged(a, HedgeWon)
		return true
	}
	a.cancel()
	c.ended(a.attempt, codeOf(a.err), a.err)
	r.hedged(a, HedgeLost)
	r.last = a
	f := failureOf(c.ctx, a.err, c.code, a.work.trailers())
	before := r.race.Why()
	r.race.Fail(now, hedge.Failure{
		Code: f.Code,
		Stop: f.Pushback.Stop,
		Told: f.Pushback.Given || f.RetryInfo > 0,
		Wait: max(f.Pushback.Delay, min(f.RetryInfo, hintMost)),
		Left: f.Remaining,
	})
	if before == hedge.Open && r.race.Why() == hedge.PushedBack {
		r.suppressed(retry.PushedBack)
	}
	return false
}

// lose returns the error of a call that no attempt can save any more.
func (r *racing) lose() error {
	why := retry.NotRetryable
	switch r.race.Why() {
	case hedge.UsedUp:
		why = retry.Exhausted
	case hedge.PushedBack:
		why = retry.PushedBack
	case hedge.TooLate:
		why = retry.Deadline
	case hedge.Refused:
		why = r.refused
	}
	if gone := callerOf(r.call.ctx); gone != retry.Waiting {
		why = stopped(gone)
	}
	r.call.stop(why)
	return r.last.err
}

// stopped is the reason that a caller's going is.
func stopped(gone retry.Caller) retry.Reason {
	if gone == retry.Expired {
		return retry.Deadline
	}
	return retry.CallerGone
}

// leave gives up the attempts that still run, and ends the race.
func (r *racing) leave() {
	c, now := r.call, r.call.suite.now()
	alone, late := true, 0
	for _, a := range r.sides {
		if a.gone {
			continue
		}
		a.gone = true
		a.cancel()
		if a.fate.CompareAndSwap(running, abandoned) {
			alone = false
		} else {
			late++
		}
		if r.left == errLost && now-a.began >= r.delay {
			r.sample(now, a) // it took that long at least, which is as much as counts
		}
		c.tellEnd(c.plan.tells.all, a.attempt, codeOf(r.left), r.left)
		r.hedged(a, HedgeLost)
	}
	for range late { // too late to win, and too early to be given up
		if a := <-r.reports; a.panicked != nil {
			c.suite.lateFailure(a.panicked, a.stack)
		}
	}
	if alone {
		for _, a := range r.sides {
			a.work.recycle()
		}
	}
	clear(r.sides)
	*r = racing{sides: r.sides[:0]}
	racings.Put(r)
}

// hedged tells what became of a hedge.
func (r *racing) hedged(a *side, result HedgeResult) {
	if a.kind == HedgeAttempt {
		r.call.tellAll(Event{Kind: Hedged, Attempt: a.number, Hedge: result})
	}
}

// sample counts how long an attempt took, for a delay of the method's own.
func (r *racing) sample(now time.Duration, a *side) {
	if r.call.policy.hedgeDelay == 0 {
		r.call.plan.latencies().Add(now, now-a.began, r.call.lane)
	}
}
