package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

func TestEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e observe.Endpoint
		s := newSuite(t, interceptors.WithObserver(ask(func(got observe.Endpoint) { e = got })),
			interceptors.WithPolicy(interceptors.Policy{Breaker: interceptors.Breaker{Consecutive: 1}, Budget: interceptors.Budget{Burst: 10, MinPerSecond: 0.1}}))
		_ = call(s, play(fails(codes.Unavailable)))
		if e.Method() != method || e.Target() != "" {
			t.Errorf("endpoint %s of %s", e.Method(), e.Target())
		}
		if b, ok := e.BreakerState(); b != observe.BreakerOpen || !ok {
			t.Errorf("breaker %v, %v", b, ok)
		}
		time.Sleep(1200 * ms)
		if b, _ := e.BreakerState(); b != observe.BreakerHalfOpen {
			t.Errorf("breaker %v although its time is over", b)
		}
		if n, ok := e.BudgetTokens(); n < 8 || n == 10 || !ok {
			t.Errorf("%v tokens, %v", n, ok)
		}
		off := interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Disabled: true}}
		if err := s.Reload(interceptors.WithPolicy(off)); err != nil {
			t.Fatal(err)
		}
		_, breaker := e.BreakerState()
		_, budget := e.BudgetTokens()
		if breaker || budget {
			t.Error("shows what the policy has turned off")
		}
	})
}

// ask is an observer that only wants to know which endpoints there are.
type ask func(observe.Endpoint)

func (a ask) Observe(e observe.Endpoint) observe.Hooks {
	a(e)
	return observe.Hooks{}
}

// TestIdleMethodsAreForgotten: state is bounded; what is in use stays.
func TestIdleMethodsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evicted := &evictions{}
		s := newSuite(t, interceptors.WithObserver(evicted), interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{OpenFor: 24 * time.Hour, MaxOpenFor: 24 * time.Hour})))
		one := func(m string, err error) error {
			return s.UnaryClientInterceptor()(context.Background(), m, nil, nil, nil, play(step{err: err}).invoke)
		}
		down := status.Error(codes.Unavailable, "")
		for i := range 7 {
			_ = one("/busy.Svc/M", down)
			if i > 0 { // it takes one failure more
				_ = one("/idle.Svc/M", down)
			}
		}
		for i := range 5000 {
			if err := one(fmt.Sprintf("/a.B/M%d", i), nil); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 3 {
			time.Sleep(11 * time.Minute)
			if err := one("/busy.Svc/M", nil); !errors.Is(err, interceptors.ErrBreakerOpen) {
				t.Fatal("a method in use was forgotten")
			}
			_ = one(fmt.Sprintf("/new.Svc/%d", i), nil) // a new one makes it look
		}
		if evicted.n < 4000 {
			t.Errorf("%d endpoints evicted", evicted.n)
		}
		_ = one("/idle.Svc/M", down)
		if err := one("/idle.Svc/M", nil); err != nil {
			t.Errorf("an idle one was kept: %v", err)
		}
	})
}

type evictions struct{ n int }

func (o *evictions) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Evicted: func() { o.n++ }}
}

// brokenContext panics in the backoff, when it is asked for its end.
type brokenContext struct {
	context.Context
	armed bool
}

func (c *brokenContext) Done() <-chan struct{} {
	if c.armed {
		panic("in the context")
	}
	return nil
}

func TestBackoffsEndInAPanicToo(t *testing.T) {
	seen := &events{}
	s := newSuite(t, interceptors.WithObserver(inline{seen}))
	ctx := &brokenContext{Context: context.Background()}
	func() {
		defer func() { _ = recover() }()
		_ = callWith(ctx, s, play(step{err: fails(codes.Unavailable).err, do: func(context.Context, any) { ctx.armed = true }}))
	}()
	if b, e := seen.count(observe.BackoffStart), seen.count(observe.BackoffEnd); b != 1 || e != 1 {
		t.Errorf("%d backoffs began, %d ended", b, e)
	}
}
