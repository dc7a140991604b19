package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
)

// limiter notes the times that it is asked to bound attempts by.
type limiter struct{ asked []time.Duration }

func (l *limiter) Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	l.asked = append(l.asked, timeout)
	return context.WithCancel(ctx)
}

// An attempt's context is the call's, bounded if the policy says so, and says how many
// attempts came before, if any did.
func TestAttemptContexts(t *testing.T) {
	k := newClocked(t)
	k.Policy.BreakerOff = true
	for _, timeout := range []time.Duration{0, time.Second} {
		k.Policy.AttemptTimeout = timeout
		c := k.again(t, 0)
		var l limiter
		for i := range 3 {
			ctx, cancel := c.Begin(&l)
			if (cancel != nil) != (timeout > 0) {
				t.Errorf("AttemptTimeout %v: bounded %v", timeout, cancel != nil)
			}
			md, _ := metadata.FromOutgoingContext(ctx)
			want := "[]"
			if i > 0 {
				want = fmt.Sprintf("[%d]", i)
			}
			if got := fmt.Sprint(md.Get("grpc-previous-rpc-attempts")); got != want {
				t.Errorf("attempt %d says that %s came before, want %s", i+1, got, want)
			}
			if cancel != nil {
				cancel()
			}
			c.End(unavailable, Evidence{})
		}
		want := []time.Duration(nil)
		if timeout > 0 {
			want = []time.Duration{timeout, timeout, timeout}
		}
		if !slices.Equal(l.asked, want) {
			t.Errorf("bounded by %v, want %v", l.asked, want)
		}
	}
}

// A panic beneath ends the attempt, the backoff and the call for observers, gives the
// slot back, and is nobody's failure.
func TestUnwoundForObservers(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(*Call)
		want  []string
	}{
		"in an attempt": {func(c *Call) { c.Begin(nil) }, []string{"attempt_end", "call_end"}},
		"in a backoff": {func(c *Call) {
			try(c, unavailable)
			c.Pause(time.Second, unavailable)
		}, []string{"attempt_end", "backoff_start", "backoff_end", "call_end"}},
		"before any": {func(*Call) {}, []string{"call_end"}},
	} {
		k := newClocked(t)
		k.Plan.Limit = limit.NewGuard(0, limit.Config{MaxConcurrent: 1})
		call := k.again(t, 0)
		if err := admit(call); err != nil {
			t.Fatal(err)
		}
		k.events = nil
		c.begin(call)
		if !call.Unwind() || call.Unwind() {
			t.Errorf("%s: want something to do, once", name)
		}
		last := k.events[len(k.events)-1]
		if last.Outcome != observe.Failed || !errors.Is(last.Err, ErrPanicked) {
			t.Errorf("%s: %+v", name, last)
		}
		if got := k.kinds(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		after := k.again(t, 0)
		if err := admit(after); err != nil {
			t.Errorf("%s: %v: the slot was not given back", name, err)
		}
		try(after, unavailable)
		after.Settle(unavailable)
		if got := k.Plan.Breaker.At(0); got != breaker.Closed {
			t.Errorf("%s: %v after one failure more", name, got)
		}
	}
}

// Each transition of the breaker is emitted and reported to the plan, with its reason
// and how long it lasts.
func TestBreakerChangesAreEmitted(t *testing.T) {
	k := newClocked(t)
	var changed []breaker.Transition
	k.Plan.Changed = func(_ *breaker.Guard, tr breaker.Transition) { changed = append(changed, tr) }
	for range 2 {
		c := k.again(t, 0)
		_ = admit(c)
		k.events = nil
		try(c, unavailable)
		c.Settle(unavailable)
	}
	e := k.events[len(k.events)-1]
	if e.Kind != observe.BreakerChange || e.From != observe.BreakerClosed || e.To != observe.BreakerOpen || e.Reason != observe.ReasonConsecutive || e.Delay != 54*time.Minute {
		t.Errorf("%+v", e)
	}
	k.now = time.Hour
	c := k.again(t, 0)
	k.events = nil
	if err := admit(c); err != nil || len(k.events) != 1 || k.events[0].To != observe.BreakerHalfOpen {
		t.Errorf("%v, %+v: want the probe's admission emitted", err, k.events)
	}
	try(c, nil)
	c.Settle(nil)
	if e := k.events[len(k.events)-1]; e.Kind != observe.BreakerChange || e.To != observe.BreakerClosed || len(changed) != 3 {
		t.Errorf("%+v; %d transitions, want three", e, len(changed))
	}
}

// starter has every hook, and wants no more of calls whose number it is given.
type starter struct {
	enough bool
	got    []string
	events []observe.Event
}

