package interceptors

import (
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/internal/verdict"
)

// Classifier overrules what the end of an attempt means where its status code
// does not suffice: by error details, trailers, or the reply. It is called on
// the goroutine that makes the attempt, for many attempts concurrently, and
// must return at once. If it panics, the attempt counts as if there were no
// classifier. A panic, and a call that takes more than 10 ms, are logged once.
type Classifier func(Attempt) Verdict

// Attempt is an attempt that ended, as a [Classifier] sees it. A classifier
// must neither change nor keep what it points to.
type Attempt struct {
	Target, Method string
	Number         int        // among the call's attempts, from 1
	Err            error      // nil: it succeeded, see [ClassifyReplies]
	Code           codes.Code // of Err
	Reply          any        // of a unary call; filled only if Err is nil

	// Header is nil if no header came. Trailer is nil if the server did not end
	// the call: the suite or grpc-go did, or the connection was lost.
	Header, Trailer metadata.MD
	// Sent reports whether the request got a stream on a connection. One
	// without a stream cannot have run.
	Sent bool
}

// Verdict is what a [Classifier] says of an attempt: any of the constants,
// combined by |. Zero leaves everything to the status code.
type Verdict uint8

// The parts of a verdict.
const (
	// VerdictRetry asks for another attempt, whatever the code and
	// [Retry.Repeat] say. MaxAttempts, deadline, breaker, budget and the server's
	// pushback hold.
	VerdictRetry = Verdict(verdict.Again)
	// VerdictStop forbids another attempt.
	VerdictStop = Verdict(verdict.Stop)
	// VerdictSuccess counts the attempt, if it is the call's last, as the
	// breaker's success, which earns budget.
	VerdictSuccess = Verdict(verdict.Success)
	// VerdictFailure counts it as the breaker's failure.
	VerdictFailure = Verdict(verdict.Failure)
)

// slowClassifier is how long a call of a classifier may take unnoticed.
const slowClassifier = 10 * time.Millisecond

// ClassifierOption is an option of [WithClassifier].
type ClassifierOption func(*classifier)

// ClassifyReplies calls the function for successful unary attempts, too, except
// those of hedged calls. If it asks for another attempt and none may be made,
// the call returns the reply and no error.
func ClassifyReplies() ClassifierOption { return func(c *classifier) { c.alsoReplies = true } }

// classifier is a function and what has been logged of it. A nil one rules
// nothing.
type classifier struct {
	of             Classifier
	alsoReplies    bool
	slow, panicked atomic.Bool
}

func (c *classifier) replies() bool { return c != nil && c.alsoReplies }

// rule asks the function about an attempt that ended.
func (c *classifier) rule(call *engine.Call, a Attempt) (r verdict.Ruling) {
	if c == nil || engine.CallerOf(call.Ctx) == failure.Cancelled {
		return 0
	}
	a.Target, a.Method = call.Plan.Target, call.Plan.Method
	if a.Number == 0 {
		a.Number = call.Attempts()
	}
	if a.Err != nil {
		a.Code, a.Reply = engine.CodeOf(a.Err), nil
	}
	began := call.Host.Now()
	defer func() {
		if what := recover(); what != nil {
			if c.panicked.CompareAndSwap(false, true) {
				call.Host.Log().Error("astra: classifier panicked: its attempts are judged by their status codes", "method", text.Name(a.Method), "panic", what)
			}
		}
	}()
	r = verdict.Ruling(c.of(a))
	if took := call.Host.Now() - began; took > slowClassifier && c.slow.CompareAndSwap(false, true) {
		call.Host.Log().Warn("astra: classifier is slow and delays calls: it must return at once", "method", text.Name(a.Method), "took", took)
	}
	return r
}
