package interceptors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ErrBreakerOpen is what errors.Is finds in the error of a call that a breaker
// refused. That error is a gRPC status too: UNAVAILABLE, with ErrorInfo
// {Domain: "astra", Reason: "BREAKER_OPEN", Metadata: method, target} and
// RetryInfo, the time after which a call may pass.
var ErrBreakerOpen = errors.New("astra: breaker open")

// ErrLimited is what errors.Is finds in the error of a call that a limit
// refused. No call is refused so by this version, which does not limit.
var ErrLimited = errors.New("astra: limited")

// refusal is an error of ours: a sentinel or a cause that errors.Is finds, and
// a gRPC status.
type refusal struct {
	status *status.Status
	causes []error
}

func (r *refusal) Error() string              { return r.status.String() }
func (r *refusal) GRPCStatus() *status.Status { return r.status }
func (r *refusal) Unwrap() []error            { return r.causes }

func breakerOpen(target, method string, wait time.Duration) error {
	st := status.Newf(codes.Unavailable, "astra: breaker open for %s", method)
	detailed, err := st.WithDetails(
		&errdetails.ErrorInfo{
			Domain:   "astra",
			Reason:   "BREAKER_OPEN",
			Metadata: map[string]string{"method": method, "target": target},
		},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)},
	)
	if err == nil {
		st = detailed
	}
	return &refusal{st, []error{ErrBreakerOpen}}
}

// interrupted is the error of a call whose context ended between attempts: of
// the context's kind, as from grpc-go, and for errors.Is the context's error
// and the last attempt's too.
func interrupted(ctx context.Context, attempts int, last error) error {
	ended := ctx.Err()
	return &refusal{
		status.New(status.FromContextError(ended).Code(),
			fmt.Sprintf("%v in the backoff after attempt %d: %v", ended, attempts, last)),
		[]error{ended, last},
	}
}

// ended is the error of a call whose context was over before any attempt.
func ended(ctx context.Context) error {
	err := ctx.Err()
	return &refusal{status.FromContextError(err), []error{err}}
}

func badCallPolicy(faults error) error {
	return &refusal{status.New(codes.InvalidArgument, "astra: "+faults.Error()), []error{faults}}
}
