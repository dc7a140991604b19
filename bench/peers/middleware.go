package peers

import (
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"google.golang.org/grpc"
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
