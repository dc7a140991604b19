package observe

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// Observer is told what happens to calls: metrics, logs and traces are
// observers. It is asked once for each method of each target, at the first
// call, and answers with a [Recorder] that is then told of all of them, or nil
// if it does not care.
//
// Events reach an observer through a queue of its own, in order, on a
// goroutine of the suite's: a slow one delays no call, but misses events,
// evictions among them, when its queue of 4096 is full, which is logged. One that promises to be quick
// can be told in line: see [InlineObserver]. A panic in an observer is
// recovered and logged once; the call goes on.
type Observer interface {
	Method(e Endpoint) Recorder
}

// InlineObserver is an Observer whose methods return at once, without waiting
// for anything and without calling the suite. It is called on the caller's
// goroutine, many at a time, and misses nothing. Its recorders may be
// [Starter]s.
type InlineObserver interface {
	Observer
	Inline() // marks the promise; never called
}

// Recorder is told of one method's calls on one target. ctx is the call's, or
// the attempt's for what happens to an attempt. If it has a method Evicted(),
// that is called when the suite forgets the method because it has been idle.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// Starter is a Recorder of an [InlineObserver] that wants to know when calls
// and attempts begin (CallStart, AttemptStart) and may give them a context: a
// span of the call's that an attempt's becomes the child of; nil: they keep
// ctx. Events of the call or attempt come with that context.
//
// If Start(CallStart) returns more = false, the recorder is told nothing else
// of this call, nor are its attempts asked for: those that sample calls are
// cheap for the others. Of attempts more means nothing.
type Starter interface {
	Recorder
	Start(ctx context.Context, e Event) (own context.Context, more bool)
}

// SuccessRecorder is a Recorder of an [InlineObserver] that wants the usual
// case, a call whose first attempt succeeds, told in one word: Succeeded is
// called for it instead of Record with an AttemptEnd and a CallEnd. lane is
// [Event].Lane. It is to metrics what saves a third of the suite's time.
type SuccessRecorder interface {
	Recorder
	Succeeded(lane uint32)
}

// SelectiveObserver is an [Observer] that wants few of its events: those that
// Select says yes to reach its queue, the others cost no more than the question.
// Select is asked in line, many at a time, as an [InlineObserver] is told, and
// keeps the same promise.
type SelectiveObserver interface {
	Observer
	Select(e Event) bool
}

// TimedObserver is an [Observer] that wants [Event].Elapsed. For one that does,
// each call looks at the clock twice.
type TimedObserver interface {
	Observer
	Timed() // marks the wish; never called
}

// Kind says what an [Event] tells of.
type Kind uint8

const (
	// CallStart says that a call begins. Only told to a [Starter].
	CallStart Kind = iota
	// AttemptStart says that an attempt begins. Attempt, AttemptKind. Only told to a [Starter].
	AttemptStart
	// AttemptEnd says that an attempt ended. Attempt, AttemptKind, Code, Err.
	// Told exactly once for each attempt.
	AttemptEnd
	// BackoffStart says that the wait before another attempt begins. Attempt is the
	// one that failed, so also the number of the retry; Delay is the planned
	// length; Code and Err are the failure's.
	BackoffStart
	// BackoffEnd says that this wait is over, or was broken off. Attempt and Delay as
	// at its start.
	BackoffEnd
	// Suppressed says that a failed call is not retried for another reason than that
	// its attempts are used up or its caller has gone, or a retry decided
	// before is not made. Reason, Attempt, Code.
	Suppressed
	// BreakerChange says that the breaker changed its state. From, To, Reason.
	// Where a [Store] is the cause (reasons "restored", "fleet"), ctx is no call's.
	BreakerChange
	// CallEnd says that the call returns. Outcome, Attempt (the number made), Hedges
	// (how many of them were), Code and Err as the caller sees them (if Rescued:
	// as it would have), Exhausted, Waited, Elapsed. Reason, if the call failed:
	// why its last failure was suppressed, or why it was refused: "breaker_open",
	// or the limit's reason.
	// Told exactly once for each call, but for one refused for the faults of
	// its own [WithCallPolicy].
	CallEnd
	// Replayed says that what a stream had sent was sent again to a new
	// attempt. Attempt, Messages.
	Replayed
	// Hedged says what became of a hedge, once for each: Hedge, Attempt, and
	// Reason if it was suppressed.
	Hedged
	// Queued says that the call begins to wait for its limit.
	Queued
	// Dequeued says that this wait is over. Delay is how long it took. Whether
	// it was in vain, what comes next tells: an attempt, Limited or CallEnd.
	Dequeued
	// Limited says that the limit refused the call. Reason is "queue_full",
	// "queue_timeout" or "rate_limited"; Delay is that of the error's RetryInfo.
	Limited
)

// AttemptKind is what an attempt is made for.
type AttemptKind uint8

// The kinds of attempts.
const (
	FirstAttempt  AttemptKind = iota // every call has one
	RetryAttempt                     // another has failed
	ResumeAttempt                    // continues a stream after messages were delivered; see [Resume]
	HedgeAttempt                     // another still runs, or has failed; see [Hedge]
)

// String returns the kind as it is written in metric labels.
func (k AttemptKind) String() string {
	switch k {
	case FirstAttempt:
		return "first"
	case RetryAttempt:
		return "retry"
	case ResumeAttempt:
		return "resume"
	case HedgeAttempt:
		return "hedge"
	}
	return "invalid"
}

