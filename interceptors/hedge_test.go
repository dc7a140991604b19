package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

func hedged(h interceptors.Hedge) interceptors.Option {
	return interceptors.WithMethodPolicy(method, interceptors.Policy{Hedge: h})
}

// take is a step that succeeds after a while, and answers with its name.
func take(d time.Duration, name string) step {
	return step{after: d, do: func(_ context.Context, reply any) {
		if m, ok := reply.(*wrapperspb.StringValue); ok {
			m.Value = name
		}
	}}
}

func failAfter(d time.Duration, c codes.Code, md metadata.MD) step {
	return step{after: d, err: status.Error(c, "scripted"), trailer: md}
}

// question makes a call and returns its answer.
func question(ctx context.Context, s *interceptors.Suite, sc *script, opts ...grpc.CallOption) (string, error) {
	var reply wrapperspb.StringValue
	err := s.UnaryClientInterceptor()(ctx, method, wrapperspb.String("question"), &reply, nil, sc.invoke, opts...)
	return reply.GetValue(), err
}

// TestHedging: what A6 says of who starts when and what ends a call, on time.
func TestHedging(t *testing.T) {
	unavailable := func(d time.Duration, trailer ...string) step {
		var md metadata.MD
		if len(trailer) > 0 {
			md = pushback(trailer...)
		}
		return failAfter(d, codes.Unavailable, md)
	}
	for _, tc := range []struct {
		name   string
		steps  []step
		hedge  interceptors.Hedge
		answer string
		code   codes.Code
		took   time.Duration
		starts []time.Duration // of the attempts
	}{
		{"the first in time", []step{take(5*ms, "a")}, interceptors.Hedge{}, "a", 0, 5 * ms, []time.Duration{0}},
		{"the second is faster", []step{take(time.Hour, "a"), take(5*ms, "b")}, interceptors.Hedge{}, "b", 0, 15 * ms, []time.Duration{0, 10 * ms}},
		{"the first still wins", []step{take(12*ms, "a"), take(5*ms, "b")}, interceptors.Hedge{}, "a", 0, 12 * ms, []time.Duration{0, 10 * ms}},
		{"all in flight", []step{take(time.Hour, "a"), take(time.Hour, "b"), take(ms, "c")}, interceptors.Hedge{}, "c", 0, 21 * ms, []time.Duration{0, 10 * ms, 20 * ms}},
		{"no more than MaxAttempts", []step{take(100*ms, "a"), take(time.Hour, "b"), take(time.Hour, "c"), take(0, "d")}, interceptors.Hedge{}, "a", 0, 100 * ms, []time.Duration{0, 10 * ms, 20 * ms}},
		{"a failure starts the next at once", []step{unavailable(2 * ms), take(5*ms, "b")}, interceptors.Hedge{}, "b", 0, 7 * ms, []time.Duration{0, 2 * ms}},
		{"and the one after it a delay later", []step{unavailable(2 * ms), take(time.Hour, "b"), take(ms, "c")}, interceptors.Hedge{}, "c", 0, 13 * ms, []time.Duration{0, 2 * ms, 12 * ms}},
		{"a failure does not win", []step{take(30*ms, "a"), unavailable(ms), unavailable(ms)}, interceptors.Hedge{}, "a", 0, 30 * ms, []time.Duration{0, 10 * ms, 11 * ms}},
		{"all fail", []step{unavailable(ms), unavailable(ms), unavailable(2 * ms)}, interceptors.Hedge{}, "", codes.Unavailable, 4 * ms, []time.Duration{0, ms, 2 * ms}},
		{"a fatal failure ends it", []step{take(time.Hour, "a"), failAfter(ms, codes.NotFound, nil)}, interceptors.Hedge{}, "", codes.NotFound, 11 * ms, []time.Duration{0, 10 * ms}},
		{"what is not fatal can be chosen", []step{failAfter(ms, codes.NotFound, nil), take(ms, "b")}, interceptors.Hedge{NonFatal: astracodes.Of(codes.NotFound)}, "b", 0, 2 * ms, []time.Duration{0, ms}},
		{"nothing need be", []step{unavailable(ms), take(ms, "b")}, interceptors.Hedge{NonFatal: astracodes.Of(codes.OK)}, "", codes.Unavailable, ms, []time.Duration{0}},
		{"pushback delays the next", []step{unavailable(ms, "50"), take(ms, "b")}, interceptors.Hedge{}, "b", 0, 52 * ms, []time.Duration{0, 51 * ms}},
		{"and then the delay counts again", []step{unavailable(ms, "50"), take(time.Hour, "b"), take(ms, "c")}, interceptors.Hedge{}, "c", 0, 62 * ms, []time.Duration{0, 51 * ms, 61 * ms}},
		{"pushback holds against another's failure", []step{take(time.Hour, "a"), unavailable(ms, "50"), take(ms, "c")}, interceptors.Hedge{}, "c", 0, 62 * ms, []time.Duration{0, 10 * ms, 61 * ms}},
		{"a stop lets the running finish", []step{take(30*ms, "a"), unavailable(ms, "-1"), take(ms, "c")}, interceptors.Hedge{}, "a", 0, 30 * ms, []time.Duration{0, 10 * ms}},
		{"a stop with none running", []step{unavailable(ms, "-1"), take(ms, "b")}, interceptors.Hedge{}, "", codes.Unavailable, ms, []time.Duration{0}},
		{"RESOURCE_EXHAUSTED is fatal", []step{failAfter(ms, codes.ResourceExhausted, nil), take(ms, "b")}, interceptors.Hedge{}, "", codes.ResourceExhausted, ms, []time.Duration{0}},
		{"unless the server says when", []step{failAfter(ms, codes.ResourceExhausted, pushback("5")), take(ms, "b")}, interceptors.Hedge{}, "b", 0, 7 * ms, []time.Duration{0, 6 * ms}},
		{"or hints at it", []step{{after: ms, err: withRetryInfo(codes.ResourceExhausted, 5*ms)}, take(ms, "b")}, interceptors.Hedge{}, "b", 0, 7 * ms, []time.Duration{0, 6 * ms}},
		{"all at once", []step{take(time.Hour, "a"), take(2*ms, "b"), take(time.Hour, "c")}, interceptors.Hedge{Delay: 1}, "b", 0, 2*ms + 1, []time.Duration{0, 1, 2}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tc.hedge.MaxAttempts = 3
				if tc.hedge.Delay == 0 {
					tc.hedge.Delay = 10 * ms
				}
				s, sc, began := newSuite(t, hedged(tc.hedge)), play(tc.steps...), time.Now()
				answer, err := question(t.Context(), s, sc)
				took := time.Since(began)
				synctest.Wait() // for those that lost
				wantCode(t, err, tc.code)
				if answer != tc.answer || took != tc.took {
					t.Errorf("%q after %v, want %q after %v", answer, took, tc.answer, tc.took)
				}
				var starts []time.Duration
				for i, at := range sc.began {
					starts = append(starts, at.Sub(began))
					if want := []string{"", "1", "2"}[i]; sc.prev[i] != want {
						t.Errorf("attempt %d says that %q came before", i+1, sc.prev[i])
					}
				}
				if !slices.Equal(starts, tc.starts) {
					t.Errorf("attempts began at %v, want %v", starts, tc.starts)
				}
			})
		})
	}
}

