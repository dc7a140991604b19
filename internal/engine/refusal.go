package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/text"
)

// ErrBreakerOpen is documented in package interceptors.
var ErrBreakerOpen = errors.New("astra: breaker open")

// ErrLimited is documented in package interceptors.
var ErrLimited = errors.New("astra: limited")

// ErrPanicked is what observers and OnFinish get as the error of a call whose
// interceptor, codec or credentials beneath panicked.
var ErrPanicked = errors.New("astra: panic or Goexit beneath the interceptor")

// maxErrorBytes bounds the text and details of an error that is kept: servers may
// send as much as a header list may hold, by default 16 MiB.
const maxErrorBytes = 8 << 10

// refusal is an error of ours: a sentinel or a cause that errors.Is finds, and
// a gRPC status.
type refusal struct {
	status *status.Status
	causes []error
}

func (r *refusal) Error() string              { return r.status.String() }
func (r *refusal) GRPCStatus() *status.Status { return r.status }
func (r *refusal) Unwrap() []error            { return r.causes }

func breakerOpen(p *Plan, wait time.Duration) error {
	return refused(p, ErrBreakerOpen, codes.Unavailable, "BREAKER_OPEN", "breaker open", wait)
}

func limited(p *Plan, a limit.Answer) error {
	reason := strings.ToUpper(a.Verdict.String())
	what := "too many calls in flight"
	switch a.Verdict {
	case limit.QueueTimeout:
		what = "waited in vain to be let go"
	case limit.RateLimited:
		what = "rate limit exceeded"
	}
	return refused(p, ErrLimited, codes.ResourceExhausted, reason, what, a.After)
}

// refused is the error of a call that was not made. after is when another
// may be.
func refused(p *Plan, cause error, code codes.Code, reason, what string, after time.Duration) error {
	st := status.Newf(code, "astra: %s for %s", what, text.Name(p.Method))
	detailed, err := st.WithDetails(
		&errdetails.ErrorInfo{
			Domain:   "astra",
			Reason:   reason,
			Metadata: map[string]string{"method": text.Name(p.Method), "target": text.Name(p.Target)},
		},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(after)},
	)
	if err == nil {
		st = detailed
	}
	return &refusal{st, []error{cause}}
}

// Interrupted is the error of a call whose context ended between attempts: of
// the context's kind, as from grpc-go, and for errors.Is the context's error
// and the last attempt's too.
func Interrupted(ctx context.Context, attempts int, last error) error {
	ended := ctx.Err()
	return &refusal{
		status.New(status.FromContextError(ended).Code(),
			fmt.Sprintf("%v in the backoff after attempt %d: %v", ended, attempts, last)),
		[]error{ended, last},
	}
}

// Ended is the error of a call whose context was over before any attempt, be it while it waited for a slot.
func Ended(ctx context.Context) error {
	err := ctx.Err()
	return &refusal{status.FromContextError(err), []error{err}}
}

// BadCallPolicy returns the error of a call whose own policy is invalid.
func BadCallPolicy(faults error) error {
	return &refusal{status.New(codes.InvalidArgument, "astra: "+faults.Error()), []error{faults}}
}

// Bounded returns err, or a short copy of one that is too large to be kept.
func Bounded(err error) error {
	if err == nil {
		return nil
	}
	s, _ := status.FromError(err)
	size := len(s.Message())
	for _, d := range s.Proto().GetDetails() {
		size += len(d.GetValue())
	}
	if size <= maxErrorBytes {
		return err
	}
	text := s.Message()
	if len(text) > maxErrorBytes { // cloned, or the rest would be kept with it
		text = strings.ToValidUTF8(strings.Clone(text[:maxErrorBytes]), "")
	}
	short := &refusal{status: status.New(CodeOf(err), fmt.Sprintf("%s … (cut: %d bytes in all)", text, size))}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, ErrBreakerOpen, ErrLimited, ErrPanicked} {
		if errors.Is(err, cause) {
			short.causes = append(short.causes, cause)
		}
	}
	return short
}
