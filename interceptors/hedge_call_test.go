package interceptors_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// exiting is a codec that, asked for another copy than the first, ends its
// goroutine.
type exiting struct {
	encoding.CodecV2
	copies *atomic.Int32
}

func (c exiting) Marshal(any) (mem.BufferSlice, error) {
	if c.copies.Add(1) > 1 {
		runtime.Goexit()
	}
	return nil, nil
}
func (exiting) Unmarshal(mem.BufferSlice, any) error { return nil }
func (exiting) Name() string                         { return "exiting" }

// TestGoexitWhereAHedgeStarts is no answer: it ends the caller's goroutine, as
// it would if no other ran the race.
func TestGoexitWhereAHedgeStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		var ended atomic.Bool
		go func() {
			defer func() { ended.Store(recover() == nil) }()
			type plain struct{ Name string }
			err := s.UnaryClientInterceptor()(t.Context(), method, new(plain), new(plain), nil, play(step{hang: true}).invoke,
				grpc.ForceCodecV2(exiting{copies: new(atomic.Int32)}))
			t.Errorf("answered %v", err)
		}()
		time.Sleep(time.Second)
		if !ended.Load() {
			t.Error("Goexit did not end the caller's goroutine")
		}
	})
}

// TestNoHedgeForACallerWhoHasGone, whatever the code and however late the first
// attempt.
func TestNoHedgeForACallerWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s := newSuite(t, interceptors.WithObserver(events), hedged(interceptors.Hedge{
			MaxAttempts: 3, Delay: 10 * ms, NonFatal: astracodes.Of(codes.Canceled, codes.DeadlineExceeded, codes.Unavailable),
		}))
		heedless := step{err: status.Error(codes.Unavailable, "at last"), do: func(context.Context, any) { time.Sleep(30 * ms) }}
		for _, tc := range []struct {
			first step
			ends  func(ctx context.Context) (context.Context, context.CancelFunc)
			code  codes.Code
		}{
			{step{hang: true}, cancelAfter(5 * ms), codes.Canceled},
			{step{hang: true}, expireAfter(5 * ms), codes.DeadlineExceeded},
			{heedless, cancelAfter(5 * ms), codes.Canceled},
			{heedless, expireAfter(5 * ms), codes.DeadlineExceeded},
		} {
			ctx, cancel := tc.ends(t.Context())
			sc := play(tc.first, take(ms, "b"))
			_, err := question(ctx, s, sc)
			if c := status.Code(err); c != tc.code && c != codes.Unavailable {
				t.Errorf("%v, want %v", err, tc.code)
			}
			wantAttempts(t, sc, 1)
			cancel()
		}
		if got := events.hedges(); len(got) > 0 {
			t.Errorf("got hedges: %v", got)
		}
	})
}

func cancelAfter(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(d, cancel)
		return ctx, cancel
	}
}

func expireAfter(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
}

// TestAllLosersAreCancelledAtOnce, also while the first does not heed it.
func TestAllLosersAreCancelledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms}))
		began := time.Now()
		var cancelled time.Duration
		heedless := step{err: status.Error(codes.Unavailable, "at last"), do: func(context.Context, any) { time.Sleep(time.Second) }}
		third := step{do: func(ctx context.Context, _ any) { <-ctx.Done(); cancelled = time.Since(began) }}
		answer, err := question(t.Context(), s, play(heedless, take(15*ms, "b"), third))
		synctest.Wait()
		if answer != "b" || time.Since(began) != time.Second || cancelled != 25*ms {
			t.Errorf("%q, %v after %v, the third cancelled after %v, want 25 ms", answer, err, time.Since(began), cancelled)
		}
	})
}

// TestPushbackIsExactForHedges: a RetryInfo beside it changes nothing.
func TestPushbackIsExactForHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour}))
		for _, tc := range []struct {
			first step
			took  time.Duration
		}{
			{step{err: withRetryInfo(codes.Unavailable, time.Second), trailer: pushback("20")}, 20 * ms},
			{step{err: withRetryInfo(codes.Unavailable, time.Second), trailer: pushback("0")}, 0},
			{step{err: withRetryInfo(codes.Unavailable, time.Second)}, time.Second},
			{step{err: withRetryInfo(codes.Unavailable, time.Hour)}, 5 * time.Second},
		} {
			began := time.Now()
			answer, err := question(t.Context(), s, play(tc.first, take(0, "b")))
			if took := time.Since(began); answer != "b" || took != tc.took {
				t.Errorf("%q, %v after %v, want b after %v", answer, err, took, tc.took)
			}
		}
	})
}

