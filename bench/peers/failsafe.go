package peers

import (
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	"google.golang.org/grpc"
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
