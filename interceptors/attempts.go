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
	// Attempts is how many there were; 0: none, as the call was refused, or its
	// context had ended.
	Attempts int
	// Hedges is how many of them were.
	Hedges int
	// Waited is the time spent in backoffs.
	Waited time.Duration
	// Outcome is how the call ended.
	Outcome observe.Outcome
	// Code is that of the call's error; of one that a fallback answered, of the
	// error that it rescued the call from.
	Code codes.Code
	// Reason is why there was no other attempt, or why the call was refused.
	// [observe.ReasonNone]: there was no need for one, as many had been made as are
	// allowed (Exhausted), or the caller had gone.
	Reason observe.Reason
	// Exhausted is true if the attempts were used up.
	Exhausted bool
}

// Attempts fills r, when the call returns, with how often it was tried, and why
// no more. Of a stream that is when RecvMsg returns its last error, or when the
// stream cannot be made; before that, and if it is abandoned, r is not touched.
// It does nothing on a connection without a suite.
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