// TestPanickedHedgeIsReported: once, as lost.
func TestPanickedHedgeIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms}), interceptors.WithObserver(events))
		boom := step{do: func(context.Context, any) { time.Sleep(15 * ms); panic("boom") }}
		func() {
			defer func() {
				if p := recover(); p != "boom" {
					t.Errorf("recovered %v, want boom", p)
				}
			}()
			_, _ = question(t.Context(), s, play(step{hang: true}, boom, step{hang: true}))
		}()
		synctest.Wait()
		if got := events.hedges(); !slices.Equal(got, []string{"2 lost", "3 lost"}) {
			t.Errorf("got %v, want both as lost", got)
		}
		if events.count(observe.AttemptEnd) != 3 || events.count(observe.CallEnd) != 1 {
			t.Errorf("got %v", events.lines())
		}
	})
}

// TestSlowCallThatExpiresBesideAHedge is slow to the breaker, as it would be
// alone.
func TestSlowCallThatExpiresBesideAHedge(t *testing.T) {
	for _, attempts := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			s := newSuite(t, interceptors.WithMethodPolicy(method, interceptors.Policy{
				Hedge: interceptors.Hedge{MaxAttempts: attempts, Delay: 10 * ms},
				Retry: interceptors.Retry{},
				Breaker: interceptors.Breaker{
					SlowCall: 20 * ms, SlowRate: 0.9, MinCalls: 5, FailureRate: 1, Consecutive: 1000,
					Failures: astracodes.Of(codes.DeadlineExceeded),
				},
			}))
			_, _ = question(t.Context(), s, play(take(25*ms, "slow"))) // so that not all fail
			for range 4 {
				ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
				_, err := question(ctx, s, play(step{hang: true}))
				wantCode(t, err, codes.DeadlineExceeded)
				cancel()
			}
			if _, err := question(t.Context(), s, play(step{})); !errors.Is(err, interceptors.ErrBreakerOpen) {
				t.Errorf("%d attempts: %v, want the breaker open: all calls were slow", attempts, err)
			}
		})
	}
}

// labelled is a proto.Message by what it embeds.
type labelled struct {
	*wrapperspb.StringValue
	label string
}

// TestMessagesThatEmbedOne are no longer the caller's type when copied.
func TestMessagesThatEmbedOne(t *testing.T) {
	s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
	one := &labelled{wrapperspb.String("q"), "label"}
	for _, m := range [][2]proto.Message{{one, new(wrapperspb.StringValue)}, {wrapperspb.String("q"), one}} {
		sc := play(step{})
		err := s.UnaryClientInterceptor()(t.Context(), method, m[0], m[1], nil, sc.invoke)
		wantCode(t, err, codes.FailedPrecondition)
		wantAttempts(t, sc, 0)
	}
}

// counting is a codec that counts what it encodes.
type counting struct {
	encoding.CodecV2
	encoded *atomic.Int32
}

func (c counting) Marshal(any) (mem.BufferSlice, error) {
	c.encoded.Add(1)
	return nil, nil
}
func (counting) Unmarshal(mem.BufferSlice, any) error { return nil }
func (counting) Name() string                         { return "counting" }