func (s *starter) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{
		Inline: true,
		Start: func(ctx context.Context, e observe.Event) (context.Context, bool) {
			s.got = append(s.got, e.Kind.String())
			return context.WithValue(ctx, s, e.Attempt), !s.enough
		},
		FirstSuccess: func(uint32) { s.got = append(s.got, "first_success") },
		Event: func(_ context.Context, e observe.Event) {
			s.got, s.events = append(s.got, e.Kind.String()), append(s.events, e)
		},
	}
}

// Of a first success an observer with that hook is given one call in place of two events;
// of a call that it wants no more of, nothing; and of one that panics late, both.
func TestFirstSuccessHook(t *testing.T) {
	for name, c := range map[string]struct {
		enough bool
		end    func(*Call)
		want   []string
	}{
		"success":         {false, func(c *Call) { c.Finish(nil, false) }, []string{"call_start", "attempt_start", "first_success"}},
		"enough":          {true, func(c *Call) { c.Finish(nil, false) }, []string{"call_start"}},
		"enough, failed":  {true, func(c *Call) { c.Finish(unavailable, false) }, []string{"call_start"}},
		"a panic since":   {false, func(c *Call) { c.Unwind() }, []string{"call_start", "attempt_start", "attempt_end", "call_end"}},
		"enough, a panic": {true, func(c *Call) { c.Unwind() }, []string{"call_start"}},
	} {
		k := newClocked(t)
		k.Plan.Recorders = &hooks.Recorders{}
		s, other := &starter{enough: c.enough}, &starter{}
		for _, of := range []*starter{s, other} {
			k.Plan.Recorders.Add(hooks.NewObserver(of, k.Host.Log, Bounded), observe.Endpoint{})
		}
		call := k.again(t, 0)
		ctx, _ := call.Begin(nil)
		if _, told := ctx.Value(s).(int); !told || ctx.Value(other) != 1 {
			t.Errorf("%s: the attempt's context has not what the hooks put there", name)
		}
		call.End(nil, Evidence{})
		c.end(call)
		if !slices.Equal(s.got, c.want) {
			t.Errorf("%s: %v, want %v", name, s.got, c.want)
		}
		for _, e := range s.events {
			if e.Kind == observe.AttemptEnd && (e.Attempt != 1 || e.Code != codes.OK || e.Shard != call.Shard()) {
				t.Errorf("%s: %+v, want the end of the first attempt", name, e)
			}
		}
		if len(other.got) < 3 {
			t.Errorf("%s: another observer was given %v only", name, other.got)
		}
	}
}

// Of a call that is saved by a retry, an observer with that hook is given every event, as
// others are, when it happens.
func TestFirstSuccessIsNoOther(t *testing.T) {
	k := newClocked(t)
	k.Plan.Recorders = &hooks.Recorders{}
	s := &starter{}
	k.Plan.Recorders.Add(hooks.NewObserver(s, k.Host.Log, Bounded), observe.Endpoint{})
	c := k.again(t, 0)
	try(c, unavailable)
	if len(s.events) != 1 || s.events[0].Kind != observe.AttemptEnd || s.events[0].Code != codes.Unavailable {
		t.Errorf("%+v after the first attempt, want its end", s.events)
	}
	try(c, nil)
	c.Finish(nil, false)
	if want := []string{"call_start", "attempt_start", "attempt_end", "attempt_start", "attempt_end", "call_end"}; !slices.Equal(s.got, want) {
		t.Errorf("%v, want %v", s.got, want)
	}
}

// A call leaves the queue once, be it with its slot or because its context ended: one that
// was served takes no other slot that is free, and what unwinds it then gives nothing back
// that it has not.
func TestLeavesTheQueueOnce(t *testing.T) {
	for name, served := range map[string]bool{"served": true, "over": false} {
		k := newClocked(t)
		k.Plan.Limit = limit.NewGuard(0, limit.Config{MaxConcurrent: 2, MaxQueue: 1})
		holders := []*Call{k.again(t, 0), k.again(t, 0)}
		for _, h := range holders {
			_ = admit(h)
		}
		c := k.again(t, 0)
		k.events = nil
		if w, err := c.Admit(nil); err != nil || !w.Needed() {
			t.Fatal(w, err)
		}
		if served {
			for _, h := range holders {
				h.Settle(nil)
			}
		} else {
			c.Ctx = over{c.Ctx, context.Canceled}
		}
		if err := admit(c); (err == nil) != served {
			t.Errorf("%s: %v", name, err)
		}
		if inFlight, _, _, _ := k.Plan.Limit.Level(); served && inFlight != 1 {
			t.Errorf("%s: %d slots are taken, want the one that it was given", name, inFlight)
		}
		c.Unwind()
		for _, h := range holders {
			h.Settle(nil)
		}
		if got := k.kinds(); !slices.Equal(got, []string{"queued", "dequeued", "call_end"}) {
			t.Errorf("%s: %v", name, got)
		}
		if inFlight, waiting, _, _ := k.Plan.Limit.Level(); inFlight != 0 || waiting != 0 {
			t.Errorf("%s: %d in flight, %d wait, want none", name, inFlight, waiting)
		}
	}
}

