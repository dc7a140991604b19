package interceptors

import (
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// CallReport is how a call went: see [Attempts].
type CallReport struct {
	// Attempts is how many were made. 0: the call was refused, or its context
	// had ended.
	Attempts int
	// Hedges is how many of them were hedges.
	Hedges int
	// Waited is the time spent in backoffs.
	Waited time.Duration
	// Outcome is how the call ended.
	Outcome observe.Outcome
	// Code is the code of the call's error, or of the error that a fallback
	// replaced.
	Code codes.Code
	// Reason is why there was no further attempt, or why the call was refused.
	// [observe.ReasonNone]: none was needed, MaxAttempts were made (Exhausted),
	// or the caller cancelled.
	Reason observe.Reason
	// Exhausted is true if the attempts were used up.
	Exhausted bool
}

// Attempts fills r, when the call returns, with the number of its attempts and
// why there were no more. For a stream that is when RecvMsg returns its last
// error, or when the stream cannot be opened; until then, and if the stream is
// abandoned, r is not written. It does nothing on a connection without a suite.
func Attempts(r *CallReport) grpc.CallOption { return attemptsOption{report: r} }

type attemptsOption struct {
	grpc.EmptyCallOption

	report *CallReport
}

// fillReports fills what the caller's options want to know.
func fillReports(opts []grpc.CallOption, c *engine.Call, err error, rescued bool) {
	for _, opt := range opts {
		if o, ok := opt.(attemptsOption); ok && o.report != nil {
			*o.report = reportOf(c.Report(err, rescued))
		}
	}
}

func reportOf(r journal.Report) CallReport {
	return CallReport{Attempts: r.Attempts, Hedges: r.Hedges, Waited: r.Waited, Outcome: r.Outcome, Code: r.Code, Reason: r.Reason, Exhausted: r.Exhausted}
}