// TestRefusedCallsCopyNothing: a breaker that is open spares the client, too.
func TestRefusedCallsCopyNothing(t *testing.T) {
	type plain struct{ Name string }
	s := newSuite(t, interceptors.WithMethodPolicy(method, interceptors.Policy{
		Hedge:   interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour},
		Breaker: interceptors.Breaker{Consecutive: 1},
	}))
	var encoded atomic.Int32
	codec := grpc.ForceCodecV2(counting{encoded: &encoded})
	sc := play(failAfter(0, codes.Unavailable, nil))
	for range 2 {
		_ = s.UnaryClientInterceptor()(t.Context(), method, new(plain), new(plain), nil, sc.invoke, codec)
		if n := sc.attempts(); n != 2 || encoded.Load() != 2 {
			t.Fatalf("%d attempts, %d copies, want 2 and 2: no more once the breaker is open", n, encoded.Load())
		}
	}
	// A call that cannot be hedged is no word about the server, nor a probe for ever.
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge:   interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour},
			Breaker: interceptors.Breaker{Consecutive: 1},
		}))
		_, err := question(t.Context(), s, play(failAfter(0, codes.Unavailable, nil)))
		wantCode(t, err, codes.Unavailable)
		time.Sleep(2 * time.Second)
		err = s.UnaryClientInterceptor()(t.Context(), method, plain{}, new(plain), nil, play(step{}).invoke)
		wantCode(t, err, codes.FailedPrecondition)
		if answer, err := question(t.Context(), s, play(take(ms, "a"))); answer != "a" {
			t.Errorf("%q, %v, want a from the probe", answer, err)
		}
	})
}

// TestMethodsPastTheBoundKeepNoLatencies: what nothing is kept for has no
// histogram either, which would be made for each call.
func TestMethodsPastTheBoundKeepNoLatencies(t *testing.T) {
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.DiscardHandler)))
	call, sc := s.UnaryClientInterceptor(), play(step{})
	opt := interceptors.WithCallPolicy(interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2}})
	do := func(i int) {
		sc.opts, sc.began, sc.prev = nil, nil, nil
		if err := call(t.Context(), fmt.Sprintf("/many.Methods/%d", i), nil, nil, nil, sc.invoke, opt); err != nil {
			t.Fatal(err)
		}
	}
	for i := range bound {
		do(i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 1000 {
		do(bound + 1000 + i)
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 1000; each > 6000 {
		t.Errorf("%d bytes a call", each)
	}
}

// TestExpiredHedgesTeachTheLimit: an adaptive limit shrinks when hedged calls
// run into their deadlines, as when others do.
func TestExpiredHedgesTeachTheLimit(t *testing.T) {
	for _, attempts := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			p := interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: attempts, Delay: 20 * ms}}
			if attempts == 1 {
				p = attemptsOf(1)
			}
			p.Budget.Disabled, p.Breaker.Disabled = true, true
			p.Limit = interceptors.Limit{MaxConcurrent: 10, Adaptive: true}
			var endpoint observe.Endpoint
			s := newSuite(t, interceptors.WithMethodPolicy(method, p), interceptors.WithObserver(ask(func(e observe.Endpoint) { endpoint = e })))
			many := func(n int, o step) {
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						for range n {
							ctx, cancel := context.WithTimeout(t.Context(), time.Second)
							_ = callWith(ctx, s, play(o))
							cancel()
						}
					})
				}
				wg.Wait()
			}
			many(100, step{after: 10 * ms})
			many(50, step{do: func(context.Context, any) { time.Sleep(1001 * ms) }}) // so that the deadline is seen first
			time.Sleep(time.Hour)                                                    // until the losers have ended
			if state, ok := endpoint.LimitState(); !ok || state.Max == 10 || state.InFlight != 0 {
				t.Errorf("%d attempts: %+v, want it to shrink", attempts, state)
			}
		})
	}
}

// ownDelay makes a call that is hedged after a delay of the method's own,
// and returns how long that was.
func ownDelay(t *testing.T, s *interceptors.Suite) time.Duration {
	t.Helper()
	sc := play(step{hang: true}, take(0, "b"))
	if answer, err := question(t.Context(), s, sc); answer != "b" {
		t.Fatalf("%q, %v, want b", answer, err)
	}
	return sc.gaps()[0]
}

// TestOwnDelay is not below 1 ms, and no more than one call in twenty is hedged:
// attempts that lost to a hedge count as slow.
func TestOwnDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2}))
		for range 100 {
			_, _ = question(t.Context(), s, play(take(50*time.Microsecond, "a")))
		}
		if d := ownDelay(t, s); d != ms {
			t.Errorf("hedged after %v, want 1 ms at least", d)
		}

		s = newSuite(t, interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge: interceptors.Hedge{MaxAttempts: 2}, Budget: interceptors.Budget{Disabled: true},
		}))
		for i := range 1000 {
			first := take(5*ms, "a")
			if i > 100 && i%5 == 0 {
				first = take(time.Second, "a")
			}
			_, _ = question(t.Context(), s, play(first, take(5*ms, "b")))
		}
		if d := ownDelay(t, s); d < 20*ms {
			t.Errorf("hedged after %v, within which one call in five has no answer", d)
		}
	})
}