// An adaptive limit learns of overload from calls that have come to their end, and not
// from those that panic.
func TestLimitLearnsFromEnds(t *testing.T) {
	for name, end := range map[string]func(*Call){"settled": func(c *Call) { c.Settle(unavailable) }, "unwound": func(c *Call) { c.Unwind() }} {
		k := newClocked(t)
		k.Policy.BreakerOff = true
		k.Plan.Limit, k.Plan.Adaptive = limit.NewGuard(0, limit.Config{MaxConcurrent: 100, Adaptive: true}), true
		_, _, before, _ := k.Plan.Limit.Level()
		for range 5 {
			var all []*Call
			for range before {
				c := k.again(t, 0)
				if err := admit(c); err != nil {
					break
				}
				try(c, unavailable)
				all = append(all, c)
			}
			for _, c := range all {
				end(c)
			}
		}
		if _, _, after, _ := k.Plan.Limit.Level(); (after < before) != (name == "settled") {
			t.Errorf("%s: the limit was %d and is %d", name, before, after)
		}
	}
}

// The wait for a slot is emitted with its length, a refusal with what lacked; both are
// counted.
func TestBooksOfTheQueue(t *testing.T) {
	k := newClocked(t)
	k.now = time.Minute
	k.Plan.Limit = limit.NewGuard(k.now, limit.Config{MaxConcurrent: 1, MaxQueue: 1})
	first := k.again(t, 0)
	_ = admit(first)
	second := k.again(t, 0)
	k.events = nil
	if w, err := second.Admit(nil); err != nil || !w.Needed() || w.Until != limit.Forever {
		t.Fatal(w, err)
	}
	k.now += 2 * time.Second
	refused := k.again(t, 0)
	err := admit(refused)
	refused.Settle(err)
	refused.Finish(err, false)
	if n := k.Plan.Record.LimitRefused.Load(); n != 1 || !errors.Is(err, ErrLimited) {
		t.Errorf("%v, %d are counted", err, n)
	}
	k.now += time.Second
	try(first, nil)
	first.Settle(nil)
	if err := admit(second); err != nil || second.slot.waited != 3*time.Second || second.slot.served != k.now {
		t.Fatal(err, second.slot)
	}
	var got []string
	for _, e := range k.events {
		if e.Kind == observe.Queued || e.Kind == observe.Dequeued || e.Kind == observe.Limited || e.Kind == observe.CallEnd {
			got = append(got, fmt.Sprint(e.Kind, e.Delay, e.Reason))
		}
	}
	if want := []string{"queued 0s none", "limited 4s queue_full", "call_end 0s queue_full", "dequeued 3s none"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	gone := k.again(t, 0)
	_, _ = gone.Admit(nil)
	k.now += time.Second
	k.events = nil
	gone.Unwind()
	gone.Unwind()
	if e := k.events[0]; e.Kind != observe.Dequeued || e.Delay != time.Second || len(k.events) != 2 {
		t.Errorf("%+v, want it dequeued after 1 s, and ended", k.events)
	}
	if _, waiting, _, _ := k.Plan.Limit.Level(); waiting != 0 {
		t.Errorf("%d wait", waiting)
	}
	soon := k.again(t, 2*time.Second) // it can wait no longer
	if got := soon.patience(); got != 2*time.Second {
		t.Errorf("a call with 2 s has patience for %v", got)
	}
}

// channel is connections that are down or not.
type channel bool

func (c channel) Down() bool { return bool(c) }

// A breaker that opened for want of a connection lets a call probe as soon as there is
// one, and not before; one that opened for another reason does not ask.
func TestReconnect(t *testing.T) {
	for name, c := range map[string]struct {
		ev      Evidence
		channel Channel
		want    bool
	}{
		"connected":       {Evidence{Known: true, Down: true}, channel(false), true},
		"still down":      {Evidence{Known: true, Down: true}, channel(true), false},
		"nobody knows":    {Evidence{Known: true, Down: true}, nil, false},
		"another failure": {Evidence{Known: true, Sent: true, Trailer: metadata.Pairs("a", "b")}, channel(false), false},
	} {
		k := newClocked(t)
		k.Plan.Limit = limit.NewGuard(0, limit.Config{MaxConcurrent: 1})
		for range 2 {
			call := k.again(t, 0)
			_ = admit(call)
			call.Begin(nil)
			call.End(unavailable, c.ev)
			call.Settle(unavailable)
		}
		k.now = time.Minute
		call := k.again(t, 0)
		if _, err := call.Admit(c.channel); (err == nil) != c.want || c.want && !call.Probing() {
			t.Errorf("%s: %v, probe %v", name, err, call.Probing())
		}
		call.Unwind()
		if _, err := k.again(t, 0).Admit(nil); c.want && err != nil {
			t.Errorf("%s: %v, though its probe was never made", name, err)
		}
	}
}

// What the end of an attempt says of the backend that it was on.
func TestBackendEnd(t *testing.T) {
	trailer := metadata.Pairs("a", "b")
	for name, c := range map[string]struct {
		err    error
		ev     Evidence
		last   verdict.Verdict
		stream bool
		want   fleet.End
	}{
		"success":              {nil, Evidence{}, verdict.Verdict{Breaker: verdict.Good}, false, fleet.End{Good: true, Done: true, Alive: true}},
		"a success that fails": {nil, Evidence{}, verdict.Verdict{Breaker: verdict.Bad}, false, fleet.End{Bad: true, Alive: true}},
		"refused":              {unavailable, Evidence{Known: true}, verdict.Verdict{Breaker: verdict.Bad, Limit: verdict.Bad}, false, fleet.End{Bad: true, Strained: true}},
		"says UNAVAILABLE":     {unavailable, Evidence{Trailer: trailer}, verdict.Verdict{Breaker: verdict.Bad}, false, fleet.End{Bad: true, Alive: true}},
		"header, then lost":    {unavailable, Evidence{Header: true}, verdict.Verdict{Breaker: verdict.Bad, Lost: true}, false, fleet.End{Bad: true, Alive: true, Lost: true}},
		"message, then error":  {unavailable, Evidence{Message: true}, verdict.Verdict{}, false, fleet.End{Alive: true}},
		"its own words":        {status.Error(codes.NotFound, ""), Evidence{Trailer: trailer}, verdict.Verdict{Breaker: verdict.Good}, false, fleet.End{Good: true, Alive: true}},
		"a panic":              {ErrPanicked, Evidence{Header: true}, verdict.Verdict{Breaker: verdict.Bad}, false, fleet.End{}},
		"stream with header":   {unavailable, Evidence{Header: true}, verdict.Verdict{}, true, fleet.End{Good: true, Alive: true}},
		"stream with message":  {unavailable, Evidence{Message: true}, verdict.Verdict{}, true, fleet.End{Good: true, Alive: true}},
		"stream, nothing":      {unavailable, Evidence{}, verdict.Verdict{}, true, fleet.End{}},
		"stream, ill":          {unavailable, Evidence{Header: true}, verdict.Verdict{Breaker: verdict.Bad}, true, fleet.End{Bad: true, Alive: true}},
	} {
		call := newClocked(t).again(t, 0)
		call.last, call.stream = c.last, c.stream
		if got := call.backendEnd(c.err, c.ev); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	call := newClocked(t).again(t, 0)
	call.stream, call.answered = true, true
	if got := call.backendEnd(unavailable, Evidence{}); !got.Good {
		t.Errorf("a stream that was answered before: %+v", got)
	}
}

// A backend that is ejected is emitted, and logged if the host logs.
func TestBackendChangesAreEmitted(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	k.events = nil
	r := fleet.NewRegistry(time.Now(), slog.Default, fleet.Config{Breaker: breaker.Config{Window: time.Second}})
	t.Cleanup(r.Close)
	m := r.Fleet("dns:///ledger").Join()
	m.Resolved([]fleet.Endpoint{{Key: "a", Name: "10.0.0.1:1"}, {Key: "b", Name: "10.0.0.2:1"}})
	ch := fleet.Change{Backend: m.Ready([]string{"a"})[0], Transition: breaker.Transition{From: breaker.Closed, To: breaker.Open, Reason: breaker.Consecutive}}
	c.backendChanged(ch)
	var logged []string
	k.Host.LogChange = func(method, target string, e observe.Event) { logged = append(logged, method+" "+target+" "+e.Backend) }
	c.backendChanged(ch)
	c.backendChanged(fleet.Change{})
	if len(k.events) != 2 || k.events[0].Kind != observe.BackendChange || k.events[0].Backend != "10.0.0.1:1" || k.events[0].To != observe.BreakerOpen || k.events[0].Reason != observe.ReasonConsecutive {
		t.Errorf("%+v", k.events)
	}
	if !slices.Equal(logged, []string{"/ledger.Ledger/Post dns:///ledger 10.0.0.1:1"}) {
		t.Errorf("logged %q", logged)
	}
}

// A call's memory may be used again: nothing of the call before is in it, except which
// shard it counts in; calls spread over shards.
func TestRelease(t *testing.T) {
	k := newClocked(t)
	c := new(Call)
	c.InitStream(t.Context(), k.Host, k.Plan, k.Policy, nil)
	shard := c.Shard()
	if !c.stream || c.Host == nil || shard == 0 {
		t.Fatalf("%+v", c)
	}
	_ = admit(c)
	try(c, unavailable)
	c.Release()
	if c.Host != nil || c.stream || c.admitted || c.Attempts() != 0 || c.trail != nil || c.Shard() != shard {
		t.Errorf("%+v, want nothing but the shard %d", c, shard)
	}
	c.Init(t.Context(), k.Host, k.Plan, k.Policy, nil)
	other := new(Call)
	other.Init(t.Context(), k.Host, k.Plan, k.Policy, nil)
	if c.Shard() != shard || other.Shard() != shard+1 {
		t.Errorf("shards %d and %d, want %d and the next", c.Shard(), other.Shard(), shard)
	}
}

// A stream that goes on after a hedge, or is resumed, is the call's running attempt, of
// its kind; one that has delivered begins to count anew.
func TestStreamsGoOn(t *testing.T) {
	k := newClocked(t)
	k.Policy.BreakerOff, k.Policy.BudgetOff = true, true
	c := k.again(t, 0)
	var a Attempt
	c.Launch(&a, nil)
	c.Launch(&a, nil)
	c.Adopt(&a)
	k.events = nil
	c.Delivered()
	c.EndStream(unavailable, false, func() Evidence { return Evidence{} })
	if e := k.events[0]; e.Kind != observe.AttemptEnd || e.Attempt != 2 || e.AttemptKind != observe.HedgeAttempt {
		t.Errorf("%+v", e)
	}
	for range 2 { // after one more since it has delivered, of three
		if _, again := c.Next(c.FailureOf(unavailable, nil, nil)); !again {
			t.Fatal("no other attempt")
		}
		c.Pause(0, unavailable)
		_, _ = c.Resume(unavailable)
		c.Continue()
		try(c, unavailable)
	}
	if e := k.events[len(k.events)-1]; e.AttemptKind != observe.ResumeAttempt {
		t.Errorf("%+v", e)
	}
}

// Codes are gRPC's: what a server makes up, or an error that says it is none, is
// UNKNOWN, and a context's error its own.
func TestCodeOf(t *testing.T) {
	for err, want := range map[error]codes.Code{
		status.Error(codes.Unauthenticated, ""): codes.Unauthenticated, status.Error(codes.Canceled, ""): codes.Canceled,
		status.Error(17, ""): codes.Unknown, okError{}: codes.Unknown, errors.New(""): codes.Unknown,
		context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		if got := CodeOf(err); got != want {
			t.Errorf("%T %v: %v, want %v", err, err, got, want)
		}
	}
}

type okError struct{}

func (okError) Error() string              { return "says that it is none" }
func (okError) GRPCStatus() *status.Status { return status.New(codes.OK, "") }

// A suite's journal has the notes of all its calls, its log is the program's unless it
// has one of its own.
func TestHost(t *testing.T) {
	k := newClocked(t)
	k.Host.Journal = journal.New(10)
	c := k.again(t, 0)
	try(c, unavailable)
	c.Finish(unavailable, false)
	if n := len(k.Host.Journal.Notes()); n != 1 {
		t.Errorf("%d notes, want one", n)
	}
	var program, own strings.Builder
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&program, nil)))
	defer slog.SetDefault(before)
	(&Host{}).Log().Info("one")
	(&Host{Logger: slog.New(slog.NewTextHandler(&own, nil))}).Log().Info("two")
	if !strings.Contains(program.String(), "msg=one") || !strings.Contains(own.String(), "msg=two") {
		t.Errorf("the program's log has %q, the suite's own %q", &program, &own)
	}
	began := time.Now()
	h := Host{Epoch: began.Add(-time.Minute)}
	if now := h.Now(); now < time.Minute || h.until(began.Add(time.Hour)) > time.Hour || h.chance() < 0 || h.chance() >= 1 {
		t.Errorf("the time is %v", now)
	}
}

