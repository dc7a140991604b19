package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astra-grpc/astra/internal/breaker"
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

// refused is the error of a call that was not made: the same, but its text and details
// are made when somebody asks for them. In an outage thousands of calls are refused
// whose callers want to know no more than that.
type refused struct {
	cause          error
	code           codes.Code
	method, target string
	describe       func() description

	once sync.Once
	made *status.Status
}

// description is what the error says.
type description struct {
	reason     string // machines'
	what, more string // people's
	facts      map[string]string
	after      time.Duration // another may be made
}

func (r *refused) Error() string { return r.GRPCStatus().String() }
func (r *refused) Unwrap() error { return r.cause }

// GRPCStatus names the pair, so that it fits into a log without the call.
func (r *refused) GRPCStatus() *status.Status {
	r.once.Do(func() {
		d := r.describe()
		method, target := text.Name(r.method), text.Name(r.target)
		r.made = status.Newf(r.code, "astra: %s for %s of %q%s", d.what, method, target, d.more)
		facts := map[string]string{"method": method, "target": target}
		maps.Copy(facts, d.facts)
		detailed, err := r.made.WithDetails(
			&errdetails.ErrorInfo{Domain: "astra", Reason: d.reason, Metadata: facts},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(d.after)},
		)
		if err == nil {
			r.made = detailed
		}
	})
	return r.made
}

// breakerOpen says since when the breaker has been open, why, and when it will
// probe: of a server that hangs, too, since the opening.
func breakerOpen(h *Host, p *Plan, g *breaker.Guard, wait time.Duration) error {
	s, epoch := g.Status(h.Now()), h.Epoch
	return &refused{cause: ErrBreakerOpen, code: codes.Unavailable, method: p.Method, target: p.Target, describe: func() description {
		d := description{reason: "BREAKER_OPEN", what: "breaker open", after: wait}
		if s.State != breaker.Closed { // else it has closed since it refused the call
			since := epoch.Add(s.Since).UTC().Format(time.RFC3339)
			d.more = fmt.Sprintf(" since %s (%v): next probe in %v at the latest", since, s.Cause, short(wait))
			d.facts = map[string]string{"open_since": since, "cause": s.Cause.String()}
		}
		return d
	}}
}

func limited(p *Plan, a limit.Answer) error {
	return &refused{cause: ErrLimited, code: codes.ResourceExhausted, method: p.Method, target: p.Target, describe: func() description {
		d := description{
			reason: strings.ToUpper(a.Verdict.String()), what: "too many calls in flight", after: a.After,
			more: fmt.Sprintf(": another call may start in %v", short(a.After)),
		}
		switch a.Verdict {
		case limit.QueueTimeout:
			d.what = "timed out waiting for a slot"
		case limit.RateLimited:
			d.what = "rate limit exceeded"
		}
		return d
	}}
}

// short leaves three figures or so of a time.
func short(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d
}

// Interrupted is the error of a call whose context ended between attempts: of
// the context's kind, as from grpc-go, and for errors.Is the context's error
// and the last attempt's too.
func Interrupted(ctx context.Context, attempts int, last error) error {
	ended := ctx.Err()
	return &refusal{
		status.New(status.FromContextError(ended).Code(),
			fmt.Sprintf("%v in the backoff after attempt %d: %s", ended, attempts, text.Message(last.Error()))),
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
	if _, ok := err.(*refused); ok { //nolint:errorlint // one that wraps it may be of any size
		return err
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

// CodeOf returns the code of an error as gRPC would show it. An interceptor
// beneath may return a bare context error, which is that, not UNKNOWN.
func CodeOf(err error) codes.Code {
	if r, ok := err.(*refused); ok { //nolint:errorlint // one that wraps it may have another
		return r.code
	}
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