// failing is a codec that fails from the second encoding on.
type failing struct {
	encoding.CodecV2
	encoded *atomic.Int32
}

func (c failing) Marshal(any) (mem.BufferSlice, error) {
	if c.encoded.Add(1) > 1 {
		return nil, errors.New("not now")
	}
	return nil, nil
}
func (failing) Unmarshal(mem.BufferSlice, any) error { return nil }
func (failing) Name() string                         { return "failing" }

// TestHedgeThatCannotBeMade is emitted as suppressed, and its token given back.
func TestHedgeThatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type plain struct{ Name string }
		var endpoint observe.Endpoint
		events := &hedgeEvents{}
		s := newSuite(t, interceptors.WithObserver(events, ask(func(e observe.Endpoint) { endpoint = e })), interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge:  interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms},
			Budget: interceptors.Budget{Burst: 5, MinPerSecond: 1e-9},
		}))
		sc := play(failAfter(30*ms, codes.Unavailable, nil))
		meanwhile := 0.0
		time.AfterFunc(20*ms, func() { meanwhile, _ = endpoint.BudgetTokens() })
		err := s.UnaryClientInterceptor()(t.Context(), method, new(plain), new(plain), nil, sc.invoke, grpc.ForceCodecV2(failing{encoded: new(atomic.Int32)}))
		wantCode(t, err, codes.Unavailable)
		wantAttempts(t, sc, 1)
		if got := events.hedges(); !slices.Equal(got, []string{"2 suppressed not_retryable"}) {
			t.Errorf("got %v", got)
		}
		synctest.Wait()
		if tokens, _ := endpoint.BudgetTokens(); tokens < 4.99 || meanwhile < 4.99 {
			t.Errorf("%v tokens, want 5; %v meanwhile", tokens, meanwhile)
		}
	})
}

// TestWhyHedgedCallsFail: the reason that is emitted, once, and the error.
func TestWhyHedgedCallsFail(t *testing.T) {
	unavailable := failAfter(ms, codes.Unavailable, nil)
	waits := context.WithCancel
	for _, tc := range []struct {
		name   string
		steps  []step
		caller func(context.Context) (context.Context, context.CancelFunc)
		burst  float64
		code   codes.Code
		events []string // of why there was no further attempt, and of hedges
	}{
		{"fatal", []step{failAfter(ms, codes.NotFound, nil)}, waits, 5, codes.NotFound, []string{"not_retryable"}},
		{"used up", []step{unavailable}, waits, 5, codes.Unavailable, []string{"2 lost", "3 lost"}},
		{"budget", []step{unavailable}, waits, 1, codes.Unavailable, []string{"2 lost", "3 suppressed", "budget"}},
		{"too late", []step{failAfter(ms, codes.Unavailable, pushback("50"))}, expireAfter(20 * ms), 5, codes.Unavailable, []string{"deadline"}},
		{"pushed back", []step{take(30*ms, "a"), failAfter(ms, codes.Unavailable, pushback("-1"))}, expireAfter(20 * ms), 5, codes.DeadlineExceeded, []string{"2 lost", "3 suppressed", "deadline"}},
		{"pushed back, then failed", []step{failAfter(30*ms, codes.Unavailable, nil), failAfter(ms, codes.Unavailable, pushback("-1"))}, waits, 5, codes.Unavailable, []string{"2 lost", "3 suppressed", "pushback"}},
		{"expired", []step{{hang: true}}, expireAfter(15 * ms), 5, codes.DeadlineExceeded, []string{"deadline", "2 lost"}},
		{"cancelled", []step{{hang: true}}, cancelAfter(15 * ms), 5, codes.Canceled, []string{"2 lost"}},
		{"cancelled between", []step{failAfter(ms, codes.Unavailable, pushback("50"))}, cancelAfter(20 * ms), 5, codes.Canceled, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				events := &hedgeEvents{}
				s := newSuite(t, interceptors.WithObserver(events), interceptors.WithMethodPolicy(method, interceptors.Policy{
					Hedge:  interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms},
					Budget: interceptors.Budget{Burst: tc.burst, MinPerSecond: 1e-9},
				}))
				ctx, cancel := tc.caller(t.Context())
				defer cancel()
				_, err := question(ctx, s, play(tc.steps...))
				wantCode(t, err, tc.code)
				if tc.name == "cancelled between" && (!errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "scripted")) {
					t.Errorf("%v, want both the context's error and the failure", err)
				}
				var got []string
				for _, e := range events.got {
					switch e.Kind {
					case observe.Suppressed:
						got = append(got, e.Reason.String())
					case observe.Hedged:
						got = append(got, fmt.Sprintf("%d %v", e.Attempt, e.Hedge))
					}
				}
				slices.Sort(got)
				slices.Sort(tc.events)
				if !slices.Equal(got, tc.events) {
					t.Errorf("got %v, want %v", got, tc.events)
				}
			})
		})
	}
}

