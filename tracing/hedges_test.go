package tracing_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/tracing"
)

// hedging sends another attempt each 100 ms.
var hedging = interceptors.WithMethodPolicy(hello, interceptors.Policy{
	Hedge: interceptors.Hedge{MaxAttempts: 3, Delay: 100 * time.Millisecond},
})

// TestHedgedTrees: a hedge that wins, those that lose, and one for which there
// was no token.
func TestHedgedTrees(t *testing.T) {
	poor := interceptors.WithMethodPolicy(hello, interceptors.Policy{
		Hedge:  interceptors.Hedge{MaxAttempts: 3, Delay: 100 * time.Millisecond},
		Budget: interceptors.Budget{Burst: 1, MinPerSecond: 0.001},
	})
	slow := flakyserver.OK().After(250 * time.Millisecond)
	for _, tc := range []struct {
		name   string
		policy interceptors.Option
		script []flakyserver.Step
		want   string
	}{
		{"the second wins", hedging, []flakyserver.Step{flakyserver.Hang(), flakyserver.OK()}, `
Sent.helloworld.Greeter.SayHello ok outcome=success_hedge attempts=2 code=0
  - hedge won attempt=2
  Attempt.helloworld.Greeter.SayHello error (CANCELLED) previous-rpc-attempts=0 attempt_kind=first code=1
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=1 attempt_kind=hedge code=0
`},
		{"the first wins after all", hedging, []flakyserver.Step{slow, flakyserver.Hang(), down}, `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=3 code=0
  - hedge lost attempt=3
  - hedge lost attempt=2
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
  Attempt.helloworld.Greeter.SayHello error (CANCELLED) previous-rpc-attempts=1 attempt_kind=hedge code=1
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=2 attempt_kind=hedge code=14
`},
		{"no budget", poor, []flakyserver.Step{slow, flakyserver.Hang()}, `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=2 code=0
  - hedge suppressed attempt=3 suppress_reason=budget
  - hedge lost attempt=2
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
  Attempt.helloworld.Greeter.SayHello error (CANCELLED) previous-rpc-attempts=1 attempt_kind=hedge code=1
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, setting{suite: []interceptors.Option{tc.policy}}, func(t *testing.T, w *world) {
				w.Script(hello, tc.script...)
				if err := w.hello(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.spans.wantTrees(t, tc.want)
			})
		})
	}
}

// hooksOf returns the hooks that an observer has for a method.
func hooksOf(o observe.Observer) observe.Hooks { return o.Observe(observe.NewEndpoint(source{})) }

// source is an endpoint without a suite.
type source struct{ observe.Source }

func (source) Method() string          { return hello }
func (source) CanonicalTarget() string { return "dns:///host" }

// TestAttemptsThatEndLate: attempts run side by side and may be reported to have
// ended in any order, on any goroutine, some after the call.
func TestAttemptsThatEndLate(t *testing.T) {
	spans := record()
	r := hooksOf(tracing.New(spans))
	cancelled := errors.New("cancelled")
	for name, late := range map[string]bool{"losers end first": false, "losers end last": true} {
		t.Run(name, func(t *testing.T) {
			call, _ := r.Start(t.Context(), observe.Event{Kind: observe.CallStart})
			var attempts [4]context.Context
			for i := 1; i <= 3; i++ {
				kind := observe.HedgeAttempt
				if i == 1 {
					kind = observe.FirstAttempt
				}
				attempts[i], _ = r.Start(call, observe.Event{Kind: observe.AttemptStart, Attempt: i, AttemptKind: kind})
			}
			r.Event(call, observe.Event{Kind: observe.Hedged, Attempt: 4, Hedge: observe.HedgeSuppressed, Reason: observe.ReasonBudget})
			losers := func() {
				var wg sync.WaitGroup
				for _, i := range []int{3, 1} {
					wg.Go(func() {
						r.Event(attempts[i], observe.Event{Kind: observe.AttemptEnd, Attempt: i, Code: codes.Canceled, Err: cancelled})
					})
				}
				wg.Wait()
			}
			if !late {
				losers()
			}
			r.Event(attempts[2], observe.Event{Kind: observe.AttemptEnd, Attempt: 2})
			r.Event(call, observe.Event{Kind: observe.Hedged, Attempt: 2, Hedge: observe.HedgeWon})
			r.Event(attempts[3], observe.Event{Kind: observe.Hedged, Attempt: 3, Hedge: observe.HedgeLost})
			r.Event(call, observe.Event{Kind: observe.Kind(250)}) // of a day to come
			r.Event(call, observe.Event{Kind: observe.CallEnd, Outcome: observe.SuccessHedge, Attempt: 3})
			if late {
				losers()
			}
			spans.wantTrees(t, `
Sent.helloworld.Greeter.SayHello ok outcome=success_hedge attempts=3 code=0
  - hedge suppressed attempt=4 suppress_reason=budget
  - hedge won attempt=2
  - hedge lost attempt=3
  Attempt.helloworld.Greeter.SayHello error (CANCELLED) previous-rpc-attempts=0 attempt_kind=first code=1
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=1 attempt_kind=hedge code=0
  Attempt.helloworld.Greeter.SayHello error (CANCELLED) previous-rpc-attempts=2 attempt_kind=hedge code=1
`)
		})
	}
}

// TestStrayEvents: an event whose context is not of a call of ours changes
// nothing.
func TestStrayEvents(t *testing.T) {
	spans := record()
	r := hooksOf(tracing.New(spans))
	ctx, caller := spans.Tracer("caller").Start(t.Context(), "caller")
	r.Event(ctx, observe.Event{Kind: observe.BackoffStart})
	r.Event(ctx, observe.Event{Kind: observe.CallEnd})
	call, _ := r.Start(ctx, observe.Event{Kind: observe.CallStart})
	r.Event(call, observe.Event{Kind: observe.AttemptEnd})
	r.Event(call, observe.Event{Kind: observe.CallEnd, Outcome: observe.SuccessFirst})
	caller.End()
	spans.wantTrees(t, `
caller unset
  Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=0 code=0
`)
}
