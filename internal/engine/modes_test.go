package engine

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
)

// Attempts side by side are one call: each is numbered and emitted, the hedge that wins
// is the outcome, and what is given up says nothing.
func TestBooksOfAHedgedCall(t *testing.T) {
	k := newClocked(t)
	k.Policy.Hedge.MaxAttempts = 2
	c := k.again(t, 0)
	k.events = nil
	if err := admit(c); err != nil {
		t.Fatal(err)
	}
	var first, second Attempt
	c.Launch(&first, nil)
	k.now += time.Second
	if why := c.Afford(); why != failure.Again {
		t.Fatal(why)
	}
	if got := level(c); got > 1.01 {
		t.Errorf("%v tokens, want one taken for the hedge", got)
	}
	c.Launch(&second, nil)
	if first.Number != 1 || second.Number != 2 || first.Kind != observe.FirstAttempt || second.Kind != observe.HedgeAttempt || second.Began != time.Second {
		t.Errorf("%+v, %+v", first, second)
	}
	k.now += time.Second
	if !c.EndOf(&second, nil, Evidence{}) {
		t.Error("a success is not an answer")
	}
	c.Abandon(&first, status.Error(codes.Canceled, "lost"))
	c.Settle(nil)
	c.Finish(nil, false)
	if got, want := k.events[len(k.events)-1], (observe.Event{Kind: observe.CallEnd, Attempt: 2, Hedges: 1, Outcome: observe.SuccessHedge, Elapsed: 2 * time.Second, Shard: c.Shard()}); !sameEvent(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	lost := k.events[len(k.events)-2]
	if lost.Kind != observe.AttemptEnd || lost.Attempt != 1 || lost.Code != codes.Canceled || lost.Elapsed != 2*time.Second {
		t.Errorf("given up: %+v", lost)
	}
	if got := level(c); got < 1.49 || got > 1.51 {
		t.Errorf("%v tokens, want one spent on the hedge and half a token earned", got)
	}
	if got := k.Plan.Record.Notes(); len(got) > 0 { // nothing failed
		t.Errorf("the note %+v", got[0])
	}
}

func sameEvent(a, b observe.Event) bool {
	return a.Kind == b.Kind && a.Attempt == b.Attempt && a.Hedges == b.Hedges && a.Outcome == b.Outcome && a.Elapsed == b.Elapsed && a.Shard == b.Shard && a.Err == b.Err && a.Code == b.Code
}

// The first attempt may win though a hedge has failed, and is the outcome then; an
// answer of a server that is well is one, whatever its code.
func TestFirstOfTwoWins(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	_ = admit(c)
	var first, second Attempt
	c.Launch(&first, nil)
	_ = c.Afford()
	c.Launch(&second, nil)
	if c.EndOf(&second, unavailable, Evidence{Known: true, Sent: true, Trailer: metadata.Pairs("a", "b")}) {
		t.Error("UNAVAILABLE is an answer")
	}
	if !c.EndOf(&first, nil, Evidence{}) {
		t.Error("a success is none")
	}
	if r := c.Report(nil, false); r.Outcome != observe.SuccessFirst || r.Attempts != 2 || r.Hedges != 1 {
		t.Errorf("%+v, want the first's success", r)
	}
	c = k.again(t, 0)
	c.Launch(&first, nil)
	if !c.EndOf(&first, status.Error(codes.NotFound, ""), Evidence{Known: true, Sent: true, Trailer: metadata.Pairs("a", "b")}) {
		t.Error("a server's NOT_FOUND is no answer")
	}
}

// What a hedged call whose context ends gives its caller: the context's error, with the
// last failure, if no attempt runs; the verdict is on the oldest that does.
func TestExpire(t *testing.T) {
	for name, cause := range map[string]error{"deadline": context.DeadlineExceeded, "cancelled": context.Canceled} {
		k := newClocked(t)
		k.Policy.SlowCall = time.Second
		c := k.again(t, 0)
		_ = admit(c)
		var a Attempt
		c.Launch(&a, nil)
		k.now += time.Second
		c.Ctx = over{c.Ctx, cause}
		err := c.Expire(&a, unavailable)
		if !errors.Is(err, cause) || errors.Is(err, unavailable) || !c.slow {
			t.Errorf("%s: %v, slow %v", name, err, c.slow)
		}
		if c.why == failure.Again {
			t.Errorf("%s: nothing says why there is no other attempt", name)
		}
		if bad := c.last.Breaker == verdict.Bad; bad != (cause == context.DeadlineExceeded) {
			t.Errorf("%s: counts against the server: %v", name, bad)
		}
		if err := c.Expire(nil, unavailable); !errors.Is(err, cause) || !errors.Is(err, unavailable) {
			t.Errorf("%s with nothing running: %v", name, err)
		}
		if err := c.Expire(nil, nil); !errors.Is(err, cause) || status.Code(err) != status.FromContextError(cause).Code() {
			t.Errorf("%s before any attempt: %v", name, err)
		}
		want := map[error]failure.Reason{context.DeadlineExceeded: failure.Deadline, context.Canceled: failure.CallerGone}[cause]
		c.StopSchedule(failure.Budget)
		if c.why != want {
			t.Errorf("%s: no other attempt because of %v, want %v", name, c.why, want)
		}
	}
	k := newClocked(t)
	c := k.again(t, 0)
	k.events = nil
	c.StopSchedule(failure.Budget)
	if c.why != failure.Budget || !slices.Equal(k.kinds(), []string{"suppressed"}) {
		t.Errorf("%v, want the budget, and an event of it", c.why)
	}
	c.Stop(failure.Buffer) // which only ends what is kept
	if c.why != failure.Budget || !slices.Equal(k.kinds(), []string{"suppressed"}) {
		t.Errorf("%v, want that the buffer's end is emitted, and not why the call ended", c.why)
	}
}

// In observe mode breaker and limit refuse nobody and hold nobody up; what they would
// have done is counted and emitted.
func TestObserveMode(t *testing.T) {
	k := newClocked(t)
	k.Policy.BreakerObserve, k.Policy.LimitObserve = true, true
	k.Plan.Limit = limit.NewGuard(0, limit.Config{MaxConcurrent: 1, MaxQueue: 1, MaxWait: time.Hour})
	holder := k.again(t, 0)
	if err := admit(holder); err != nil || !holder.slot.held {
		t.Fatal(err, holder.slot.held)
	}
	for range 2 {
		k.Plan.Breaker.Settle(0, holder.token, breaker.Failure, 0)
	}
	for name, c := range map[string]struct {
		config limit.Config
		why    observe.Reason
	}{
		"must wait": {limit.Config{MaxConcurrent: 1, MaxQueue: 1, MaxWait: time.Hour}, observe.ReasonMustWait},
		"no queue":  {limit.Config{MaxConcurrent: 1}, observe.ReasonQueueFull},
		"no tokens": {limit.Config{Rate: 1e-9, Burst: 1}, observe.ReasonRateLimited},
	} {
		k.Plan.Limit.Reconfigure(0, c.config)
		if c.config.Rate > 0 {
			k.Plan.Limit.Enter(0, 0)
		}
		before := k.Plan.Record.LimitWouldRefuse.Load()
		call := k.again(t, 0)
		k.events = nil
		if err := admit(call); err != nil {
			t.Fatalf("%s: %v in observe mode", name, err)
		}
		if call.slot.held || call.admitted {
			t.Errorf("%s: the call has a slot: %v, a token: %v; want neither", name, call.slot.held, call.admitted)
		}
		if _, waiting, _, _ := k.Plan.Limit.Level(); waiting != 0 {
			t.Errorf("%s: %d wait in observe mode", name, waiting)
		}
		var why []observe.Reason
		for _, e := range k.events {
			if e.Kind == observe.WouldRefuse {
				why = append(why, e.Reason)
			}
		}
		if !slices.Equal(why, []observe.Reason{c.why, observe.ReasonBreakerOpen}) || k.Plan.Record.LimitWouldRefuse.Load() != before+1 {
			t.Errorf("%s: %v would have refused, want the limit by %v and the breaker", name, why, c.why)
		}
		try(call, nil)
		call.Settle(nil)
	}
	if n := k.Plan.Record.BreakerWouldRefuse.Load(); n != 3 || k.Plan.Record.BreakerRefused.Load()+k.Plan.Record.LimitRefused.Load() != 0 {
		t.Errorf("%d would have been refused, want 3, and nobody was", n)
	}
	k.Plan.Limit.Reconfigure(0, limit.Config{MaxConcurrent: 3}) // the holder's, the token's, and a free one
	free := k.again(t, 0)
	if err := admit(free); err != nil || !free.slot.held {
		t.Errorf("%v, slot %v: want the slot that is free", err, free.slot.held)
	}
	if b, l := k.Plan.Record.BreakerWouldRefuse.Load(), k.Plan.Record.LimitWouldRefuse.Load(); b != 4 || l != 3 {
		t.Errorf("the breaker would have refused %d, the limit %d; want 4 and 3", b, l)
	}
	if _, waiting, _, _ := k.Plan.Limit.Level(); waiting != 0 {
		t.Errorf("%d wait in observe mode", waiting)
	}
	k.Plan.Limit.Reconfigure(0, limit.Config{MaxConcurrent: 10, Rate: 1000, Burst: 10})
	k.now += time.Second // tokens have come
	if rated := k.again(t, 0); admit(rated) != nil || !rated.slot.held {
		t.Errorf("slot %v, want one, since there are tokens", rated.slot.held)
	}
	k.Plan.Breaker.Force(0, time.Hour, breaker.ForcedOpen)
	if err := admit(k.again(t, 0)); !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("%v; a breaker that is forced open refuses all", err)
	}
}