// TestLastErrorIsTheCalls: the very value.
func TestLastHedgeErrorIsTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, last := status.Error(codes.Unavailable, "first"), status.Error(codes.Unavailable, "last")
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		_, err := question(t.Context(), s, play(step{after: 30 * ms, err: last}, step{after: ms, err: first}))
		if err != last {
			t.Errorf("%v, want %v", err, last)
		}
	})
}

// TestLosersAreNotWaitedFor, even if they do not care for their contexts.
func TestLosersAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		deaf := step{do: func(context.Context, any) { time.Sleep(time.Hour) }}
		began := time.Now()
		answer, err := question(t.Context(), s, play(take(12*ms, "a"), deaf))
		if took := time.Since(began); answer != "a" || took != 12*ms {
			t.Errorf("%q, %v after %v, want a after 12 ms", answer, err, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*ms)
		defer cancel()
		began = time.Now()
		_, err = question(ctx, s, play(step{hang: true}, deaf))
		if took := time.Since(began); took != 15*ms || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v, want the deadline's end after 15 ms", err, took)
		}
		wantCode(t, err, codes.DeadlineExceeded)
		time.Sleep(2 * time.Hour) // until they have ended
	})
}

func TestHedgeAndTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(15*ms, cancel)
		sc := play(step{hang: true})
		_, err := question(ctx, s, sc)
		wantCode(t, err, codes.Canceled)
		wantAttempts(t, sc, 2)

		ctx, cancel = context.WithTimeout(t.Context(), 15*ms)
		defer cancel()
		began := time.Now()
		_, err = question(ctx, s, play(failAfter(5*ms, codes.Unavailable, pushback("10"))))
		if took := time.Since(began); status.Code(err) != codes.Unavailable || took != 5*ms {
			t.Errorf("%v after %v, want the failure at once, as no other attempt can start in time", err, took)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		sc = play(step{})
		_, err = question(ctx, s, sc)
		wantCode(t, err, codes.Canceled)
		wantAttempts(t, sc, 0)
	})
}

func TestHedgeAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge:          interceptors.Hedge{MaxAttempts: 2, Delay: time.Second},
			AttemptTimeout: 20 * ms,
		}))
		began := time.Now()
		answer, err := question(t.Context(), s, play(step{hang: true}, take(5*ms, "b")))
		if took := time.Since(began); answer != "b" || took != 25*ms {
			t.Errorf("%q, %v after %v, want b after 25 ms", answer, err, took)
		}
	})
}

// TestHedgesDrawOnTheBudget: one that is refused leaves the call to those that
// run, or to its failure.
func TestHedgesDrawOnTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events hedgeEvents
		s := newSuite(t, interceptors.WithObserver(&events), interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge:  interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms},
			Budget: interceptors.Budget{Burst: 1, MinPerSecond: 1e-9},
		}))
		sc := play(take(time.Hour, "a"), take(15*ms, "b"))
		if answer, err := question(t.Context(), s, sc); answer != "b" {
			t.Errorf("%q, %v, want b", answer, err)
		}
		wantAttempts(t, sc, 2)
		sc = play(failAfter(ms, codes.Unavailable, nil))
		_, err := question(t.Context(), s, sc)
		wantCode(t, err, codes.Unavailable)
		wantAttempts(t, sc, 1)
		if got := events.hedges(); !slices.Equal(got, []string{"3 suppressed budget", "2 won", "2 suppressed budget"}) {
			t.Errorf("got %v", got)
		}
	})
}

// TestHedgedCallIsOneToTheBreaker: an exhausted one is one failure, one saved a
// success, one cancelled nothing.
func TestHedgedCallIsOneToTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge:   interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms},
			Breaker: interceptors.Breaker{Consecutive: 2},
		}))
		down := func() *script { return play(failAfter(ms, codes.Unavailable, nil)) }
		saved := func() *script { return play(failAfter(ms, codes.Unavailable, nil), take(ms, "b")) }
		for _, sc := range []*script{down(), saved(), down(), down()} {
			if _, err := question(t.Context(), s, sc); errors.Is(err, interceptors.ErrBreakerOpen) {
				t.Fatal("opened too early")
			}
		}
		if _, err := question(t.Context(), s, saved()); !errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Errorf("%v, want the breaker open after two exhausted calls in a row", err)
		}
	})
}

