package peers

import (
	"fmt"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/bench/lab"
)

// Middleware returns go-grpc-middleware's retry: its defaults (no timeout for
// each attempt, which would allocate), but for the number of attempts, because
// the default is not to retry at all.
func Middleware() grpc.UnaryClientInterceptor {
	return retry.UnaryClientInterceptor(retry.WithMax(Attempts))
}

// MiddlewareAtOnce is [Middleware] without a backoff, for calls that fail.
func MiddlewareAtOnce() grpc.UnaryClientInterceptor {
	return retry.UnaryClientInterceptor(retry.WithMax(Attempts), retry.WithBackoff(retry.BackoffLinear(0)))
}

const (
	middlewareDefault = "retry.WithMax(3); 50 ms ± 10 % between attempts; UNAVAILABLE and RESOURCE_EXHAUSTED"
	defaultOfThree    = "its defaults, but for the number of attempts: by default it does not retry"
)

// middlewareTuned is the same with our attempts and backoff, jitter of ±50 %
// included.
func middlewareTuned(t Tuning) grpc.UnaryClientInterceptor {
	opts := []retry.CallOption{
		retry.WithMax(uint(t.Attempts)),
		retry.WithBackoff(retry.BackoffExponentialWithJitterBounded(t.Base, 0.5, t.Max)),
	}
	if t.AttemptTimeout > 0 {
		opts = append(opts, retry.WithPerRetryTimeout(t.AttemptTimeout))
	}
	return retry.UnaryClientInterceptor(opts...)
}

func middlewareTunedConfig(t Tuning) string {
	s := fmt.Sprintf("retry.WithMax(%d), BackoffExponentialWithJitterBounded(%v, 0.5, %v)", t.Attempts, t.Base, t.Max)
	if t.AttemptTimeout > 0 {
		s += fmt.Sprintf(", WithPerRetryTimeout(%v)", t.AttemptTimeout)
	}
	return s
}

func middlewareClients(t Tuning) []Client {
	return []Client{
		chainOf(lab.Contender{Name: "go-grpc-middleware retry (default)", Config: middlewareDefault, Why: defaultOfThree},
			func() []grpc.UnaryClientInterceptor { return []grpc.UnaryClientInterceptor{Middleware()} }),
		chainOf(lab.Contender{Name: "go-grpc-middleware retry (tuned)", Config: middlewareTunedConfig(t), Why: "our attempts, backoff and jitter"},
			func() []grpc.UnaryClientInterceptor { return []grpc.UnaryClientInterceptor{middlewareTuned(t)} }),
	}
}