// A breaker that closes between the refusal and its error has no opening to name.
func TestRefusalOfABreakerThatClosed(t *testing.T) {
	k := newClocked(t)
	err := breakerOpen(k.Host, k.Plan, k.Plan.Breaker, time.Second)
	if !errors.Is(err, ErrBreakerOpen) || strings.Contains(err.Error(), "since") {
		t.Error(err)
	}
}

// The text and details of errors that are kept are 8 KiB at most.
func TestKeptErrorsAreSmall(t *testing.T) {
	if maxErrorBytes != 8<<10 {
		t.Errorf("%d bytes", maxErrorBytes)
	}
}

// Losses that are counted apart are failures apart.
func TestLossesAddUp(t *testing.T) {
	k := newClocked(t)
	lost := Evidence{Known: true, Sent: true}
	for i := range 2 {
		c := k.again(t, 0)
		_ = admit(c)
		c.Begin(nil)
		c.End(unavailable, lost)
		c.Settle(unavailable)
		if got := k.Plan.Losses.Load(); got != uint64(i+1) {
			t.Errorf("%d losses after %d", got, i+1)
		}
	}
}

// A breaker that opens during a backoff ends the call, with the last failure as its
// error; its token is given back, and why there was no retry is emitted.
func TestBreakerOpensInABackoff(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	_ = admit(c)
	others := []*Call{next(c), next(c)}
	for _, o := range others {
		_ = admit(o)
	}
	try(c, unavailable)
	delay, again := c.Next(c.FailureOf(unavailable, nil, nil))
	if !again {
		t.Fatal("no retry")
	}
	c.Pause(delay, unavailable)
	for _, o := range others {
		try(o, unavailable)
		o.Settle(unavailable)
	}
	k.events = nil
	if again, err := c.Resume(unavailable); again || err != unavailable {
		t.Errorf("%v, %v", again, err)
	}
	if e := k.events[len(k.events)-1]; e.Kind != observe.Suppressed || e.Reason != observe.ReasonBreaker {
		t.Errorf("%+v, want that the breaker forbade it", e)
	}
	c.Settle(unavailable)
	if got := level(c); got < 1.99 {
		t.Errorf("%v tokens, want the one for the attempt that was not made back", got)
	}
	if r := c.Report(unavailable, false); r.Reason != observe.ReasonBreaker || r.Outcome != observe.Failed {
		t.Errorf("%+v", r)
	}
}