// TestWhatGivenUpAttemptsCameTo: what ended the call.
func TestWhatGivenUpAttemptsCameTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s := newSuite(t, interceptors.WithObserver(events), hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		check := func(want ...string) {
			t.Helper()
			if got := events.lines(); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			events.got = nil
			time.Sleep(time.Hour)
		}
		heedless := step{do: func(context.Context, any) { time.Sleep(time.Second) }}
		ctx, cancel := context.WithTimeout(t.Context(), 15*ms)
		defer cancel()
		_, err := question(ctx, s, play(heedless))
		wantCode(t, err, codes.DeadlineExceeded)
		check("attempt 1 first DeadlineExceeded", "attempt 2 hedge DeadlineExceeded", "2 lost", "call 2 failed")

		boom := step{do: func(context.Context, any) { time.Sleep(5 * ms); panic("boom") }}
		apart(func() { _, _ = question(t.Context(), s, play(step{hang: true}, boom)) })
		check("attempt 2 hedge Unknown", "2 lost", "attempt 1 first Unknown", "call 2 failed")

		apart(func() { _, _ = question(t.Context(), s, play(boom)) })
		check("attempt 1 first Unknown", "call 1 failed")
	})
}

// TestFailedAttemptsAreLetGo: their contexts end when they do, not when the call
// does.
func TestFailedAttemptsAreLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: time.Hour}))
		var contexts []context.Context
		fail := step{err: fails(codes.Unavailable).err, do: func(ctx context.Context, _ any) { contexts = append(contexts, ctx) }}
		last := take(ms, "c")
		answer := last.do
		last.do = func(ctx context.Context, reply any) {
			for i, ctx := range contexts {
				if ctx.Err() == nil {
					t.Errorf("the context of attempt %d lives on", i+1)
				}
			}
			answer(ctx, reply)
		}
		if answer, err := question(t.Context(), s, play(fail, fail, last)); answer != "c" || len(contexts) != 2 {
			t.Errorf("%q, %v after %d failures", answer, err, len(contexts))
		}
	})
}

