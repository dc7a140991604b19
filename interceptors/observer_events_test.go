package interceptors_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// few is an observer with a queue that wants the ends of failed calls alone,
// and to know how long they took.
type few struct {
	*events
	panics bool
}

func (o few) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Elapsed: true, Want: o.want, Event: o.record}
}

func (o few) want(e observe.Event) bool {
	if o.panics {
		panic("in Want")
	}
	return e.Kind == observe.CallEnd && e.Err != nil
}

// timed is an observer with inline hooks that wants to know how long calls took.
type timed struct{ inline }

func (o timed) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Elapsed: true, Event: o.record}
}

// last returns the last event.
func (o *events) last(t *testing.T) observe.Event {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.all) == 0 {
		t.Fatal("no event was emitted")
	}
	return o.all[len(o.all)-1]
}

// TestCallEndSaysHowItWent: the end of a call says why there was no other
// attempt, how long it waited and how long it took.
func TestCallEndSaysHowItWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rescue := interceptors.WithFallback("*", func(context.Context, string, any, any, error) error { return nil })
		for _, tc := range []struct {
			name            string
			sc              *script
			opts            []interceptors.Option
			reason          observe.Reason
			waited, elapsed time.Duration
		}{
			{name: "success", sc: play(step{after: 7 * ms}), elapsed: 7 * ms},
			{name: "saved", sc: play(fails(codes.Unavailable), step{after: 3 * ms}), waited: 500 * ms, elapsed: 503 * ms},
			{name: "exhausted", sc: play(fails(codes.Unavailable)), waited: 1500 * ms, elapsed: 1500 * ms},
			{name: "not retryable", sc: play(fails(codes.NotFound)), reason: observe.ReasonNotRetryable},
			{name: "rescued", sc: play(fails(codes.NotFound)), opts: []interceptors.Option{rescue}, reason: observe.ReasonNotRetryable},
			{name: "stopped at the second", sc: play(fails(codes.Unavailable), fails(codes.NotFound)), reason: observe.ReasonNotRetryable, waited: 500 * ms, elapsed: 500 * ms},
		} {
			seen := &events{}
			s := newSuite(t, append(tc.opts, interceptors.WithObserver(timed{inline{seen}}),
				interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}}))...)
			_ = call(s, tc.sc)
			e := seen.last(t)
			if e.Kind != observe.CallEnd || e.Reason != tc.reason || e.Waited != tc.waited || e.Elapsed != tc.elapsed {
				t.Errorf("%s: reason %v, waited %v, took %v; want %v, %v, %v",
					tc.name, e.Reason, e.Waited, e.Elapsed, tc.reason, tc.waited, tc.elapsed)
			}
		}
	})
}

// TestWaitedIsWhatWasWaited: a backoff that the caller breaks off counts for as
// long as it was, and a refused call says so.
func TestWaitedIsWhatWasWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		s := newSuite(t, interceptors.WithObserver(inline{seen}), interceptors.WithPolicy(interceptors.Policy{
			Retry: interceptors.Retry{Backoff: noJitter}, Breaker: interceptors.Breaker{Consecutive: 1},
		}))
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(200*ms, cancel)
		_ = callWith(ctx, s, play(fails(codes.Unavailable)))
		if e := seen.last(t); e.Waited != 200*ms || e.Reason != observe.ReasonNone || e.Elapsed != 0 {
			t.Errorf("waited %v, reason %v, took %v; want 200ms, none, and not measured", e.Waited, e.Reason, e.Elapsed)
		}
		_ = call(s, play(fails(codes.Unavailable)))
		if err := call(s, play(step{})); !errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Fatal(err)
		}
		if e := seen.last(t); e.Reason != observe.ReasonBreakerOpen {
			t.Errorf("a refused call gives %v as the reason", e.Reason)
		}
	})
}

// TestBufferIsNoReason: that a stream sent more than is kept is not why it
// failed later.
func TestBufferIsNoReason(t *testing.T) {
	seen := &events{}
	w := overTCP(t, interceptors.WithObserver(inline{seen}),
		interceptors.WithMethodPolicy(helloServer, interceptors.Policy{Retry: interceptors.Retry{BufferBytes: 10}}))
	w.Script(helloServer, flakyserver.Fail(codes.NotFound, ""))
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann of the many letters"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantCode(t, err, codes.NotFound)
	if seen.count(observe.Suppressed) != 1 {
		t.Errorf("got\n%swant one suppression", seen.story())
	}
	if e := seen.last(t); e.Kind != observe.CallEnd || e.Reason != observe.ReasonNone {
		t.Errorf("the end gives the reason %v, want none", e.Reason)
	}
}

func TestWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		s := newSuite(t, interceptors.WithObserver(few{events: seen}), interceptors.WithPolicy(attemptsOf(2)))
		_ = call(s, play(step{}))
		_ = call(s, play(fails(codes.Unavailable), step{}))
		_ = call(s, play(step{err: fails(codes.NotFound).err, after: 5 * ms}))
		_ = s.Close()
		if seen.count() != 1 {
			t.Fatalf("got\n%swant the end of the failed call alone", seen.story())
		}
		if e := seen.last(t); e.Code != codes.NotFound || e.Elapsed < 5*ms {
			t.Errorf("got %v after %v", e.Code, e.Elapsed)
		}

		var log logBuffer
		s = newSuite(t, interceptors.WithObserver(few{events: seen, panics: true}), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		if err := call(s, play(step{})); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		if n := strings.Count(log.String(), "panicked"); n != 1 || seen.count() != 1 {
			t.Errorf("a panic in Want was logged %d times, %d events emitted", n, seen.count())
		}
	})
}