// A stream is answered when its attempt ends well, or leaves a header or a message.
func TestEndsThatAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		err    error
		ev     Evidence
		stream bool
		want   bool
	}{
		"well":    {nil, Evidence{}, true, true},
		"header":  {unavailable, Evidence{Header: true}, true, true},
		"message": {unavailable, Evidence{Message: true}, true, true},
		"neither": {unavailable, Evidence{}, true, false},
		"unary":   {nil, Evidence{}, false, false},
	} {
		call := newClocked(t).again(t, 0)
		call.stream = c.stream
		call.Begin(nil)
		if call.End(c.err, c.ev); call.answered != c.want {
			t.Errorf("%s: answered %v", name, call.answered)
		}
	}
}

// A classifier may ask for another attempt though there is a reply, which is then not
// the call's success at once.
func TestRulingOnAReply(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	c.Begin(nil)
	k.events = nil
	if c.End(nil, Evidence{Ruling: verdict.Again}); !c.Unsatisfied() || c.firstEndPending {
		t.Errorf("another attempt is asked for: %v; the first is the call's success: %v", c.Unsatisfied(), c.firstEndPending)
	}
	delay, again := c.Next(c.FailureOf(nil, nil, nil))
	if !again {
		t.Error("there is no other attempt")
	}
	c.Pause(delay, nil) // though nothing has failed
	if again, err := c.Resume(nil); !again || err != nil {
		t.Errorf("%v, %v; want it resumed", again, err)
	}
	c = k.again(t, 0)
	c.Begin(nil)
	if c.End(nil, Evidence{}); c.Unsatisfied() {
		t.Error("another attempt is asked for by nobody")
	}
}

