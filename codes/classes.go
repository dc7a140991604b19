package codes

import "google.golang.org/grpc/codes"

// The sets are variables because Go has no constants made by a call. Programs
// must not assign to them: they are read without a lock.
var (
	// Retryable is what a retry policy retries by default: UNAVAILABLE, and
	// DEADLINE_EXCEEDED while the caller's own context lives, which the set
	// cannot express. They are gRPC's words for connection errors and timeouts.
	Retryable = Of(codes.Unavailable, codes.DeadlineExceeded)

	// RetryableIdempotent is a wider set, for methods that may run twice. It
	// adds INTERNAL and UNKNOWN, the codes of streams that were reset on the
	// way, of proxies and of crashing handlers, among others: the server may or
	// may not have acted, which does not matter for these methods.
	RetryableIdempotent = Retryable.With(codes.Internal, codes.Unknown)

	// Failure is what a circuit breaker counts against a server by default. The
	// five are those that Linkerd classifies as failures (linkerd2-proxy,
	// app/core/src/classify.rs): with any other code the server answered on
	// purpose. RESOURCE_EXHAUSTED is not among them: a quota of one caller says
	// nothing about the server's health.
	Failure = Of(codes.Unknown, codes.DeadlineExceeded, codes.Internal, codes.Unavailable, codes.DataLoss)
)
