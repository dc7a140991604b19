package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/retry"
	"github.com/astra-grpc/astra/internal/verdict"
)

var unavailable = status.Error(codes.Unavailable, "scripted")

// newCall returns a call whose breaker opens at two failures in a row, and whose
// budget holds two tokens.
func newCall(t *testing.T) *Call {
	t.Helper()
	host := &Host{Epoch: time.Now()}
	plan := &Plan{
		Breaker: breaker.NewGuard(breaker.Config{FailureRate: 1, SlowRate: 1, MinCalls: 100, Window: time.Second, Consecutive: 2,
			OpenFor: time.Hour, MaxOpenFor: time.Hour, Probes: 1, ProbeTTL: time.Hour}),
		Budget:    budget.NewGuard(host.Now(), budget.Config{Ratio: 0.5, MinPerSecond: 1e-9, Burst: 2}),
		Recorders: &hooks.Recorders{},
		Losses:    new(atomic.Uint64),
		Peers:     new(fleet.Peers),
		Changed:   func(*breaker.Guard, breaker.Transition) {},
	}
	return next(&Call{Host: host, Plan: plan, Policy: &Policy{
		Retry:    retry.Policy{MaxAttempts: 3, Codes: astracodes.Retryable},
		Failures: astracodes.Failure,
		Repeat:   verdict.RepeatAny,
	}})
}

// next returns another call of the same plan.
func next(c *Call) *Call {
	n := new(Call)
	n.Init(context.Background(), c.Host, c.Plan, c.Policy, nil)
	n.Start(n.Ctx)
	return n
}

// admit is for a call that has not to wait.
func admit(c *Call) error {
	w, err := c.Admit(nil)
	if w.Needed() {
		panic("waits for a slot")
	}
	return err
}

// try makes an attempt that ends with err.
func try(c *Call, err error) {
	c.Begin(nil)
	c.End(err, Evidence{})
}

func level(c *Call) float64 { return c.Plan.Budget.Level(c.Host.Now()) }

// TestSettledOnce: breaker and budget hear of a call once, however often its
// driver settles it.
func TestSettledOnce(t *testing.T) {
	c := newCall(t)
	if err := admit(c); err != nil {
		t.Fatal(err)
	}
	try(c, unavailable)
	for range 3 {
		c.Settle(unavailable)
	}
	if got := c.Plan.Breaker.At(c.Host.Now()); got != breaker.Closed {
		t.Errorf("one failure settled three times leaves the breaker %v", got)
	}
	c.Plan.Budget.Take(c.Host.Now())
	good := next(c)
	_ = admit(good)
	try(good, nil)
	for range 3 {
		good.Settle(nil)
	}
	if got := level(c); got < 1.49 || got > 1.51 {
		t.Errorf("%v tokens after a success settled three times, want 1.5", got)
	}
}

// TestUnwoundOnPanic: whatever was under way is given back, and counts as
// nothing.
func TestUnwoundOnPanic(t *testing.T) {
	c := newCall(t)
	if err := admit(c); err != nil {
		t.Fatal(err)
	}
	try(c, unavailable)
	if _, again := c.Next(c.FailureOf(unavailable, nil, nil)); !again || level(c) > 1.01 {
		t.Fatalf("again %v, %v tokens: want a retry that is paid for", again, level(c))
	}
	c.Pause(time.Second, unavailable)
	c.Unwind()
	c.Unwind()
	if got := level(c); got < 1.99 || got > 2.01 {
		t.Errorf("%v tokens after the panic, want 2", got)
	}
	c.Settle(unavailable) // as a driver may whose panic was recovered above
	other := next(c)
	_ = admit(other)
	try(other, unavailable)
	other.Settle(unavailable)
	if got := c.Plan.Breaker.At(c.Host.Now()); got != breaker.Closed {
		t.Errorf("the call that panicked counted: the breaker is %v", got)
	}
}