// A token that was spent on an attempt is not given back, whatever comes of that; a
// backoff that is over does not end again.
func TestSpentIsSpent(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	_ = admit(c)
	try(c, unavailable)
	delay, _ := c.Next(c.FailureOf(unavailable, nil, nil))
	c.Pause(delay, unavailable)
	if again, err := c.Resume(unavailable); !again {
		t.Fatal(err)
	}
	c.Begin(nil)
	k.events = nil
	c.Unwind()
	if got := level(c); got > 1.01 {
		t.Errorf("%v tokens, want one spent", got)
	}
	if got := k.kinds(); !slices.Equal(got, []string{"attempt_end", "call_end"}) {
		t.Errorf("%v", got)
	}
	c.Settle(unavailable) // as a driver may whose panic was recovered above
	if got := level(c); got > 1.01 {
		t.Errorf("%v tokens once it was settled too", got)
	}
	held := k.again(t, 0)
	_ = admit(held)
	try(held, unavailable)
	_, _ = held.Next(held.FailureOf(unavailable, nil, nil))
	for range 3 {
		held.Refund()
	}
	if got := level(c); got < 0.99 || got > 1.01 {
		t.Errorf("%v tokens, want the one of the attempt that was not made back once", got)
	}
}

// A call that was saved has its note, though nobody listens, and its trail is bounded.
func TestNoteWithoutListeners(t *testing.T) {
	k := newClocked(t)
	k.Policy.BreakerOff = true
	k.Plan.Recorders = &hooks.Recorders{}
	for failures, want := range map[int]int{1: 2, journal.MaxTrail - 1: journal.MaxTrail, journal.MaxTrail: journal.MaxTrail} {
		k.Plan.Record = new(journal.Record)
		c := k.again(t, 0)
		for range failures {
			try(c, unavailable)
		}
		try(c, nil)
		c.kind = observe.RetryAttempt
		c.Finish(nil, false)
		if notes := k.Plan.Record.Notes(); len(notes) != 1 || len(notes[0].Trail) != want {
			t.Errorf("%d failures: %d notes, want one of %d attempts", failures, len(notes), want)
		}
	}
	k.Plan.Record = new(journal.Record)
	k.again(t, 0).Finish(ErrLimited, false) // it was never made
	if notes := k.Plan.Record.Notes(); len(notes) != 1 || notes[0].Attempts != 0 || notes[0].Trail != nil {
		t.Errorf("%d notes of a call that was refused, want one without attempts", len(notes))
	}
}

