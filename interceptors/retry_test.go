package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

const ms = time.Millisecond

func TestDefaultSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 8, Backoff: noJitter}}))
		sc := play(fails(codes.Unavailable))
		wantCode(t, call(s, sc), codes.Unavailable)
		want := []time.Duration{500 * ms, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second, 8 * time.Second}
		if got := sc.gaps(); !slices.Equal(got, want) {
			t.Fatalf("delays %v, want %v", got, want)
		}
	})
}

func TestDefaultsExhaustWithinJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		lengths := map[time.Duration]bool{}
		for range 6 { // a seventh failure would open the breaker
			sc := play(fails(codes.Unavailable))
			start := time.Now()
			wantCode(t, call(s, sc), codes.Unavailable)
			wantAttempts(t, sc, 3)
			took := time.Since(start)
			if took < 750*ms || took >= 2250*ms {
				t.Fatalf("took %v, want 1.5 s ± half", took)
			}
			lengths[took] = true
		}
		if len(lengths) < 2 {
			t.Fatal("no jitter")
		}
	})
}

func TestLastErrorIsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			steps []step
			want  int // attempts
		}{
			"exhausted":     {[]step{fails(codes.Unavailable), fails(codes.DeadlineExceeded), {err: fmt.Errorf("wrapped: %w", status.Error(codes.Unavailable, "the last"))}}, 3},
			"not retryable": {[]step{fails(codes.Unavailable), fails(codes.NotFound)}, 2},
			"no status":     {[]step{{err: errors.New("from an interceptor beneath")}}, 1},
		} {
			s := newSuite(t)
			sc := play(tc.steps...)
			if got, last := call(s, sc), tc.steps[len(tc.steps)-1].err; got != last {
				t.Errorf("%s: got %v, want the last attempt's error itself, %v", name, got, last)
			}
			wantAttempts(t, sc, tc.want)
		}
	})
}

func TestSavedByRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		sc := play(fails(codes.Unavailable), fails(codes.Unavailable), step{})
		if err := call(s, sc); err != nil {
			t.Fatal(err)
		}
		if want := []string{"", "1", "2"}; !slices.Equal(sc.prev, want) {
			t.Fatalf("grpc-previous-rpc-attempts %q, want %q", sc.prev, want)
		}
	})
}

func TestServerSaysWhen(t *testing.T) {
	policy := interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}}
	for _, tc := range []struct {
		name  string
		steps []step
		gaps  []time.Duration
	}{
		{"pushback is exact", []step{{err: fails(codes.Unavailable).err, trailer: pushback("1500")}, {}}, []time.Duration{1500 * ms}},
		{"pushback 0", []step{{err: fails(codes.Unavailable).err, trailer: pushback("0")}, {}}, []time.Duration{0}},
		{"the schedule starts over", []step{{err: fails(codes.Unavailable).err, trailer: pushback("7")}, fails(codes.Unavailable), {}}, []time.Duration{7 * ms, 500 * ms}},
		{"negative pushback", []step{{err: fails(codes.Unavailable).err, trailer: pushback("-1")}}, nil},
		{"overflowing pushback", []step{{err: fails(codes.Unavailable).err, trailer: pushback("9223372036855")}}, nil},
		{"repeated pushback", []step{{err: fails(codes.Unavailable).err, trailer: pushback("1", "1")}}, nil},
		{"not retryable", []step{{err: fails(codes.Internal).err, trailer: pushback("1")}}, nil},
		{"resource exhausted", []step{fails(codes.ResourceExhausted)}, nil},
		{"resource exhausted with pushback", []step{{err: fails(codes.ResourceExhausted).err, trailer: pushback("5")}, {}}, []time.Duration{5 * ms}},
		{"resource exhausted with hint", []step{{err: withRetryInfo(codes.ResourceExhausted, 3*time.Second)}, {}}, []time.Duration{3 * time.Second}},
		{"hint is clamped", []step{{err: withRetryInfo(codes.Unavailable, time.Hour)}, {}}, []time.Duration{5500 * ms}},
		{"hint shorter than the delay", []step{{err: withRetryInfo(codes.Unavailable, ms)}, {}}, []time.Duration{500 * ms}},
		{"pushback is not the attempt's before", []step{{err: fails(codes.Unavailable).err, trailer: pushback("5")}, fails(codes.Unavailable), {}}, []time.Duration{5 * ms, 500 * ms}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSuite(t, interceptors.WithPolicy(policy))
				sc := play(tc.steps...)
				if got, want := call(s, sc), tc.steps[len(tc.steps)-1].err; got != want {
					t.Errorf("error %v, want %v", got, want)
				}
				if got := sc.gaps(); !slices.Equal(got, tc.gaps) {
					t.Errorf("delays %v, want %v", got, tc.gaps)
				}
			})
		})
	}
}

func TestPerCodeBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{
			Codes:   astracodes.Of(codes.Unavailable, codes.Aborted),
			Backoff: noJitter,
			PerCode: map[codes.Code]jitter.Backoff{codes.Aborted: {Base: 3 * ms, Jitter: jitter.None}},
		}}))
		sc := play(fails(codes.Aborted), fails(codes.Unavailable), step{})
		if err := call(s, sc); err != nil {
			t.Fatal(err)
		}
		if got, want := sc.gaps(), []time.Duration{3 * ms, time.Second}; !slices.Equal(got, want) {
			t.Fatalf("delays %v, want %v", got, want)
		}
	})
}

func TestNoBackoffPastTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}}))
		ctx, cancel := context.WithTimeout(context.Background(), 1400*ms)
		defer cancel()
		sc := play(fails(codes.Unavailable))
		start := time.Now()
		if err := callWith(ctx, s, sc); err != sc.steps[0].err {
			t.Fatalf("error %v, want the real one", err)
		}
		wantAttempts(t, sc, 2) // a third would begin at 1.5 s
		if took := time.Since(start); took != 500*ms {
			t.Fatalf("took %v: it waited for nothing", took)
		}
	})
}

func TestAttemptTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{
			AttemptTimeout: 100 * ms,
			Retry:          interceptors.Retry{Backoff: noJitter},
		}))
		sc := play(step{hang: true}, step{hang: true}, step{after: 99 * ms})
		if err := call(s, sc); err != nil {
			t.Fatal(err)
		}
		if got, want := sc.gaps(), []time.Duration{600 * ms, 1100 * ms}; !slices.Equal(got, want) {
			t.Fatalf("delays %v, want %v", got, want)
		}
	})
}

func TestTimeoutBoundsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Timeout: 2 * time.Second, AttemptTimeout: time.Second}))
		sc := play(step{hang: true})
		start := time.Now()
		wantCode(t, call(s, sc), codes.DeadlineExceeded)
		if took := time.Since(start); took > 2*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func TestCallerCancels(t *testing.T) {
	t.Run("in an attempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSuite(t)
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			sc := play(step{hang: true})
			wantCode(t, callWith(ctx, s, sc), codes.Canceled)
			wantAttempts(t, sc, 1)
		})
	})
	t.Run("in a backoff", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}}))
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(200*ms, cancel)
			sc := play(fails(codes.Unavailable))
			start := time.Now()
			err := callWith(ctx, s, sc)
			wantCode(t, err, codes.Canceled)
			if !errors.Is(err, context.Canceled) || !errors.Is(err, sc.steps[0].err) {
				t.Errorf("%v names neither the cancellation nor the failure before it", err)
			}
			if took := time.Since(start); took != 200*ms {
				t.Errorf("returned after %v", took)
			}
			wantAttempts(t, sc, 1)
		})
	})
	t.Run("before the call", func(t *testing.T) {
		s := newSuite(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		sc := play(step{})
		err := callWith(ctx, s, sc)
		wantCode(t, err, codes.Canceled)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v is not the context's error", err)
		}
		wantAttempts(t, sc, 0)
	})
}

// TestServersOwnCancelled: the code alone is not the caller's doing.
func TestServersOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		sc := play(fails(codes.DeadlineExceeded), step{})
		if err := call(s, sc); err != nil {
			t.Fatalf("a server's DEADLINE_EXCEEDED was taken for the caller's: %v", err)
		}
		sc = play(step{err: context.DeadlineExceeded}, step{})
		if err := call(s, sc); err != nil {
			t.Fatalf("a bare context error from beneath was not retried: %v", err)
		}
	})
}

func TestCallOptionsOfOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		sc := play(fails(codes.Unavailable))
		_ = call(s, sc, interceptors.NoRetry())
		wantAttempts(t, sc, 1)

		five := interceptors.WithCallPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 5}})
		sc = play(fails(codes.Unavailable))
		_ = call(s, sc, five)
		wantAttempts(t, sc, 5)

		sc = play(fails(codes.Unavailable))
		_ = call(s, sc, five, interceptors.NoRetry())
		wantAttempts(t, sc, 1)

		sc = play(step{})
		err := call(s, sc, interceptors.WithCallPolicy(interceptors.Policy{Timeout: -1, Retry: interceptors.Retry{MaxAttempts: -1}}))
		wantCode(t, err, codes.InvalidArgument)
		wantFault(t, err, "call policy: Timeout: -1ns")
		wantFault(t, err, "call policy: Retry.MaxAttempts: -1")
		wantAttempts(t, sc, 0)
	})
}