// TestOnlyTheWinnersEffects: reply, header, trailer and peer are the winner's,
// OnFinish is called once, and none of it changes later.
func TestOnlyTheWinnersEffects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		slow, fast := take(time.Hour, "slow"), take(ms, "fast")
		slow.header, slow.trailer = metadata.Pairs("from", "slow"), metadata.Pairs("from", "slow")
		fast.header, fast.trailer = metadata.Pairs("from", "fast"), metadata.Pairs("from", "fast")
		var header, trailer metadata.MD
		var finished []error
		answer, err := question(t.Context(), s, play(slow, fast), grpc.Header(&header), grpc.Trailer(&trailer),
			grpc.OnFinish(func(err error) { finished = append(finished, err) }))
		time.Sleep(2 * time.Hour)
		if err != nil || answer != "fast" || header.Get("from")[0] != "fast" || trailer.Get("from")[0] != "fast" {
			t.Errorf("%q %v %v %v, want the winner's", answer, header, trailer, err)
		}
		if len(finished) != 1 || finished[0] != nil {
			t.Errorf("OnFinish was called with %v, want once, with nil", finished)
		}

		gone := failAfter(ms, codes.NotFound, metadata.Pairs("from", "gone"))
		_, err = question(t.Context(), s, play(slow, gone), grpc.Trailer(&trailer))
		if status.Code(err) != codes.NotFound || trailer.Get("from")[0] != "gone" {
			t.Errorf("%v %v, want the failed attempt's", trailer, err)
		}
	})
}

// TestAttemptsShareNothing: interceptors beneath see messages of the caller's
// types, and what they do to them is no other attempt's business. The first
// attempt has the caller's own, and has ended when the call has.
func TestAttemptsShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms}))
		mine, reply := wrapperspb.String("question"), new(wrapperspb.StringValue)
		var seen []any
		var mu sync.Mutex
		invoke := func(ctx context.Context, _ string, req, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			q, a := req.(*wrapperspb.StringValue), reply.(*wrapperspb.StringValue)
			mu.Lock()
			if slices.Contains(seen, req) || slices.Contains(seen, reply) || (len(seen) == 0) != (q == mine) {
				t.Errorf("attempt %d shares its messages", len(seen)/2+1)
			}
			seen = append(seen, req, reply)
			n := len(seen) / 2
			mu.Unlock()
			if q.GetValue() != "question" || a.GetValue() != "" {
				t.Errorf("attempt %d got %v and %v", n, q, a)
			}
			q.Value, a.Value = "changed", fmt.Sprint(n)
			if n < 3 {
				<-ctx.Done()
				q.Value, a.Value = "late", "late"
				return ctx.Err()
			}
			return nil
		}
		err := s.UnaryClientInterceptor()(t.Context(), method, mine, reply, nil, invoke)
		synctest.Wait()
		if err != nil || reply.GetValue() != "3" {
			t.Errorf("%v, reply %q, want the third's", err, reply.GetValue())
		}
	})
}

// TestMessagesThatCannotBeCopied are refused, before any attempt.
func TestMessagesThatCannotBeCopied(t *testing.T) {
	s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
	sc := play(step{})
	type plain struct{ Name string }
	for _, m := range []struct{ req, reply any }{
		{plain{}, new(plain)},              // no pointer
		{new(plain), new(plain)},           // proto cannot encode it
		{wrapperspb.String("q"), plain{}},  // nothing to be filled
		{map[string]int{}, new(struct{})},  // shared, whoever holds it
		{wrapperspb.String("q"), []byte{}}, // of a fixed length
	} {
		finished := 0
		err := s.UnaryClientInterceptor()(t.Context(), method, m.req, m.reply, nil, sc.invoke, grpc.OnFinish(func(error) { finished++ }))
		if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "cannot be copied") || finished != 1 {
			t.Errorf("%T, %T: %v, finished %d times", m.req, m.reply, err, finished)
		}
	}
	wantAttempts(t, sc, 0)
}

