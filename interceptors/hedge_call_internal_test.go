package interceptors

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TestNoHedgeOnceThereIsAnAnswer: a timer's goroutine that comes late, when the
// first attempt has just ended, looks at that before it starts another.
func TestNoHedgeOnceThereIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const method = "/astra.test.Race/Late"
		s, err := New(WithMethodPolicy(method, Policy{Hedge: Hedge{MaxAttempts: 2, Delay: time.Millisecond}}))
		if err != nil {
			t.Fatal(err)
		}
		attempts := 0
		u := &unaryCall{method: method, invoker: func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			attempts++
			time.Sleep(time.Second) // the timer has fired, but its goroutine has not come to run
			return nil
		}}
		p := s.plan(nil, "", method)
		u.Host, u.Plan, u.Ctx = &s.Host, &p.Plan, t.Context()
		u.Policy = &p.policy.Policy
		u.original = original{request: wrapperspb.String("q")}
		r := newHedgedCall(&u.Call, p, &s.lateFailure, u)
		i := &callerAttempt{hedgedCall: r, decided: make(chan struct{})}
		first := r.begin((*firstWork)(u))
		late := time.AfterFunc(time.Millisecond, func() {
			time.Sleep(2 * time.Second)
			i.run()
		})
		a, err := r.inline(first, late, i)
		if a != first || err != nil || attempts != 1 || len(r.attempts) != 1 {
			t.Errorf("%d attempts, error %v, want the first attempt's answer", attempts, err)
		}
		r.leave()
		_ = s.Close()
	})
}

// TestAnswersComeBeforeTheEnd: one that is there when the call's context ends
// is looked at.
func TestAnswersComeBeforeTheEnd(t *testing.T) {
	const method = "/astra.test.Race/Last"
	s, err := New(WithMethodPolicy(method, Policy{Hedge: Hedge{MaxAttempts: 2, Delay: time.Hour}}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := s.plan(nil, "", method)
	c := &engine.Call{Host: &s.Host, Plan: &p.Plan, Policy: &p.policy.Policy, Ctx: ctx}
	for range 100 {
		r := newHedgedCall(c, p, &s.lateFailure, nil)
		answer := new(hedgeAttempt)
		r.results <- answer
		if a, _ := r.await(); a != answer {
			t.Fatal("not looked at")
		}
		r.leave()
	}
	_ = s.Close()
}

// TestPanicThatComesTooLateIsLogged: the race was left before it looked.
func TestPanicThatComesTooLateIsLogged(t *testing.T) {
	const method = "/astra.test.Race/TooLate"
	s, err := New(WithMethodPolicy(method, Policy{Hedge: Hedge{MaxAttempts: 2, Delay: time.Hour}}))
	if err != nil {
		t.Fatal(err)
	}
	var logged []any
	late := logFailure(func(what any, stack []byte) { logged = append(logged, what, string(stack)) })
	u := &unaryCall{method: method}
	p := s.plan(nil, "", method)
	u.Host, u.Plan, u.Ctx = &s.Host, &p.Plan, t.Context()
	u.Policy = &p.policy.Policy
	r := newHedgedCall(&u.Call, p, &late, u)
	a := r.begin((*firstWork)(u))
	a.panicked, a.stack = "boom", []byte("where")
	a.state.Store(reported)
	r.results <- a
	r.leave()
	if len(logged) != 2 || logged[0] != "boom" || logged[1] != "where" {
		t.Errorf("logged %v", logged)
	}
	_ = s.Close()
}

// TestAttemptThatHasEndedIsNotAdopted: its end is looked at first.
func TestAttemptThatHasEndedIsNotAdopted(t *testing.T) {
	r := new(hedgedCall)
	for _, state := range []int32{reported, abandoned, adopted} {
		a := new(hedgeAttempt)
		a.state.Store(state)
		if r.adopt(a) {
			t.Errorf("adopted in state %d", state)
		}
	}
}

// TestRaceIsLeftOnce: its memory goes back to a pool, where another call finds it.
func TestRaceIsLeftOnce(t *testing.T) {
	h := &hedger{race: new(hedgedCall)}
	if h.takeLocked() == nil || h.takeLocked() != nil {
		t.Error("want the race once")
	}
}