func TestCanonicalTarget(t *testing.T) {
	var got []string
	s := newSuite(t, interceptors.WithObserver(ask(func(e observe.Endpoint) {
		got = append(got, e.Target()+" "+e.CanonicalTarget())
	})))
	for _, target := range []string{"localhost:1", "passthrough:///x"} {
		cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		_ = s.UnaryClientInterceptor()(t.Context(), method, nil, nil, cc, noop)
		_ = cc.Close()
	}
	_ = call(s, play(step{}))
	if want := []string{"localhost:1 dns:///localhost:1", "passthrough:///x passthrough:///x", " "}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestHedgesAreCounted: whichever attempt wins.
func TestHedgesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for want, steps := range [][]step{
			{take(5*ms, "a")},
			{take(12*ms, "a"), take(5*ms, "b")},
			{take(time.Hour, "a"), take(time.Hour, "b"), take(ms, "c")},
		} {
			seen := &events{}
			s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms}), interceptors.WithObserver(inline{seen}))
			if _, err := question(t.Context(), s, play(steps...)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if e := seen.last(t); e.Kind != observe.CallEnd || e.Hedges != want || e.Attempt != want+1 {
				t.Errorf("%d hedges of %d attempts, want %d", e.Hedges, e.Attempt, want)
			}
		}
	})
}

// sampler wants the events of every other call.
type sampler struct {
	inline
	calls, attempts int
}

func (s *sampler) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: s.record, Start: s.start}
}

func (s *sampler) start(ctx context.Context, e observe.Event) (context.Context, bool) {
	if e.Kind == observe.AttemptStart {
		s.attempts++
		return nil, false // means nothing here
	}
	s.calls++
	return context.WithValue(ctx, spanKey{}, s.calls), s.calls%2 == 0
}

// TestStarterWantsNoMore: of a call that it wants no more of, a starter gets no
// event, though its context stays; others get all.
func TestStarterWantsNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, all, summary := &events{}, &events{}, &counts{}
		o := &sampler{inline: inline{seen}}
		s := newSuite(t, interceptors.WithPolicy(attemptsOf(2)), interceptors.WithObserver(o, inline{all}, summary))
		var ctxs []any
		note := func(ctx context.Context, _ any) { ctxs = append(ctxs, ctx.Value(spanKey{})) }
		for range 2 {
			_ = call(s, play(step{do: note}))
			_ = call(s, play(step{do: note}))
		}
		_ = call(s, play(step{err: fails(codes.Unavailable).err, do: note}, step{do: note}))
		_ = call(s, play(step{err: fails(codes.NotFound).err, do: note}))
		const want = `attempt 1 OK
call success_first 1 OK exhausted false
attempt 1 OK
call success_first 1 OK exhausted false
attempt 1 NotFound
suppressed not_retryable
call failed 1 NotFound exhausted false
`
		if got := seen.story(); got != want {
			t.Errorf("the starter got\n%swant\n%s", got, want)
		}
		if o.attempts != 3 {
			t.Errorf("asked for the contexts of %d attempts, want 3", o.attempts)
		}
		if got := all.count(observe.CallEnd); got != 6 {
			t.Errorf("the other saw %d calls, want 6", got)
		}
		if got := summary.succeeded.Load(); got != 4 {
			t.Errorf("the one with FirstSuccess got %d successes, want 4", got)
		}
		if want := []any{1, 2, 3, 4, 5, 5, 6}; !slices.Equal(ctxs, want) {
			t.Errorf("attempts ran in the contexts of calls %v, want %v", ctxs, want)
		}
	})
}

// TestStartersWantDifferentCalls: what one does not want is none of another's
// business.
func TestStartersWantDifferentCalls(t *testing.T) {
	even, odd := &events{}, &events{}
	s := newSuite(t, interceptors.WithObserver(&sampler{inline: inline{even}}, &sampler{inline: inline{odd}, calls: 1}))
	for range 3 {
		_ = call(s, play(step{}))
	}
	if even.count(observe.CallEnd) != 1 || odd.count(observe.CallEnd) != 2 {
		t.Errorf("saw %d and %d calls, want 1 and 2", even.count(observe.CallEnd), odd.count(observe.CallEnd))
	}
}

// TestMutedStarterGetsNoFirstSuccess: of a call that Start wants no more of,
// FirstSuccess is not called either.
func TestMutedStarterGetsNoFirstSuccess(t *testing.T) {
	o := &countingSampler{}
	s := newSuite(t, interceptors.WithObserver(o))
	for range 4 {
		_ = call(s, play(step{}))
	}
	if got := o.succeeded.Load(); got != 2 || o.count() != 0 {
		t.Errorf("saw %d successes and %d events, want 2 and none", got, o.count())
	}
}

type countingSampler struct {
	counts
	calls int
}

func (o *countingSampler) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: o.record, Start: o.start, FirstSuccess: o.firstSuccess}
}

func (o *countingSampler) start(_ context.Context, e observe.Event) (context.Context, bool) {
	if e.Kind == observe.CallStart {
		o.calls++
	}
	return nil, o.calls%2 == 0
}

func TestObserversAreBounded(t *testing.T) {
	many := make([]observe.Observer, 64)
	for i := range many {
		many[i] = inline{&events{}}
	}
	newSuite(t, interceptors.WithObserver(many...))
	_, err := interceptors.New(interceptors.WithObserver(many...), interceptors.WithObserver(many[0]))
	if err == nil || !strings.Contains(err.Error(), "65 given: want at most 64") {
		t.Errorf("65 observers: %v", err)
	}
}
