package peers

import (
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/failsafe-go/failsafe-go/timeout"
	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/bench/lab"
)

// Failsafe returns failsafe-go's retry and breaker. The retry is the default
// for gRPC: 3 attempts, no delay. The breaker's default opens at a single
// failure, which nobody could run; 5 failures in a row is a rule like
// gobreaker's, and cheaper than its rates over time.
func Failsafe() grpc.UnaryClientInterceptor {
	return failsafegrpc.NewUnaryClientInterceptor[any](
		failsafegrpc.NewRetryPolicyBuilder[any]().Build(),
		circuitbreaker.NewBuilder[any]().WithFailureThreshold(5).Build(),
	)
}

// FailsafeRetry returns its retry alone, with the same defaults.
func FailsafeRetry() grpc.UnaryClientInterceptor {
	return failsafegrpc.NewUnaryClientInterceptor[any](failsafegrpc.NewRetryPolicyBuilder[any]().Build())
}

// FailsafeHedge returns its hedge, which never fires.
func FailsafeHedge() grpc.UnaryClientInterceptor {
	return failsafegrpc.NewUnaryClientInterceptor[any](hedgepolicy.NewWithDelay[any](Armed))
}

// failsafeRetry is the retry's builder, with our attempts, backoff and jitter
// if tuned, and failing with the last failure, as its documentation offers.
func failsafeRetry(t *Tuning) retrypolicy.Builder[any] {
	b := failsafegrpc.NewRetryPolicyBuilder[any]().ReturnLastFailure()
	if t != nil {
		b.WithMaxAttempts(t.Attempts).WithBackoff(t.Base, t.Max).WithJitterFactor(0.5).HandleErrors(timeout.ErrExceeded)
	}
	return b
}

// failsafeBreaker opens at 6 failures in a row for a second, as gobreaker
// tuned, and closes at one success; half-open it would otherwise let as many
// through as it takes to open.
func failsafeBreaker() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureThreshold(6).WithSuccessThreshold(1).WithDelay(time.Second).Build()
}

// failsafeClients are failsafe-go's policies. In each the first is outermost:
// the breaker judges calls, as ours, and a timeout bounds attempts. The
// breaker's own default is not among them: it opens at a single failure, for a
// minute.
func failsafeClients(t Tuning) []Client {
	within := func(policies ...failsafe.Policy[any]) func() []grpc.UnaryClientInterceptor {
		if t.AttemptTimeout > 0 {
			policies = append(policies, timeout.New[any](t.AttemptTimeout))
		}
		return func() []grpc.UnaryClientInterceptor {
			return []grpc.UnaryClientInterceptor{failsafegrpc.NewUnaryClientInterceptor(policies...)}
		}
	}
	const plain = "failsafegrpc.NewRetryPolicyBuilder: 3 attempts, no delay"
	tuned := fmt.Sprintf("failsafegrpc retry: WithMaxAttempts(%d), WithBackoff(%v, %v), WithJitterFactor(0.5)", t.Attempts, t.Base, t.Max)
	if t.AttemptTimeout > 0 {
		tuned += fmt.Sprintf(", timeout %v", t.AttemptTimeout)
	}
	return []Client{
		chainOf(lab.Contender{Name: "failsafe-go retry (default)", Config: plain, Why: "its defaults for gRPC"},
			func() []grpc.UnaryClientInterceptor {
				return []grpc.UnaryClientInterceptor{failsafegrpc.NewUnaryClientInterceptor[any](failsafeRetry(nil).Build())}
			}),
		chainOf(lab.Contender{Name: "failsafe-go retry (tuned)", Config: tuned, Why: "our attempts, backoff and jitter"},
			func() []grpc.UnaryClientInterceptor { return within(failsafeRetry(&t).Build())() }),
		chainOf(lab.Contender{
			Name: "failsafe-go retry + breaker (tuned)", Config: "breaker: 6 failures in a row, 1 s, 1 probe, around " + tuned,
			Why: "set as gobreaker tuned; its default opens at one failure for a minute",
		}, func() []grpc.UnaryClientInterceptor {
			return within(failsafeBreaker(), failsafeRetry(&t).Build())()
		}),
		chainOf(lab.Contender{Name: "failsafe-go retry + budget (default)", Config: plain + ", budget.New(): 0.2 of calls in flight, at least 3", Why: "its defaults"},
			func() []grpc.UnaryClientInterceptor {
				return []grpc.UnaryClientInterceptor{failsafegrpc.NewUnaryClientInterceptor[any](failsafeRetry(nil).WithBudget(budget.New()).Build())}
			}),
		chainOf(lab.Contender{Name: "failsafe-go retry + budget (tuned)", Config: tuned + ", budget.New(): 0.2 of calls in flight, at least 3", Why: "our attempts and backoff; 0.2 is our ratio, too"},
			func() []grpc.UnaryClientInterceptor {
				return within(failsafeRetry(&t).WithBudget(budget.New()).Build())()
			}),
	}
}

// failsafeHedges are its hedges after a fixed delay and after its own p95. Its
// attempts share the caller's reply.
func failsafeHedges(delay time.Duration) []Client {
	hedge := func(name, config, why string, b func() hedgepolicy.Builder[any]) Client {
		return chainOf(lab.Contender{Name: name, Config: config, Why: why}, func() []grpc.UnaryClientInterceptor {
			return []grpc.UnaryClientInterceptor{failsafegrpc.NewUnaryClientInterceptor[any](b().Build())}
		})
	}
	fixed := func() hedgepolicy.Builder[any] { return hedgepolicy.NewBuilderWithDelay[any](delay) }
	succeeded := func(_ any, err error) bool { return err == nil }
	return []Client{
		hedge(fmt.Sprintf("failsafe-go hedge, %v", delay), fmt.Sprintf("hedgepolicy.NewBuilderWithDelay(%v): 1 hedge", delay), "its defaults: the first result wins, be it an error", fixed),
		hedge(fmt.Sprintf("failsafe-go hedge, %v, errors do not win", delay), "the same with CancelIf(no error), budget.New()",
			"tuned: waits for a success, as ours with NonFatal, within its budget", func() hedgepolicy.Builder[any] {
				return fixed().CancelIf(succeeded).WithBudget(budget.New())
			}),
		hedge("failsafe-go hedge, own p95", "hedgepolicy.NewBuilderWithDelayQuantile(0.95, 1000, 100), CancelIf(no error), budget.New()",
			"the same after its own p95 of about a thousand calls, once it has seen a hundred, as ours", func() hedgepolicy.Builder[any] {
				return hedgepolicy.NewBuilderWithDelayQuantile[any](0.95, 1000, 100).CancelIf(succeeded).WithBudget(budget.New())
			}),
	}
}
