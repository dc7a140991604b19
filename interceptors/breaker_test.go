package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// onlyBreaker is a policy in which nothing else gets in the way.
func onlyBreaker(b interceptors.Breaker) interceptors.Policy {
	return interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: b}
}

// trip fails calls until the breaker refuses one, and returns that error.
func trip(t *testing.T, s *interceptors.Suite, limit int) error {
	t.Helper()
	down := play(fails(codes.Unavailable))
	for range limit {
		if err := call(s, down); errors.Is(err, interceptors.ErrBreakerOpen) {
			return err
		}
	}
	t.Fatalf("still closed after %d failures", limit)
	return nil
}

func refused(s *interceptors.Suite, sc *script) bool {
	return errors.Is(call(s, sc), interceptors.ErrBreakerOpen)
}

func TestBreakerOpenError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		err := trip(t, s, 8)
		wantCode(t, err, codes.Unavailable)
		wantCode(t, fmt.Errorf("wrapped: %w", err), codes.Unavailable)
		var info *errdetails.ErrorInfo
		var retry *errdetails.RetryInfo
		for _, d := range status.Convert(err).Details() {
			switch d := d.(type) {
			case *errdetails.ErrorInfo:
				info = d
			case *errdetails.RetryInfo:
				retry = d
			}
		}
		if info.GetDomain() != "astra" || info.GetReason() != "BREAKER_OPEN" || info.GetMetadata()["method"] != method {
			t.Errorf("ErrorInfo %v", info)
		}
		rest := retry.GetRetryDelay().AsDuration()
		if rest < 800*ms || rest > 1200*ms {
			t.Errorf("RetryInfo says %v, want the open time, 1 s ± 20 %%", rest)
		}
		time.Sleep(rest - 1)
		if !refused(s, play(step{})) {
			t.Error("a call passed before RetryInfo's time")
		}
		time.Sleep(1)
		if err := call(s, play(step{})); err != nil {
			t.Errorf("refused after RetryInfo's time: %v", err)
		}
	})
}

func TestBreakerLifeCycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		trip(t, s, 8)
		down := play(fails(codes.Unavailable))
		for i, open := range []time.Duration{1, 2, 4, 8, 16, 32, 60} {
			open *= time.Second
			time.Sleep(open * 79 / 100)
			if !refused(s, down) {
				t.Fatalf("opening %d: a call passed long before %v", i+1, open)
			}
			time.Sleep(open * 42 / 100)
			if refused(s, down) {
				t.Fatalf("opening %d: no probe long after %v", i+1, open)
			}
			if !refused(s, down) {
				t.Fatalf("opening %d: a failed probe did not open it again", i+1)
			}
		}
		wantAttempts(t, down, 7)

		time.Sleep(72 * time.Second)
		if err := call(s, play(step{})); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			wantCode(t, call(s, down), codes.Unavailable)
		}
		trip(t, s, 2)
		time.Sleep(1200 * ms)
		if refused(s, play(step{})) {
			t.Fatal("after a recovery the open time did not start over")
		}
	})
}

// TestBusyClientProbesEarly: at 280 calls a second a probe comes every moment, so
// that the end of an outage is noticed long before the open time is over.
func TestBusyClientProbesEarly(t *testing.T) {
	for share, tc := range map[float64]struct {
		attempts int           // of the 1400 calls while down
		back     time.Duration // at most
	}{
		0:    {50, 130 * ms}, // the default; a tenth of OpenFor apart
		0.01: {13, 400 * ms}, // one after a hundred calls
		// After 1 s, 2 s and 4 s more, each 20 % longer at most: 8.4 s, of which
		// the server was down for 5; then the next call.
		1e-9: {2, 3400*ms + time.Second/280},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{ProbeShare: share})))
			trip(t, s, 8)
			down, up := play(fails(codes.Unavailable)), play(step{})
			for range 1400 {
				time.Sleep(time.Second / 280)
				_ = call(s, down)
			}
			if n := down.attempts(); n < tc.attempts*9/10 || n > tc.attempts*11/10+1 {
				t.Errorf("share %v: %d attempts, want about %d", share, n, tc.attempts)
			}
			back := time.Now()
			for refused(s, up) {
				time.Sleep(time.Second / 280)
			}
			if took := time.Since(back); took > tc.back {
				t.Errorf("share %v: noticed after %v that the server is back, want %v at most", share, took, tc.back)
			}
		})
	}
}