// HedgeResult is what became of a hedge.
type HedgeResult uint8

// What can become of a hedge.
const (
	HedgeWon        HedgeResult = iota // it answered the call
	HedgeLost                          // another did, or none
	HedgeSuppressed                    // it was due and not made; Reason tells why
)

// String returns the result as it is written in metric labels.
func (r HedgeResult) String() string {
	switch r {
	case HedgeWon:
		return "won"
	case HedgeLost:
		return "lost"
	case HedgeSuppressed:
		return "suppressed"
	}
	return "invalid"
}

// Event is something that happened to a call. Which fields are set depends on
// Kind.
type Event struct {
	Kind     Kind
	Outcome  Outcome
	From, To BreakerState
	// Exhausted: the call failed with a retryable code and no attempts left.
	Exhausted bool
	// Lane is a number that calls running on different processors mostly do
	// not share: with it a counter can be striped.
	Lane        uint32
	Attempt     int
	AttemptKind AttemptKind
	Hedge       HedgeResult
	Hedges      int
	Messages    int
	Code        codes.Code
	Delay       time.Duration
	Waited      time.Duration // in backoffs, as long as they were
	Elapsed     time.Duration // since the call began; 0 if no observer is a [TimedObserver]
	Reason      string
	Err         error
}

// Outcome is how a call ended, as the caller sees it.
type Outcome uint8

// How a call can end.
const (
	SuccessFirst      Outcome = iota // the first attempt succeeded
	SuccessAfterRetry                // a later one did
	SuccessHedge                     // a hedge did
	Failed                           // none did
	RejectedBreaker                  // the breaker refused it: no attempt was made
	RejectedLimit                    // the limit did: no attempt was made
	Rescued                          // the fallback answered
)

// String returns the outcome as it is written in metric labels.
func (o Outcome) String() string {
	switch o {
	case SuccessFirst:
		return "success_first"
	case SuccessAfterRetry:
		return "success_after_retry"
	case SuccessHedge:
		return "success_hedge"
	case Failed:
		return "failed"
	case RejectedBreaker:
		return "rejected_breaker"
	case RejectedLimit:
		return "rejected_limit"
	case Rescued:
		return "fallback"
	}
	return "invalid"
}

// Outcomes lists all outcomes.
func Outcomes() []Outcome {
	return []Outcome{SuccessFirst, SuccessAfterRetry, SuccessHedge, Failed, RejectedBreaker, RejectedLimit, Rescued}
}

// BreakerState is where a breaker stands; its values are those of the
// astra_breaker_state metric.
type BreakerState uint8

// Where a breaker can stand.
const (
	BreakerClosed   BreakerState = iota // calls pass
	BreakerHalfOpen                     // a few calls pass, to find out
	BreakerOpen                         // no call passes
)

// String returns "closed", "half-open" or "open".
func (s BreakerState) String() string {
	switch s {
	case BreakerClosed:
		return "closed"
	case BreakerHalfOpen:
		return "half-open"
	case BreakerOpen:
		return "open"
	}
	return "invalid"
}

// Endpoint is a method of a target, with the state that the suite keeps for
// it. Its methods may be called at any time, from any goroutine.
type Endpoint struct{ of source_ }

// source_ is what a suite keeps.
type source_ interface {
	Target() string
	CanonicalTarget() string
	Method() string
	BreakerState() (s BreakerState, ok bool)
	BudgetTokens() (tokens float64, ok bool)
	LimitState() (s LimitState, ok bool)
}

// NewEndpoint is for suites, and for tests of observers.
func NewEndpoint(of source_) Endpoint { return Endpoint{of} }

// Target returns the target as the connection was given it.
func (e Endpoint) Target() string { return e.of.Target() }

// CanonicalTarget returns the target with its scheme.
func (e Endpoint) CanonicalTarget() string { return e.of.CanonicalTarget() }

// Method returns the full method name, "/pkg.Service/Method".
func (e Endpoint) Method() string { return e.of.Method() }

// BreakerState returns where the breaker stands now, by the clock.
func (e Endpoint) BreakerState() (s BreakerState, ok bool) { return e.of.BreakerState() }

// BudgetTokens returns what the target's retry budget holds now.
func (e Endpoint) BudgetTokens() (tokens float64, ok bool) { return e.of.BudgetTokens() }

// LimitState is how far a limit is used.
type LimitState struct {
	InFlight int // calls that hold a slot
	Queued   int // calls that wait
	Max      int // calls that may be in flight; 0: any number
}

// LimitState returns how far the limit is used now.
func (e Endpoint) LimitState() (s LimitState, ok bool) { return e.of.LimitState() }

// NoticeKind says what a [Notice] tells of.
type NoticeKind uint8

const (
	// Reloaded says that all policies were replaced (Result "success"), or were
	// to be and could not be ("failed", Err).
	Reloaded NoticeKind = iota
	// StateRestored says what came of reading a [Store] at New.
	StateRestored
	// StateSaved says what came of writing to it.
	StateSaved
	// StateShared says what came of telling other instances of a breaker, or
	// of hearing from them.
	StateShared
)

// Notice is something that happens to a suite, not to a call.
type Notice struct {
	Kind   NoticeKind
	Result string // "success", "failed", or another of few words, fit for a label
	Err    error
}

// SuiteObserver is an [Observer] that is told of the suite itself, too. It is
// called where it happens, seldom, and is to return at once without calling
// the suite.
type SuiteObserver interface {
	Observer
	Notice(n Notice)
}
