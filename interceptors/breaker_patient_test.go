package interceptors_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// hung is a server that answers all requests once it is back, those that wait too.
type hung struct{ back chan struct{} }

func (h hung) call(s *interceptors.Suite, d time.Duration, opts ...grpc.CallOption) error {
	ctx := context.Background()
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	return s.UnaryClientInterceptor()(ctx, method, nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		select {
		case <-h.back:
			return nil
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}, opts...)
}

// TestPatientCallsAreNotRefused: calls whose time ran out say that the server takes
// longer than that, and nothing of a call that has much more.
func TestPatientCallsAreNotRefused(t *testing.T) {
	open := func(err error) bool { return errors.Is(err, interceptors.ErrBreakerOpen) }
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		server := hung{make(chan struct{})}
		for range 7 {
			if err := server.call(s, 100*ms); open(err) {
				t.Fatal(err)
			}
		}
		for name, d := range map[string]time.Duration{"of the same time": 100 * ms, "of hardly more": 150 * ms, "without a deadline": 0} {
			if err := server.call(s, d); !open(err) {
				t.Errorf("a call %s ends with %v, want it refused", name, err)
			}
		}
		p := onlyBreaker(interceptors.Breaker{})
		p.AttemptTimeout = 100 * ms
		if err := server.call(s, time.Minute, interceptors.WithCallPolicy(p)); !open(err) {
			t.Errorf("a call whose attempts have no more time ends with %v, want it refused", err)
		}
		answered := make(chan error, 1)
		begin := time.Now()
		go func() { answered <- server.call(s, 5*time.Second) }()
		time.Sleep(3 * time.Second)
		close(server.back)
		if err := <-answered; err != nil || time.Since(begin) != 3*time.Second {
			t.Errorf("a call that waits for the server ends with %v after %v, want OK when it is back", err, time.Since(begin))
		}
		if err := server.call(s, 100*ms); err != nil {
			t.Errorf("the next call ends with %v, want it a probe, as one was answered", err)
		}
	})
}

// TestPatienceEnds: once a call that had more time has waited in vain, those like it
// are refused.
func TestPatienceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := never()
		b.OpenFor, b.MaxOpenFor = time.Hour, time.Hour
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(b)))
		server := hung{make(chan struct{})}
		for range 7 {
			_ = server.call(s, 100*ms)
		}
		for i, want := range []bool{false, true} { // refused
			if err := server.call(s, time.Second); errors.Is(err, interceptors.ErrBreakerOpen) != want {
				t.Errorf("call %d of a second ends with %v; refused: want %v", i+1, err, want)
			}
		}
		if err := server.call(s, 2*time.Second); errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Errorf("a call of twice as long is refused")
		}
		if err := call(s, play(step{})); !errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Errorf("a call without a deadline ends with %v, want it refused", err)
		}
	})
}

// TestPatienceEndsBetweenProbes: by the time that a call has waited in vain, probes of
// less time have failed. It is heard all the same.
func TestPatienceEndsBetweenProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		server := hung{make(chan struct{})}
		var over atomic.Bool
		var load sync.WaitGroup
		load.Go(func() {
			for !over.Load() {
				load.Go(func() { _ = server.call(s, 100*ms) })
				time.Sleep(13 * ms)
			}
		})
		time.Sleep(time.Second)
		var passed atomic.Int32
		var all sync.WaitGroup
		for range 60 {
			all.Go(func() {
				if !errors.Is(server.call(s, 5*time.Second), interceptors.ErrBreakerOpen) {
					passed.Add(1)
				}
			})
			time.Sleep(time.Second + 37*ms)
		}
		all.Wait()
		over.Store(true)
		load.Wait()
		// Five before the first has waited in vain; some are probes.
		if n := passed.Load(); n < 5 || n > 20 {
			t.Errorf("%d of 60 calls of 5 s passed, want hardly more than the first 5", n)
		}
	})
}

// TestPatienceIsForTimeouts: a server that fails calls at once does not become better
// by waiting.
func TestPatienceIsForTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		trip(t, s, 8)
		if err := (hung{}).call(s, time.Hour); !errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Errorf("a call ends with %v, want it refused", err)
		}
	})
}

// TestAnsweredCallsAreNotInVain: of calls whose last attempts run out of time because
// the others were answered, late, and of calls to a server that has no time left
// itself, nobody learns how long the server takes.
func TestAnsweredCallsAreNotInVain(t *testing.T) {
	p := interceptors.Policy{Breaker: never()}
	p.Budget.Disabled = true
	retried, hedged, bounded := p, p, p
	retried.Retry = interceptors.Retry{MaxAttempts: 4, Repeat: interceptors.RepeatAny, Backoff: jitter.Backoff{Base: 10 * ms}}
	hedged.Hedge = interceptors.Hedge{MaxAttempts: 3, Delay: 160 * ms}
	bounded.AttemptTimeout = time.Second
	for name, tc := range map[string]struct {
		policy interceptors.Policy
		after  time.Duration // the server answers …
		code   codes.Code    // … with that
	}{
		"retried":           {retried, 150 * ms, codes.Unavailable},
		"hedged":            {hedged, 150 * ms, codes.Unavailable},
		"the server's word": {bounded, ms, codes.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSuite(t, interceptors.WithPolicy(tc.policy))
				server := play(step{after: tc.after, err: status.Error(tc.code, "not now")})
				call := func() error {
					ctx, cancel := context.WithTimeout(t.Context(), 200*ms)
					defer cancel()
					return s.UnaryClientInterceptor()(ctx, method, wrapperspb.String(""), wrapperspb.String(""), nil, server.invoke)
				}
				for i := range 7 {
					if err := call(); status.Code(err) != codes.DeadlineExceeded {
						t.Fatalf("call %d ends with %v, want DEADLINE_EXCEEDED", i+1, err)
					}
				}
				if err := call(); !errors.Is(err, interceptors.ErrBreakerOpen) {
					t.Errorf("a call of the same time ends with %v, want it refused", err)
				}
			})
		})
	}
}

// TestRetriedCallsHaveThePatienceOfTheirAttempts: the last attempt of a call is
// often cut short.
func TestRetriedCallsHaveThePatienceOfTheirAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := interceptors.Policy{AttemptTimeout: 300 * ms, Breaker: never()}
		p.Retry = interceptors.Retry{MaxAttempts: 4, Repeat: interceptors.RepeatAny}
		p.Budget.Disabled = true
		s := newSuite(t, interceptors.WithPolicy(p))
		server := hung{make(chan struct{})}
		refused := 0
		for range 10 {
			if errors.Is(server.call(s, 310*ms), interceptors.ErrBreakerOpen) {
				refused++
			}
		}
		if refused != 3 {
			t.Errorf("%d of 10 calls were refused, want 3: their first attempts had waited as long as any could", refused)
		}
	})
}