// TestAttemptsSeeTheCallersOptions: what has no effect on the caller's side
// passes as it is, to each attempt.
func TestAttemptsSeeTheCallersOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		sc := play(fails(codes.Unavailable), step{})
		if err := call(s, sc, grpc.WaitForReady(true), grpc.CallContentSubtype("proto")); err != nil {
			t.Fatal(err)
		}
		for i, opts := range sc.opts {
			if !slices.ContainsFunc(opts, func(o grpc.CallOption) bool { return o == grpc.WaitForReady(true) }) {
				t.Errorf("attempt %d lacks WaitForReady: %v", i+1, opts)
			}
		}
	})
}

func TestOnlyTheLastAttemptIsVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		first := step{err: status.Error(codes.Unavailable, ""), header: metadata.Pairs("h", "1"), trailer: metadata.Pairs("t", "1")}
		for _, tc := range []struct {
			name            string
			last            step
			header, trailer metadata.MD
		}{
			{"the last one's", step{header: metadata.Pairs("h", "2"), trailer: metadata.Pairs("t", "2")}, metadata.Pairs("h", "2"), metadata.Pairs("t", "2")},
			{"none, where it had none", step{}, nil, nil},
		} {
			var header, trailer, again metadata.MD
			var ends []error
			err := call(s, play(first, tc.last), grpc.Header(&header), grpc.Trailer(&trailer), grpc.Trailer(&again),
				grpc.OnFinish(func(err error) {
					ends = append(ends, err)
					if fmt.Sprint(header) != fmt.Sprint(tc.header) {
						t.Errorf("%s: OnFinish came before the header", tc.name)
					}
				}))
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(header, trailer, again) != fmt.Sprint(tc.header, tc.trailer, tc.trailer) {
				t.Errorf("%s: header %v, trailers %v, %v", tc.name, header, trailer, again)
			}
			if len(ends) != 1 || ends[0] != nil {
				t.Errorf("%s: OnFinish got %v, want once nil", tc.name, ends)
			}
		}
	})
}

func TestOnFinishOnFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		var ends []error
		count := grpc.OnFinish(func(err error) { ends = append(ends, err) })
		err := call(s, play(fails(codes.Unavailable)), count)
		if len(ends) != 1 || ends[0] != err {
			t.Fatalf("OnFinish got %v, want once %v", ends, err)
		}
		ends = nil
		func() {
			defer func() { _ = recover() }()
			_ = call(s, play(step{do: func(context.Context, any) { panic("beneath") }}), count)
		}()
		if len(ends) != 1 || ends[0] == nil {
			t.Fatalf("after a panic OnFinish got %v", ends)
		}
	})
}

func TestOnFinishThatPanics(t *testing.T) {
	s := newSuite(t)
	called := 0
	defer func() {
		if recover() == nil || called != 1 {
			t.Errorf("called %d times", called)
		}
	}()
	_ = call(s, play(step{}), grpc.OnFinish(func(error) { called++; panic("in OnFinish") }))
}

func TestSuccessDoesNotAllocate(t *testing.T) {
	s := newSuite(t)
	interceptor := s.UnaryClientInterceptor()
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
	if n := testing.AllocsPerRun(1000, func() {
		_ = interceptor(context.Background(), method, nil, nil, nil, invoke)
	}); n >= 1 && !raceEnabled { // the race detector empties pools at random
		t.Errorf("%v allocations a call", n)
	}
}

// TestReplyOfAFailedAttempt does not add to the next one's.
func TestReplyOfAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		merge := func(path string) func(context.Context, any) {
			return func(_ context.Context, reply any) {
				m := reply.(*fieldmaskpb.FieldMask)
				m.Paths = append(m.Paths, path)
			}
		}
		sc := play(step{err: fails(codes.Unavailable).err, do: merge("of the first")}, step{do: merge("of the second")})
		reply := &fieldmaskpb.FieldMask{}
		if err := s.UnaryClientInterceptor()(context.Background(), method, nil, reply, nil, sc.invoke); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(reply.Paths) != "[of the second]" {
			t.Errorf("reply %v", reply.Paths)
		}
	})
}

func TestOddErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		for range 7 {
			_ = call(s, play(step{err: status.Error(4711, "")}))
		}
		if !refused(s, play(step{})) {
			t.Error("a code that gRPC does not know is UNKNOWN, and a failure")
		}
	})
}