// TestPanicsBeneathAHedge surface where the caller is, like those of a call that
// is not hedged.
func TestPanicsBeneathAHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		var events hedgeEvents
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}), interceptors.WithObserver(&events),
			interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		boom := step{after: 12 * ms, do: func(context.Context, any) { panic("boom") }}
		finished := 0
		func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v, want boom", p)
				}
			}()
			_, _ = question(t.Context(), s, play(step{hang: true}, boom), grpc.OnFinish(func(error) { finished++ }))
		}()
		if finished != 1 {
			t.Errorf("OnFinish was called %d times", finished)
		}
		ended := false
		go func() {
			defer func() { ended = recover() == nil }()
			_, _ = question(t.Context(), s, play(step{do: func(context.Context, any) { runtime.Goexit() }}))
			t.Error("went on after Goexit")
		}()
		synctest.Wait()
		if !ended {
			t.Error("Goexit did not end the caller's goroutine")
		}
		for _, n := range []int{events.count(observe.AttemptEnd), events.count(observe.CallEnd)} {
			if n != 3 && n != 2 {
				t.Errorf("%d attempts and calls ended, want 3 and 2", n)
			}
		}
		// One that panics when nobody waits for it any more is logged.
		late := step{do: func(ctx context.Context, _ any) { <-ctx.Done(); panic("late") }}
		if _, err := question(t.Context(), s, play(take(12*ms, "a"), late)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if !strings.Contains(log.String(), "panic=late") {
			t.Errorf("logged %q", log.String())
		}
	})
}

// TestHedgeEvents: every attempt ends once, before its call does.
func TestHedgeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events hedgeEvents
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms}), interceptors.WithObserver(&events))
		_, _ = question(t.Context(), s, play(take(time.Hour, "a"), failAfter(ms, codes.Unavailable, nil), take(2*ms, "c")))
		_, _ = question(t.Context(), s, play(take(12*ms, "a"), take(time.Hour, "b")))
		_, _ = question(t.Context(), s, play(take(ms, "a")))
		_, _ = question(t.Context(), s, play(failAfter(ms, codes.Unavailable, nil)))
		want := []string{
			"attempt 2 hedge Unavailable", "2 lost", "attempt 3 hedge OK", "3 won", "attempt 1 first Canceled", "call 3 success_hedge",
			"attempt 1 first OK", "attempt 2 hedge Canceled", "2 lost", "call 2 success_first",
			"attempt 1 first OK", "call 1 success_first",
			"attempt 1 first Unavailable", "attempt 2 hedge Unavailable", "2 lost", "attempt 3 hedge Unavailable", "3 lost", "call 3 failed exhausted",
		}
		if got := events.lines(); !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// hedgeEvents is an inline observer that keeps its events.
type hedgeEvents struct {
	mu  sync.Mutex
	got []observe.Event
}

func (e *hedgeEvents) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: e.event}
}

func (e *hedgeEvents) event(_ context.Context, got observe.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, got)
}

func (e *hedgeEvents) count(k observe.Kind) (n int) {
	for _, got := range e.got {
		if got.Kind == k {
			n++
		}
	}
	return n
}

func (e *hedgeEvents) hedges() (all []string) {
	for _, got := range e.got {
		if got.Kind == observe.Hedged {
			fate := fmt.Sprintf("%d %v", got.Attempt, got.Hedge)
			if got.Reason != observe.ReasonNone {
				fate += " " + got.Reason.String()
			}
			all = append(all, fate)
		}
	}
	return all
}

func (e *hedgeEvents) lines() (all []string) {
	for _, got := range e.got {
		switch got.Kind {
		case observe.AttemptEnd:
			all = append(all, fmt.Sprintf("attempt %d %v %v", got.Attempt, got.AttemptKind, got.Code))
		case observe.Hedged:
			all = append(all, fmt.Sprintf("%d %v", got.Attempt, got.Hedge))
		case observe.CallEnd:
			line := fmt.Sprintf("call %d %v", got.Attempt, got.Outcome)
			if got.Exhausted {
				line += " exhausted"
			}
			all = append(all, line)
		}
	}
	return all
}
