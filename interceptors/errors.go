package interceptors

import "github.com/astra-grpc/astra/internal/engine"

// ErrBreakerOpen is what errors.Is finds in the error of a call that a breaker
// refused. That error is also a gRPC status: UNAVAILABLE, with ErrorInfo
// {Domain: "astra", Reason: "BREAKER_OPEN", Metadata: method, target} and
// RetryInfo, the time after which a call may pass.
var ErrBreakerOpen = engine.ErrBreakerOpen

// ErrLimited is what errors.Is finds in the error of a call that a limit
// refused. That error is also a gRPC status: RESOURCE_EXHAUSTED, with ErrorInfo
// {Domain: "astra", Reason: "QUEUE_FULL", "QUEUE_TIMEOUT" or "RATE_LIMITED",
// Metadata: method, target} and RetryInfo, the time after which a call may
// pass: exact if the rate refused the call, estimated from how fast slots came
// free lately if all are taken. See [Limit].
var ErrLimited = engine.ErrLimited