// TestOrderOfVetoes: the policy's word comes before the breaker's, and that before
// the budget's, which is not asked for a token then.
func TestOrderOfVetoes(t *testing.T) {
	c := newCall(t)
	_ = admit(c)
	for range 2 { // others open the breaker meanwhile
		o := next(c)
		_ = admit(o)
		try(o, unavailable)
		o.Settle(unavailable)
	}
	notFound := status.Error(codes.NotFound, "")
	try(c, notFound)
	if _, again := c.Next(c.FailureOf(notFound, nil, nil)); again || c.why != failure.NotRetryable {
		t.Errorf("again %v, because of %v, want not_retryable", again, c.why)
	}
	try(c, unavailable)
	if _, again := c.Next(c.FailureOf(unavailable, nil, nil)); again || c.why != failure.Breaker {
		t.Errorf("again %v, because of %v, want breaker", again, c.why)
	}
	if got := level(c); got < 1.99 {
		t.Errorf("%v tokens: one was taken though the breaker had refused", got)
	}
	c.Policy.BreakerOff = true
	poor := next(c)
	_ = admit(poor)
	for c.Plan.Budget.Take(c.Host.Now()) {
	}
	try(poor, unavailable)
	if _, again := poor.Next(poor.FailureOf(unavailable, nil, nil)); again || poor.why != failure.Budget {
		t.Errorf("again %v, because of %v, want budget", again, poor.why)
	}
}

// TestCancelledIsNeither: a call that its caller has cancelled between two that fail does
// not make these two apart, and earns nothing.
func TestCancelledIsNeither(t *testing.T) {
	k := newClocked(t)
	k.Plan.Budget.Take(0)
	for _, gone := range []bool{false, true, false} {
		c, err := k.again(t, 0), unavailable
		if e := admit(c); e != nil {
			t.Fatal(e)
		}
		if gone {
			c.Ctx, err = over{c.Ctx, context.Canceled}, status.Error(codes.Canceled, "")
		}
		try(c, err)
		c.Settle(err)
	}
	if got := k.Plan.Breaker.At(0); got != breaker.Open {
		t.Errorf("%v after two failures with a cancelled call between, want it open", got)
	}
	if got := level(k.Call); got > 1.01 {
		t.Errorf("%v tokens, want none earned", got)
	}
}

// TestSlowCallsOpen: a success that is slow is a slow one to the breaker.
func TestSlowCallsOpen(t *testing.T) {
	k := newClocked(t)
	k.Policy.SlowCall = time.Second
	k.Plan.Breaker = breaker.NewGuard(breaker.Config{FailureRate: 1, SlowRate: 0.5, MinCalls: 2, Window: time.Minute, Consecutive: 100,
		OpenFor: time.Hour, MaxOpenFor: time.Hour, Probes: 1, ProbeTTL: time.Hour})
	for range 2 {
		c := k.again(t, 0)
		_ = admit(c)
		c.Begin(nil)
		k.now += time.Second
		c.End(nil, Evidence{})
		c.Settle(nil)
	}
	k.want(t, breaker.Open)
}

// TestPolicyOfAFailure: the policy that a failure is judged by is the call's from there.
func TestPolicyOfAFailure(t *testing.T) {
	c := newCall(t)
	try(c, unavailable)
	once := *c.Policy
	once.Retry.MaxAttempts = 1
	if _, again := c.Next(c.FailureOf(unavailable, nil, &once)); again || c.why != failure.Exhausted {
		t.Errorf("again %v, because of %v, want that one attempt is all", again, c.why)
	}
}

// TestOneLossIsOneFailure: calls in flight together when their connection is lost
// are one failure; the next loss is another.
func TestOneLossIsOneFailure(t *testing.T) {
	lost := Evidence{Known: true, Sent: true}
	first := newCall(t)
	calls := []*Call{first}
	for range 7 {
		calls = append(calls, next(first))
	}
	for _, c := range calls {
		if err := admit(c); err != nil {
			t.Fatal(err)
		}
		c.Begin(nil)
	}
	for _, c := range calls {
		c.End(unavailable, lost)
		c.Settle(unavailable)
	}
	if got := first.Plan.Breaker.At(first.Host.Now()); got != breaker.Closed {
		t.Fatalf("one connection lost beneath eight calls leaves the breaker %v", got)
	}
	again := next(first)
	_ = admit(again)
	again.Begin(nil)
	again.End(unavailable, lost)
	again.Settle(unavailable)
	if err := admit(next(first)); !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("%v after the second loss, want the breaker open", err)
	}
}