// A stream's success is that it was answered, once; how it ends after that is no
// failure of its server.
func TestStreamIsASuccessOnceAnswered(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	c.stream = true
	_ = admit(c)
	for k.Plan.Budget.Take(0) {
	}
	c.Begin(nil)
	c.Answered(nil)
	c.Answered(nil)
	if got := level(c); got < 0.49 || got > 0.51 {
		t.Errorf("%v tokens, want half a token earned once", got)
	}
	c.EndStream(unavailable, true, func() Evidence { return Evidence{Known: true, Sent: true} })
	if c.why != failure.Committed {
		t.Errorf("%v, want that it was committed", c.why)
	}
	c.EndStream(unavailable, true, func() Evidence { t.Error("evidence of no attempt"); return Evidence{} })
	c.Settle(unavailable)
	o := k.again(t, 0)
	_ = admit(o)
	try(o, unavailable)
	o.Settle(unavailable)
	if got := k.Plan.Breaker.At(0); got != breaker.Closed {
		t.Errorf("%v: the end of the answered stream was a failure", got)
	}
	for name, end := range map[string]struct {
		err       error
		committed bool
		gone      error
	}{
		"success": {nil, true, nil}, "not committed": {unavailable, false, nil}, "no retryable code": {status.Error(codes.NotFound, ""), true, nil},
		"caller has gone": {unavailable, true, context.Canceled},
	} {
		s := k.again(t, 0)
		s.stream = true
		s.Begin(nil)
		if end.gone != nil {
			s.Ctx = over{s.Ctx, end.gone}
		}
		s.EndStream(end.err, end.committed, func() Evidence { return Evidence{} })
		if s.why == failure.Committed {
			t.Errorf("%s: might have been retried", name)
		}
	}
}