// TestAllKindsOfMessages: the reply of a hedge is the caller's, whole, and
// nothing that the first attempt left, whatever is in it.
func TestAllKindsOfMessages(t *testing.T) {
	record, err := structpb.NewStruct(map[string]any{"a": 1.0, "b": []any{"x", nil, map[string]any{"q": true}}})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := anypb.New(record)
	if err != nil {
		t.Fatal(err)
	}
	strange := &descriptorpb.FileDescriptorProto{Name: proto.String("a"), Dependency: []string{"b"}, Options: &descriptorpb.FileOptions{}}
	strange.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 7))
	for _, m := range []proto.Message{record, packed, strange, &descriptorpb.MethodOptions{Deprecated: proto.Bool(false)}, new(structpb.Struct)} {
		for name, empty := range map[string]func() proto.Message{
			"generated": func() proto.Message { return m.ProtoReflect().New().Interface() },
			"dynamic":   func() proto.Message { return dynamicpb.NewMessage(m.ProtoReflect().Descriptor()) },
		} {
			synctest.Test(t, func(t *testing.T) {
				s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
				data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				req, reply := empty(), empty()
				var attempts atomic.Int32
				if err := proto.Unmarshal(data, req); err != nil {
					t.Fatal(err)
				}
				err = s.UnaryClientInterceptor()(t.Context(), method, req, reply, nil,
					func(ctx context.Context, _ string, q, r any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
						if attempts.Add(1) == 1 {
							r.(proto.Message).ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9998, protowire.VarintType), 1))
							<-ctx.Done()
							return ctx.Err()
						}
						if reflect.TypeOf(q) != reflect.TypeOf(req) || !proto.Equal(q.(proto.Message), req) {
							t.Errorf("%s %T: asked %v", name, m, q)
						}
						return proto.Unmarshal(data, r.(proto.Message))
					})
				got, _ := proto.MarshalOptions{Deterministic: true}.Marshal(reply)
				if err != nil || !bytes.Equal(got, data) || attempts.Load() != 2 {
					t.Errorf("%s %T: %v, answered %v", name, m, err, reply)
				}
			})
		}
	}
	// What the hedge does not set, an attempt that failed before it may have.
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		reply := new(wrapperspb.StringValue)
		var attempts atomic.Int32
		err := s.UnaryClientInterceptor()(t.Context(), method, wrapperspb.String("q"), reply, nil,
			func(_ context.Context, _ string, _, r any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				if attempts.Add(1) == 1 {
					r.(*wrapperspb.StringValue).Value = "left"
					return fails(codes.Unavailable).err
				}
				return nil
			})
		if err != nil || reply.GetValue() != "" {
			t.Errorf("%v, answered %q, want nothing", err, reply.GetValue())
		}
	})
}

// TestHedgesOfBytes: a request of bytes is copied too.
func TestHedgesOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
		var attempts atomic.Int32
		asked := ""
		err := s.UnaryClientInterceptor()(t.Context(), method, []byte("question"), nil, nil,
			func(_ context.Context, _ string, q, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				if attempts.Add(1) == 1 {
					clear(q.([]byte))
					return fails(codes.Unavailable).err
				}
				asked = string(q.([]byte))
				return nil
			})
		if err != nil || asked != "question" {
			t.Errorf("%v, asked %q", err, asked)
		}
	})
}

// TestContextsOfAttemptsEndWithTheirCall, whichever attempt wins, be it with an answer or
// a failure: what an interceptor beneath has started with one must not outlive it.
func TestContextsOfAttemptsEndWithTheirCall(t *testing.T) {
	for name, steps := range map[string][]step{
		"the first wins":     {{after: 5 * ms}},
		"the second wins":    {{hang: true}, {after: 5 * ms}},
		"both fail":          {fails(codes.Unavailable), fails(codes.Unavailable)},
		"a failure is final": {fails(codes.InvalidArgument)},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}))
			var mu sync.Mutex
			var contexts []context.Context
			script := play(steps...)
			_ = s.UnaryClientInterceptor()(t.Context(), method, wrapperspb.String("q"), new(wrapperspb.StringValue), nil,
				func(ctx context.Context, m string, q, a any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
					mu.Lock()
					contexts = append(contexts, ctx)
					mu.Unlock()
					return script.invoke(ctx, m, q, a, cc, opts...)
				})
			synctest.Wait()
			if len(contexts) != len(steps) {
				t.Errorf("%s: %d attempts, want %d", name, len(contexts), len(steps))
			}
			for i, ctx := range contexts {
				if ctx.Err() == nil {
					t.Errorf("%s: the context of attempt %d goes on", name, i+1)
				}
			}
		})
	}
}

// TestNothingIsLoggedOfLosers, whatever they come to when nobody waits for them any more.
func TestNothingIsLoggedOfLosers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for _, err := range []error{nil, fails(codes.Unavailable).err} {
			heedless := step{err: err, do: func(context.Context, any) { time.Sleep(time.Second) }}
			if answer, err := question(t.Context(), s, play(take(15*ms, "b"), heedless)); answer != "b" {
				t.Errorf("%q, %v", answer, err)
			}
			time.Sleep(time.Minute)
		}
		if got := log.String(); got != "" {
			t.Errorf("logged %s", got)
		}
	})
}
