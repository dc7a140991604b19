package astratest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
)

// Recorder is an observer that keeps what a suite did, for a test:
//
//	rec := &astratest.Recorder{}
//	suite, err := interceptors.New(interceptors.WithObserver(rec), …)
//
// The zero Recorder is ready for use. Its methods may be called at any time, from
// any goroutine. It must not be copied.
type Recorder struct {
	mu        sync.Mutex
	endpoints []observe.Endpoint
	calls     []Ended
	changes   []Change
	more      chan struct{} // closed when something is added; nil: nobody waits
}

// Ended is a call that has ended.
type Ended struct {
	Method, Target string
	Outcome        observe.Outcome
	Code           codes.Code
	Err            error
	Attempts       int // hedges included
	Hedges         int
	Waited         time.Duration  // in backoffs
	Reason         observe.Reason // why it was not retried any more, or was refused
}

// Change is a change of a breaker's state.
type Change struct {
	Method, Target string
	At             time.Time
	From, To       observe.BreakerState
	Reason         observe.Reason
}

// Observe implements [observe.Observer].
func (r *Recorder) Observe(e observe.Endpoint) observe.Hooks {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoints = append(r.endpoints, e)
	return observe.Hooks{Inline: true, Event: func(_ context.Context, event observe.Event) { r.event(e, event) }}
}

func (r *Recorder) event(e observe.Endpoint, event observe.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch event.Kind {
	case observe.CallEnd:
		r.calls = append(r.calls, Ended{
			Method: e.Method(), Target: e.Target(), Outcome: event.Outcome, Code: event.Code, Err: event.Err,
			Attempts: event.Attempt, Hedges: event.Hedges, Waited: event.Waited, Reason: event.Reason,
		})
	case observe.BreakerChange:
		r.changes = append(r.changes, Change{e.Method(), e.Target(), time.Now(), event.From, event.To, event.Reason})
	default:
		return
	}
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

// Calls returns the calls of a method, full name, or of [Any], that have ended,
// in the order of their ends.
func (r *Recorder) Calls(method string) []Ended {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.calls), func(c Ended) bool { return method != Any && c.Method != method })
}

// Changes returns the changes of the breakers of a method, full name, or of
// [Any], in their order.
func (r *Recorder) Changes(method string) []Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.changes), func(c Change) bool { return method != Any && c.Method != method })
}

// BreakerState returns the state of a method's breaker now, the worst if there
// are several targets. It is closed if no call was made yet or the policy has
// no breaker.
func (r *Recorder) BreakerState(method string) (worst observe.BreakerState) {
	r.mu.Lock()
	endpoints := slices.Clone(r.endpoints)
	r.mu.Unlock()
	for _, e := range endpoints {
		if e.Method() != method {
			continue
		}
		if s, ok := e.BreakerState(); ok {
			worst = max(worst, s)
		}
	}
	return worst
}

// Await returns as soon as cond returns true. It is called again when a call
// ends or a breaker changes. The test fails if it does not return true within
// 30 s, in a bubble of virtual time.
func (r *Recorder) Await(tb testing.TB, cond func() bool) {
	tb.Helper()
	await(tb, r.wait, cond)
}

func (r *Recorder) wait(ctx context.Context, cond func() bool) error {
	for {
		r.mu.Lock()
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more := r.more
		r.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// WantBreaker fails the test unless the method's breaker is in this state now.
func (r *Recorder) WantBreaker(tb testing.TB, method string, want observe.BreakerState) {
	tb.Helper()
	if got := r.BreakerState(method); got != want {
		tb.Errorf("the breaker of %s is %v, want %v; changes: %v", method, got, want, r.Changes(method))
	}
}