// A stream that is a probe closes the breaker once it is answered, or has lived for as
// long as a probe may take.
func TestStreamsProbe(t *testing.T) {
	for name, well := range map[string]func(*Call){"answered": func(c *Call) { c.Answered(nil) }, "lived": (*Call).Lived} {
		k := newClocked(t)
		for range 2 {
			c := k.again(t, 0)
			_ = admit(c)
			if c.Probing() {
				t.Errorf("%s: a call of a closed breaker is a probe", name)
			}
			try(c, unavailable)
			c.Settle(unavailable)
		}
		k.now = 2 * time.Hour
		c := k.again(t, 0)
		c.stream = true
		if err := admit(c); err != nil || !c.Probing() {
			t.Fatalf("%s: %v, probe %v", name, err, c.Probing())
		}
		c.Begin(nil)
		well(c)
		if got := k.Plan.Breaker.At(k.now); got != breaker.Closed || name == "answered" && c.Probing() {
			t.Errorf("%s: %v, still a probe: %v", name, got, c.Probing())
		}
	}
}

// A silent stream that is older than the breaker's window uses up no attempt and no
// token: it did not fail, it ended.
func TestOldStream(t *testing.T) {
	for lived, old := range map[time.Duration]bool{time.Second - 1: false, time.Second: true} {
		k := newClocked(t)
		k.now = time.Minute
		k.Policy.Breaker.Window = time.Second
		c := k.again(t, 0)
		c.stream = true
		_ = admit(c)
		for k.Plan.Budget.Take(0) {
		}
		for i := range 5 { // of three attempts
			c.Begin(nil)
			k.now += lived
			c.End(unavailable, Evidence{Known: true, Sent: true})
			if _, again := c.Next(c.FailureOf(unavailable, nil, nil)); again != old {
				t.Fatalf("attempt %d of a stream of %v is followed by another: %v", i+1, lived, again)
			} else if !again {
				break
			}
		}
	}
}

// A call that had less time for its attempt than it had waited for its slot says
// nothing of the server.
func TestHurried(t *testing.T) {
	for took, bad := range map[time.Duration]bool{time.Second - 1: false, time.Second: true} {
		k := newClocked(t)
		k.Plan.Limit = limit.NewGuard(0, limit.Config{MaxConcurrent: 1, MaxQueue: 1})
		first := k.again(t, 0)
		_ = admit(first)
		second := k.again(t, 2*time.Second)
		if w, err := second.Admit(nil); err != nil || !w.Needed() {
			t.Fatal(err)
		}
		k.now += time.Second
		try(first, nil)
		first.Settle(nil)
		if err := admit(second); err != nil || second.slot.waited != time.Second {
			t.Fatal(err, second.slot.waited)
		}
		second.Ctx = over{second.Ctx, context.DeadlineExceeded}
		second.Begin(nil)
		k.now += took
		second.End(status.Error(codes.DeadlineExceeded, ""), Evidence{Known: true, Sent: true})
		if got := second.last.Breaker == verdict.Bad; got != bad {
			t.Errorf("1 s in the queue and %v for the attempt: counts against the server: %v", took, got)
		}
	}
}
