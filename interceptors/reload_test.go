package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

func attemptsOf(n int) interceptors.Policy {
	return interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: n, Backoff: noJitter}}
}

func TestReloadInABackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(attemptsOf(4)))
		running := play(fails(codes.Unavailable))
		var wg sync.WaitGroup
		wg.Go(func() { _ = call(s, running) })
		synctest.Wait()
		if err := s.Reload(interceptors.WithPolicy(attemptsOf(2))); err != nil {
			t.Fatal(err)
		}
		next := play(fails(codes.Unavailable))
		_ = call(s, next)
		wg.Wait()
		wantAttempts(t, running, 4) // ends as it began
		wantAttempts(t, next, 2)
	})
}

func TestReloadReplacesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(attemptsOf(2)), interceptors.WithMethodPolicy(method, attemptsOf(1)))
		if err := s.Reload(interceptors.WithMethodPolicy("/helloworld.Greeter/*", attemptsOf(4))); err != nil {
			t.Fatal(err)
		}
		sc := play(fails(codes.Unavailable))
		_ = call(s, sc)
		wantAttempts(t, sc, 4)
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		sc = play(fails(codes.Unavailable))
		_ = call(s, sc)
		wantAttempts(t, sc, 3)
	})
}

func TestReloadWithFaultsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(attemptsOf(2)))
		err := s.Reload(
			interceptors.WithPolicy(attemptsOf(5)),
			interceptors.WithMethodPolicy(method, attemptsOf(-1)),
			interceptors.WithFallback("*", func(context.Context, string, any, any, error) error { return nil }),
			interceptors.WithLogger(slog.Default()))
		wantFault(t, err, "Retry.MaxAttempts: -1")
		wantFault(t, err, "reload: an option is not one of policies or balancing")
		sc := play(fails(codes.Unavailable))
		wantCode(t, call(s, sc), codes.Unavailable)
		wantAttempts(t, sc, 2)
	})
}

func TestStateSurvivesReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{OpenFor: time.Minute})))
		trip(t, s, 8)
		if err := s.Reload(interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Consecutive: 2}))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(40 * time.Second)
		if !refused(s, play(step{})) {
			t.Fatal("a reload closed the breaker, or shortened its time")
		}
		if err := s.Reload(interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Disabled: true}))); err != nil {
			t.Fatal(err)
		}
		if refused(s, play(step{})) {
			t.Fatal("refused by a breaker that is off")
		}
		if err := s.Reload(interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Consecutive: 2}))); err != nil {
			t.Fatal(err)
		}
		if !refused(s, play(step{})) {
			t.Fatal("turned off and on again, it has forgotten that it was open")
		}
		time.Sleep(40 * time.Second)
		if refused(s, play(step{})) {
			t.Fatal("open for longer than it had")
		}
		trip(t, s, 3) // the new threshold holds
	})
}

func TestBudgetSurvivesReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 4, MinPerSecond: 1e-9})))
		_ = call(s, play(fails(codes.Unavailable))) // takes two
		if err := s.Reload(interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 100, MinPerSecond: 1e-9}))); err != nil {
			t.Fatal(err)
		}
		sc := play(fails(codes.Unavailable))
		_ = call(s, sc)
		_ = call(s, sc)
		wantAttempts(t, sc, 4) // two retries, for the two tokens left
	})
}

func TestReloadUnderLoad(t *testing.T) {
	s := newSuite(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			sc := play(step{})
			name := fmt.Sprintf("/a.B/M%d", i)
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.UnaryClientInterceptor()(context.Background(), name, nil, nil, nil, sc.invoke); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 200 {
		p := attemptsOf(1 + i%3)
		p.Breaker.Window = time.Duration(1+i%2) * time.Second
		if err := s.Reload(interceptors.WithPolicy(p)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		s := newSuite(t, interceptors.WithPolicy(attemptsOf(2)), interceptors.WithObserver(inline{seen}),
			interceptors.WithFallback("*", func(context.Context, string, any, any, error) error { return nil }))
		if err := call(s, play(fails(codes.Unavailable))); err != nil {
			t.Fatal(err)
		}
		var e observe.Endpoint
		gone := &evictions{}
		watched := newSuite(t, interceptors.WithObserver(ask(func(got observe.Endpoint) { e = got }), gone))
		_ = call(watched, play(step{}))
		_ = watched.Close()
		if _, ok := e.BreakerState(); ok || gone.n != 1 {
			t.Errorf("after Close a breaker is shown: %v; %d evictions emitted, want 1", ok, gone.n)
		}

		before := seen.count()
		for range 2 {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		down := play(fails(codes.Unavailable))
		for range 20 {
			wantCode(t, call(s, down), codes.Unavailable)
		}
		wantAttempts(t, down, 40)
		if err := s.UnaryClientInterceptor()(context.Background(), "/new.After/Close", nil, nil, nil, play(step{}).invoke); err != nil {
			t.Error(err)
		}
		if got := seen.count(); got != before {
			t.Errorf("%d events after Close", got-before)
		}
		if err := s.Reload(interceptors.WithPolicy(attemptsOf(1))); err != nil {
			t.Error(err)
		}
	})
}

// suiteEvents keeps what a suite reports of itself.
type suiteEvents struct{ got []observe.SuiteEvent }

func (s *suiteEvents) Observe(observe.Endpoint) observe.Hooks { return observe.Hooks{} }
func (s *suiteEvents) SuiteEvent(e observe.SuiteEvent)        { s.got = append(s.got, e) }

func TestRevision(t *testing.T) {
	var events suiteEvents
	s := newSuite(t, interceptors.WithObserver(&events))
	if r := s.Revision(); r.Generation != 1 || r.Err != nil || r.Since.IsZero() {
		t.Fatalf("%+v after New, want the first generation", r)
	}
	bad := interceptors.WithPolicy(interceptors.Policy{Timeout: -1})
	if err := s.Reload(bad); err == nil || s.Revision().Err != err || s.Revision().Generation != 1 || s.Revision().ErrAt.IsZero() {
		t.Fatalf("%+v after a faulty Reload, want the first generation and %v", s.Revision(), err)
	}
	if err := s.Reload(); err != nil || s.Revision().Err != nil || s.Revision().Generation != 2 {
		t.Fatalf("%+v, %v after a Reload, want the second generation and no fault", s.Revision(), err)
	}
	unreadable := errors.New("no such file")
	s.ReloadFailed(unreadable)
	if r := s.Revision(); r.Err != unreadable || r.Generation != 2 {
		t.Fatalf("%+v, want the second generation and %v", r, unreadable)
	}
	var results []string
	for _, n := range events.got {
		results = append(results, n.Result.String())
		if n.Kind != observe.Reloaded || (n.Err == nil) != (n.Result == observe.ResultSuccess) {
			t.Errorf("got %+v", n)
		}
	}
	if !slices.Equal(results, []string{"failed", "success", "failed"}) {
		t.Errorf("got %v", results)
	}
}

// TestReloadsDoNotKeepTheIdle: a reload is no use.
func TestReloadsDoNotKeepTheIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := &evictions{}
		s := newSuite(t, interceptors.WithObserver(gone))
		one := func(m string) {
			_ = s.UnaryClientInterceptor()(context.Background(), m, nil, nil, nil, play(step{}).invoke)
		}
		for i := range 100 {
			one(fmt.Sprintf("/a.B/M%d", i))
		}
		for i := range 12 {
			time.Sleep(5 * time.Minute)
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
			one(fmt.Sprintf("/new.Svc/M%d", i))
		}
		if gone.n < 100 {
			t.Errorf("%d of 100 idle methods forgotten", gone.n)
		}
	})
}