// A slot is given back once; a call that was not made gives its token back too.
func TestSlotsAreGivenBackOnce(t *testing.T) {
	for name, cfg := range map[string]limit.Config{"fixed": {MaxConcurrent: 3}, "adaptive": {MaxConcurrent: 3, Adaptive: true}, "queue": {MaxConcurrent: 3, MaxQueue: 1}} {
		for end, give := range map[string]func(*Call){"settled": func(c *Call) { c.Settle(nil); c.Settle(nil) }, "unwound": func(c *Call) { c.Unwind(); c.unwind() }} {
			k := newClocked(t)
			k.Plan.Limit = limit.NewGuard(0, cfg)
			k.Plan.Adaptive = cfg.Adaptive
			held, c := k.again(t, 0), k.again(t, 0)
			for _, c := range []*Call{held, c} {
				_ = admit(c)
				try(c, nil)
			}
			give(c)
			if inFlight, _, _, _ := k.Plan.Limit.Level(); inFlight != 1 {
				t.Errorf("%s, %s: %d in flight, want one", name, end, inFlight)
			}
		}
	}
	k := newClocked(t)
	k.Plan.Limit = limit.NewGuard(0, limit.Config{Rate: 1e-9, Burst: 1})
	for i := range 2 {
		c := k.again(t, 0)
		if err := admit(c); err != nil {
			t.Fatalf("call %d: %v, though none was made before", i+1, err)
		}
		c.Settle(unavailable)
	}
	c := k.again(t, 0)
	_ = admit(c)
	try(c, nil)
	c.Settle(nil)
	if err := admit(k.again(t, 0)); !errors.Is(err, ErrLimited) {
		t.Errorf("%v after a call that was made with the only token", err)
	}
}

// A call that would be refused by a breaker without a connection may wait for its slot
// once there is one.
func TestReconnectBeforeTheQueue(t *testing.T) {
	k := newClocked(t)
	k.Plan.Limit = limit.NewGuard(0, limit.Config{MaxConcurrent: 1, MaxQueue: 1})
	for range 2 {
		c := k.again(t, 0)
		_ = admit(c)
		c.Begin(nil)
		c.End(unavailable, Evidence{Known: true, Down: true})
		c.Settle(unavailable)
	}
	k.Plan.Limit.EnterFree()
	k.now = time.Minute
	if w, err := k.again(t, 0).Admit(channel(true)); w.Needed() || !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("%v while there is none", err)
	}
	if w, err := k.again(t, 0).Admit(channel(false)); !w.Needed() || err != nil {
		t.Errorf("%v with a connection, want a wait", err)
	}
}