// TestEarlyProbesAreNotRetried: calls that were refused have paid for one
// attempt. After the open time a probe is retried like any call.
func TestEarlyProbesAreNotRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		s := newSuite(t, interceptors.WithObserver(inline{seen}), interceptors.WithPolicy(interceptors.Policy{
			Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: ms, Jitter: jitter.None}},
		}))
		down := play(fails(codes.Unavailable))
		for range 7 {
			_ = call(s, down)
		}
		wantAttempts(t, down, 21)
		for range 100 {
			if !refused(s, down) {
				t.Fatal("a call passed")
			}
		}
		time.Sleep(200 * ms)
		probe := play(fails(codes.Unavailable), step{})
		if err := call(s, probe); err != probe.steps[0].err {
			t.Errorf("error %v, want its attempt's own", err)
		}
		wantAttempts(t, probe, 1)
		if story := seen.story(); !strings.Contains(story, "suppressed breaker") || !strings.Contains(story, "enough_refused") {
			t.Error(story)
		}

		time.Sleep(1200 * ms)
		if err := call(s, play(fails(codes.Unavailable), step{})); err != nil {
			t.Errorf("a probe after the open time was not retried: %v", err)
		}
		if refused(s, play(step{})) {
			t.Error("a probe saved by a retry did not close it")
		}
	})
}

// TestProbesInFlight: while half-open never more than Probes calls run, and a
// hung one's slot is another's after its time.
func TestProbesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Probes: 2, ProbeShare: 1e-9})))
		trip(t, s, 8)
		time.Sleep(1200 * ms)
		ctx, cancel := context.WithCancel(context.Background())
		hung := play(step{hang: true})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _ = callWith(ctx, s, hung) })
		}
		synctest.Wait()
		wantAttempts(t, hung, 2)
		time.Sleep(10*time.Second - 1)
		if !refused(s, play(step{})) {
			t.Error("a third probe passed")
		}
		time.Sleep(1)
		for range 2 {
			if err := call(s, play(step{})); err != nil {
				t.Errorf("hung probes hold their slots: %v", err)
			}
		}
		cancel()
		wg.Wait()
		if err := call(s, play(step{})); err != nil {
			t.Errorf("not closed: %v", err)
		}
	})
}

func TestNeutralOutcomes(t *testing.T) {
	cancelled := func(ctx context.Context, s *interceptors.Suite) error {
		ctx, cancel := context.WithCancel(ctx)
		defer time.AfterFunc(ms, cancel).Stop()
		return callWith(ctx, s, play(step{hang: true}))
	}
	gaveUp := func(ctx context.Context, s *interceptors.Suite) error {
		ctx, cancel := context.WithCancel(ctx)
		defer time.AfterFunc(ms, cancel).Stop()
		return callWith(ctx, s, play(fails(codes.Unavailable)), interceptors.WithCallPolicy(interceptors.Policy{}))
	}
	expired := func(ctx context.Context, s *interceptors.Suite) error {
		ctx, cancel := context.WithTimeout(ctx, -1)
		defer cancel()
		return callWith(ctx, s, play(step{}))
	}
	code := func(c codes.Code) func(context.Context, *interceptors.Suite) error {
		return func(ctx context.Context, s *interceptors.Suite) error { return callWith(ctx, s, play(fails(c))) }
	}
	late := func(ctx context.Context, s *interceptors.Suite) error {
		ctx, cancel := context.WithTimeout(ctx, ms)
		defer cancel()
		return callWith(ctx, s, play(step{hang: true}))
	}
	for name, tc := range map[string]struct {
		call  func(context.Context, *interceptors.Suite) error
		opens bool
	}{
		"cancelled by the caller":   {cancelled, false},
		"cancelled in a backoff":    {gaveUp, false},
		"over before it began":      {expired, false},
		"NOT_FOUND":                 {code(codes.NotFound), false},
		"CANCELLED by the server":   {code(codes.Canceled), false},
		"RESOURCE_EXHAUSTED":        {code(codes.ResourceExhausted), false},
		"INTERNAL":                  {code(codes.Internal), true},
		"the caller's own deadline": {late, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
				for range 50 {
					_ = tc.call(t.Context(), s)
				}
				if got := refused(s, play(step{})); got != tc.opens {
					t.Fatalf("open: %v, want %v", got, tc.opens)
				}
				if tc.opens {
					return
				}
				// A neutral probe frees its slot.
				trip(t, s, 8)
				time.Sleep(1200 * ms)
				_ = tc.call(t.Context(), s)
				if refused(s, play(step{})) {
					t.Fatal("a neutral probe kept its slot")
				}
			})
		})
	}
}

func TestRatesAndOwnFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t,
			interceptors.WithMethodPolicy("/helloworld.Greeter/*", onlyBreaker(interceptors.Breaker{
				Failures: astracodes.Of(codes.NotFound), FailureRate: 0.25, MinCalls: 8, Consecutive: 100, Window: time.Second,
			})))
		missing, up := play(fails(codes.NotFound)), play(step{})
		for range 20 {
			_ = call(s, up)
			wantCode(t, call(s, play(fails(codes.Unavailable))), codes.Unavailable)
		}
		time.Sleep(1100 * ms)
		for range 6 {
			_ = call(s, up)
		}
		_ = call(s, missing)
		if refused(s, up) {
			t.Fatal("opened at 1 of 7")
		}
		_ = call(s, missing)
		_ = call(s, missing)
		if !refused(s, up) {
			t.Fatal("closed at 3 of 10 within the window, more than a quarter")
		}
	})
}

func TestSlowCallsTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{SlowCall: 100 * ms, MinCalls: 4})))
		for range 4 {
			if err := call(s, play(step{after: 99 * ms})); err != nil {
				t.Fatal(err)
			}
		}
		for range 4 {
			if err := call(s, play(step{after: 100 * ms})); err != nil {
				t.Fatal(err)
			}
		}
		if !refused(s, play(step{})) {
			t.Fatal("half of the calls were slow")
		}
		// A slow probe is not a recovery.
		time.Sleep(1200 * ms)
		_ = call(s, play(step{after: time.Second}))
		if !refused(s, play(step{})) {
			t.Fatal("a slow probe closed it")
		}
	})
}

// TestOneCallOneOutcome: three attempts that fail are one failure, and a call
// saved by a retry is a success.
func TestOneCallOneOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		down := play(fails(codes.Unavailable))
		for range 6 {
			_ = call(s, down)
		}
		wantAttempts(t, down, 18)
		if err := call(s, play(fails(codes.Unavailable), step{})); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			_ = call(s, down)
		}
		wantAttempts(t, down, 36)
		_ = call(s, down)
		if !refused(s, down) {
			t.Fatal("seven calls in a row failed")
		}
	})
}

// TestRetryStopsWhenTheBreakerOpens: a call in its backoff learns that others
// have found the server dead, returns its own error, and gives its token back.
func TestRetryStopsWhenTheBreakerOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{
			Retry:  interceptors.Retry{Backoff: jitter.Backoff{Jitter: jitter.None}},
			Budget: interceptors.Budget{Burst: 1, MinPerSecond: 1e-9},
		}))
		waiting := play(fails(codes.Unavailable))
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := call(s, waiting); err != waiting.steps[0].err {
				t.Errorf("error %v, want its own", err)
			}
		})
		synctest.Wait()
		for range 7 {
			_ = call(s, play(fails(codes.Unavailable)), interceptors.NoRetry())
		}
		wg.Wait()
		wantAttempts(t, waiting, 1)

		time.Sleep(time.Minute)
		_ = call(s, play(step{})) // closes it, and earns a fifth of a token
		saved := play(fails(codes.Unavailable), step{})
		if err := call(s, saved); err != nil {
			t.Errorf("the token of the retry that was not made is lost: %v", err)
		}
	})
}

// TestNoBackoffWhenTheBreakerHasOpened: a call whose attempt fails after others
// have opened the breaker does not even begin to wait.
func TestNoBackoffWhenTheBreakerHasOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		s := newSuite(t, interceptors.WithObserver(inline{seen}))
		slow := play(step{err: fails(codes.Unavailable).err, after: time.Second})
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := call(s, slow); err != slow.steps[0].err {
				t.Errorf("error %v, want its own", err)
			}
		})
		synctest.Wait()
		for range 7 {
			_ = call(s, play(fails(codes.Unavailable)), interceptors.NoRetry())
		}
		wg.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("returned after %v", took)
		}
		if story := seen.story(); !strings.Contains(story, "suppressed breaker") {
			t.Error(story)
		}
	})
}

