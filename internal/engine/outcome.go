package engine

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/retry"
)

// pushbackKey is the trailer in which a server says when to try again
// (gRFC A6).
const pushbackKey = "grpc-retry-pushback-ms"

// codeOf returns the code of an error as gRPC would show it. An interceptor
// beneath may return a bare context error, which is that, not UNKNOWN.
func CodeOf(err error) codes.Code {
	switch s, ok := status.FromError(err); {
	case ok && s.Code() != codes.OK && s.Code() <= codes.Unauthenticated:
		return s.Code()
	case ok: // a number that gRPC does not know, or an error that says it is none
		return codes.Unknown
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	}
	return codes.Unknown
}

// failureOf gathers what the retry decision needs to know of a failed attempt.
// ctx is the call's: whether it has ended, not the code, tells the caller's
// cancellation from a server's CANCELLED.
func FailureOf(ctx context.Context, err error, code codes.Code, trailer metadata.MD) retry.Failure {
	f := retry.Failure{
		Code:      code,
		Caller:    CallerOf(ctx),
		Pushback:  retry.ParsePushback(trailer[pushbackKey]),
		RetryInfo: retryInfo(err),
		Remaining: retry.Forever,
	}
	if deadline, ok := ctx.Deadline(); ok {
		f.Remaining = time.Until(deadline)
	}
	return f
}

func CallerOf(ctx context.Context) retry.Caller {
	switch err := ctx.Err(); {
	case err == nil:
		return retry.Waiting
	case errors.Is(err, context.DeadlineExceeded):
		return retry.Expired
	default:
		return retry.Cancelled
	}
}

// retryInfo returns the delay of a google.rpc.RetryInfo among the error's
// details; 0: none.
func retryInfo(err error) time.Duration {
	s, _ := status.FromError(err)
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return max(1, info.GetRetryDelay().AsDuration()) // zero is a time too
		}
	}
	return 0
}
