package interceptors_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
)

func onlyBudget(b interceptors.Budget) interceptors.Policy {
	return interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}, Budget: b}
}

func TestBudgetRefusalKeepsTheRealError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 1, MinPerSecond: 0.01})))
		first, second := play(fails(codes.Unavailable)), play(fails(codes.Unavailable))
		_ = call(s, first)
		wantAttempts(t, first, 2)
		start := time.Now()
		if err := call(s, second); err != second.steps[0].err {
			t.Errorf("error %v, want the attempt's own", err)
		}
		wantAttempts(t, second, 1)
		if took := time.Since(start); took != 0 {
			t.Errorf("refused after %v: a call without a token has nothing to wait for", took)
		}
	})
}

// TestTokensAreTakenBeforeTheBackoff: of many calls that fail together only as
// many wait as there are tokens; the others fail at once.
func TestTokensAreTakenBeforeTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 10})))
		down := play(fails(codes.Unavailable))
		var mu sync.Mutex
		atOnce := 0
		start := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				_ = call(s, down)
				mu.Lock()
				defer mu.Unlock()
				if time.Since(start) == 0 {
					atOnce++
				}
			})
		}
		wg.Wait()
		if atOnce != 90 {
			t.Fatalf("%d of 100 calls failed at once, want the 90 without a token", atOnce)
		}
	})
}

func TestCancelledBackoffGivesItsTokenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 1, MinPerSecond: 1e-9})))
		for range 10 {
			ctx, cancel := context.WithCancel(context.Background())
			stop := time.AfterFunc(ms, cancel)
			wantCode(t, callWith(ctx, s, play(fails(codes.Unavailable))), codes.Canceled)
			stop.Stop()
		}
		sc := play(fails(codes.Unavailable), step{})
		if err := call(s, sc); err != nil {
			t.Fatalf("tokens of retries that were not made are lost: %v", err)
		}
	})
}

func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func TestOneBudgetATarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 2, MinPerSecond: 1e-9})),
			interceptors.WithMethodPolicy("/own.Budget/*", onlyBudget(interceptors.Budget{Burst: 3, MinPerSecond: 1e-9})))
		a, b := dial(t, "passthrough:///a"), dial(t, "passthrough:///b")
		attempts := func(cc *grpc.ClientConn, method string) int {
			sc := play(fails(codes.Unavailable))
			_ = s.UnaryClientInterceptor()(context.Background(), method, nil, nil, cc, sc.invoke)
			return sc.attempts()
		}
		for i, tc := range []struct {
			cc     *grpc.ClientConn
			method string
			want   int
		}{
			{a, "/x.Y/One", 3},      // both tokens of a
			{a, "/x.Y/Two", 1},      // another method, the same bucket
			{b, "/x.Y/One", 3},      // another target, another bucket
			{a, "/own.Budget/M", 3}, // another budget, another bucket
			{a, "/own.Budget/N", 2}, // of which one token was left
		} {
			if got := attempts(tc.cc, tc.method); got != tc.want {
				t.Errorf("%d: %s on %s made %d attempts, want %d", i, tc.method, tc.cc.Target(), got, tc.want)
			}
		}
	})
}

// TestBudgetBoundsAttempts: attempts ≤ calls + ratio × successes + burst +
// rate × time, whatever the calls meet.
func TestBudgetBoundsAttempts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		budget := interceptors.Budget{
			Ratio:        rapid.Float64Range(0.05, 0.5).Draw(rt, "ratio"),
			MinPerSecond: rapid.Float64Range(0.1, 5).Draw(rt, "rate"),
			Burst:        rapid.Float64Range(1, 10).Draw(rt, "burst"),
		}
		errorRate := rapid.IntRange(0, 100).Draw(rt, "errors")
		outcomes := rapid.SliceOfN(rapid.IntRange(0, 99), 50, 200).Draw(rt, "outcomes")
		workers := rapid.IntRange(1, 10).Draw(rt, "workers")
		synctest.Test(t, func(t *testing.T) {
			s := newSuite(t, interceptors.WithPolicy(onlyBudget(budget)))
			var mu sync.Mutex
			attempts, calls, successes, at := 0, 0, 0, 0
			invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
				mu.Lock()
				defer mu.Unlock()
				attempts++
				at++
				if outcomes[at%len(outcomes)] < errorRate {
					return status.Error(codes.Unavailable, "")
				}
				return nil
			}
			start := time.Now()
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for range 30 {
						mu.Lock()
						calls++
						mu.Unlock()
						err := s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil, invoke)
						mu.Lock()
						if err == nil {
							successes++
						}
						bound := float64(calls) + budget.Ratio*float64(successes+workers) + budget.Burst + budget.MinPerSecond*time.Since(start).Seconds()
						if float64(attempts) > bound {
							t.Errorf("%d attempts, bound %.1f", attempts, bound)
						}
						mu.Unlock()
						time.Sleep(10 * ms)
					}
				})
			}
			wg.Wait()
		})
	})
}

func TestBudgetOffAndOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 2, MinPerSecond: 1e-9}))
		s := newSuite(t, on)
		_ = call(s, play(fails(codes.Unavailable)))
		for _, opt := range []interceptors.Option{interceptors.WithPolicy(onlyBudget(interceptors.Budget{Disabled: true})), on} {
			if err := s.Reload(opt); err != nil {
				t.Fatal(err)
			}
		}
		sc := play(fails(codes.Unavailable))
		_ = call(s, sc)
		wantAttempts(t, sc, 1)
	})
}