// TestLongProbes: where calls may take longer than 10 s, so may probes.
func TestLongProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := onlyBreaker(interceptors.Breaker{})
		p.Timeout = time.Minute
		s := newSuite(t, interceptors.WithPolicy(p))
		trip(t, s, 8)
		time.Sleep(1200 * ms)
		var wg sync.WaitGroup
		wg.Go(func() { _ = call(s, play(step{after: 59 * time.Second})) })
		time.Sleep(58 * time.Second)
		if !refused(s, play(step{})) {
			t.Error("a second probe passed while the first had time")
		}
		wg.Wait()
		if refused(s, play(step{})) {
			t.Error("the probe's success did not close it")
		}
	})
}

func TestBreakersAreApart(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
	invoke := func(method string, err error) error {
		return s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil, play(step{err: err}).invoke)
	}
	for range 8 {
		_ = invoke("/a.B/C", status.Error(codes.Unavailable, ""))
	}
	if err := invoke("/a.B/C", nil); !errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Fatalf("not open: %v", err)
	}
	if err := invoke("/a.B/D", nil); err != nil {
		t.Fatalf("another method's calls are refused: %v", err)
	}
}

func TestBreakerOff(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Disabled: true})))
	down := play(fails(codes.Unavailable))
	for range 100 {
		_ = call(s, down)
	}
	wantAttempts(t, down, 100)

	off := interceptors.WithCallPolicy(onlyBreaker(interceptors.Breaker{Disabled: true}))
	s = newSuite(t)
	for range 100 {
		_ = call(s, down, off)
	}
	wantAttempts(t, down, 200)
	if refused(s, play(step{})) {
		t.Fatal("calls without breaker were counted by it")
	}
}

// TestPanicLeavesNothingBehind: a probe that panics frees its slot.
func TestPanicLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		trip(t, s, 8)
		time.Sleep(1200 * ms)
		func() {
			defer func() {
				if got := recover(); got != "beneath" {
					t.Errorf("recovered %v, want the panic itself", got)
				}
			}()
			_ = call(s, play(step{do: func(context.Context, any) { panic("beneath") }}))
		}()
		if err := call(s, play(step{})); err != nil {
			t.Fatalf("the slot of the probe that panicked is lost: %v", err)
		}
	})
}

// TestProbesNeverExceedTheirNumber under real concurrency: of many calls that
// come at once while the breaker is not closed, Probes are let through, and
// whatever becomes of them, the next round's are as many.
func TestProbesNeverExceedTheirNumber(t *testing.T) {
	const probes, callers = 2, 16
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Probes: probes})))
		trip(t, s, 8)
		ends := []func() error{
			func() error { panic("beneath") },
			func() error { return status.Error(codes.Canceled, "") },
			func() error { return status.Error(codes.Unavailable, "") },
		}
		for round := range 30 {
			time.Sleep(72 * time.Second)
			var inFlight atomic.Int64
			release := make(chan struct{})
			invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
				n := inFlight.Add(1)
				<-release
				return ends[(round+int(n))%len(ends)]()
			}
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					defer func() { _ = recover() }()
					_ = s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil, invoke)
				})
			}
			synctest.Wait()
			if n := inFlight.Load(); n != probes {
				t.Fatalf("round %d: %d probes in flight, want %d", round, n, probes)
			}
			close(release)
			wg.Wait()
		}
	})
}

func TestProbesOfEndlessCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := onlyBreaker(interceptors.Breaker{})
		p.Timeout = 1<<63 - 1
		s := newSuite(t, interceptors.WithPolicy(p))
		trip(t, s, 8)
		time.Sleep(1200 * ms)
		ctx, cancel := context.WithCancel(context.Background())
		hung := play(step{hang: true})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _ = callWith(ctx, s, hung) })
		}
		synctest.Wait()
		wantAttempts(t, hung, 1)
		cancel()
		wg.Wait()
	})
}