// Only a call all of whose attempts ended because their time was over says how long
// others should have.
func TestVainIsOfAllAttempts(t *testing.T) {
	expired := status.Error(codes.DeadlineExceeded, "")
	inVain := Evidence{Known: true, Sent: true}
	for name, c := range map[string]struct {
		err  error // of the one attempt that ends otherwise than in vain
		took time.Duration
		ev   Evidence
		last bool
	}{
		"UNAVAILABLE":              {unavailable, 0, at(badPeer), true},
		"UNAVAILABLE, first":       {unavailable, 0, at(badPeer), false},
		"UNAVAILABLE, in its time": {unavailable, time.Second, at(badPeer), true},
		"never sent":               {expired, time.Second, Evidence{Known: true}, false},
	} {
		k := newClocked(t)
		k.Policy.AttemptTimeout = time.Second
		for range 2 {
			call := k.again(t, 0)
			_ = admit(call)
			for i := range 2 {
				err, took, ev := expired, time.Second, inVain
				if c.last == (i == 1) {
					err, took, ev = c.err, c.took, c.ev
				}
				call.Begin(nil)
				k.now += took
				call.End(err, ev)
			}
			call.Settle(unavailable)
		}
		k.want(t, breaker.Open)
		k.Policy.AttemptTimeout = 0
		if err := admit(k.again(t, time.Hour)); !errors.Is(err, ErrBreakerOpen) {
			t.Errorf("%s: %v: a patient call passes a breaker that did not open for want of time", name, err)
		}
	}
}

// What an attempt left decides, beside its code, whether it speaks against the server and
// whether it may be made again.
func TestEvidence(t *testing.T) {
	sent, answered := Evidence{Known: true, Sent: true}, Evidence{Known: true, Sent: true, Trailer: metadata.Pairs("a", "b")}
	local := sent
	local.Local = true
	marshal := status.Error(codes.Internal, "grpc: error while marshaling")
	for name, c := range map[string]struct {
		err        error
		ev         Evidence
		bad, again bool
	}{
		"grpc-go refuses a message":      {marshal, sent, false, false},
		"somebody does, nobody knows":    {marshal, Evidence{}, true, true},
		"somebody else's transport does": {marshal, Evidence{Sent: true}, true, false},
		"SendMsg failed":                 {status.Error(codes.Internal, "scripted"), local, false, false},
		"the server's INTERNAL":          {status.Error(codes.Internal, "scripted"), sent, true, false},
		"turned down":                    {unavailable, answered, true, true},
		"lost":                           {unavailable, sent, true, false},
		"a code of the server's own":     {status.Error(20, "scripted"), sent, false, false},
		"nobody's code":                  {status.Error(20, "scripted"), Evidence{}, true, true},
		"an interceptor's context error": {context.DeadlineExceeded, sent, true, false},
		"UNKNOWN":                        {errors.New("scripted"), sent, true, false},
	} {
		k := newClocked(t)
		k.Policy.Retry.Codes = astracodes.Of(codes.Internal, codes.Unavailable, codes.Unknown, codes.DeadlineExceeded)
		k.Policy.Failures = k.Policy.Retry.Codes
		k.Policy.Repeat = verdict.RepeatAnswered
		call := k.again(t, 0)
		call.Begin(nil)
		call.End(c.err, c.ev)
		if bad := call.last.Breaker == verdict.Bad; bad != c.bad {
			t.Errorf("%s: counts against the server: %v", name, bad)
		}
		if _, again := call.Next(call.FailureOf(c.err, c.ev.Trailer, nil)); again != c.again {
			t.Errorf("%s: made again: %v (%v)", name, again, call.why)
		}
	}
}

// A method without a budget has nothing to earn or to pay.
func TestWithoutBudget(t *testing.T) {
	k := newClocked(t)
	k.Plan.Budget = nil
	c := k.again(t, 0)
	_ = admit(c)
	try(c, unavailable)
	if _, again := c.Next(c.FailureOf(unavailable, nil, nil)); !again {
		t.Error("no retry")
	}
	try(c, nil)
	c.Settle(nil)
	k.Plan.Budget = newCall(t).Plan.Budget
	k.Policy.BudgetOff = true
	for range 5 {
		free := k.again(t, 0)
		_ = admit(free)
		try(free, unavailable)
		if _, again := free.Next(free.FailureOf(unavailable, nil, nil)); !again {
			t.Fatal("no retry, though the budget is off")
		}
		try(free, nil)
		free.Settle(nil)
	}
	if got := level(c); got < 1.99 {
		t.Errorf("%v tokens, want all of a budget that is off", got)
	}
}

// A stream that was answered is settled as a success, once, and later failures of its
// call are none.
func TestAnsweredIsSettled(t *testing.T) {
	k := newClocked(t)
	c := k.again(t, 0)
	c.stream = true
	_ = admit(c)
	c.Begin(nil)
	c.End(nil, Evidence{Header: true})
	c.Settle(nil)
	c.last.Breaker, c.last.Earns, c.answered = verdict.Bad, false, false
	for range 3 {
		c.Settle(unavailable)
	}
	if got := k.Plan.Breaker.At(0); got != breaker.Closed {
		t.Errorf("%v", got)
	}
}
