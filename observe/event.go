package observe

import (
	"time"

	"google.golang.org/grpc/codes"
)

// Kind is what an [Event] reports.
type Kind uint8

// The kinds of events. [Event] has a table of the fields that each fills.
const (
	KindUnknown     Kind = iota // no event
	CallStart                   // a call begins; for Hooks.Start only
	AttemptStart                // an attempt begins; for Hooks.Start only
	AttemptEnd                  // an attempt ended: exactly one for each attempt
	BackoffStart                // the wait before another attempt begins
	BackoffEnd                  // that wait is over, or was broken off
	Suppressed                  // a failed call is not retried, for another reason than that its attempts are used up or its caller has gone; or a retry decided before is not made
	BreakerChange               // the breaker changed its state
	CallEnd                     // the call returns: exactly one for each call, except those refused for faults of their own WithCallPolicy
	Replayed                    // what a stream had sent was sent again to a new attempt
	Hedged                      // the fate of a hedge: exactly one for each
	Queued                      // the call begins to wait for its limit
	Dequeued                    // that wait is over; the next event says how: an attempt, Limited or CallEnd
	Limited                     // the limit refused the call
	WouldRefuse                 // breaker or limit would have refused the call, which passes: their mode is to observe
	BackendChange               // the target's backend of that address was ejected, or is back
	BudgetEmpty                 // the target's retry budget refuses a retry, for the first time since it was half full
	BudgetRecovered             // it is half full again
)

var kindNames = [...]string{
	KindUnknown: "unknown", CallStart: "call_start", AttemptStart: "attempt_start", AttemptEnd: "attempt_end",
	BackoffStart: "backoff_start", BackoffEnd: "backoff_end", Suppressed: "suppressed", BreakerChange: "breaker_change",
	CallEnd: "call_end", Replayed: "replayed", Hedged: "hedged", Queued: "queued", Dequeued: "dequeued", Limited: "limited", WouldRefuse: "would_refuse", BackendChange: "backend_change",
	BudgetEmpty: "budget_empty", BudgetRecovered: "budget_recovered",
}

// String returns the kind in snake case: "call_end".
func (k Kind) String() string { return name(kindNames[:], uint8(k)) }

// name returns a constant's name, "invalid" if there is none.
func name(names []string, n uint8) string {
	if int(n) < len(names) {
		return names[n]
	}
	return "invalid"
}

// Event is something that happened to a call, or to the breaker of its method.
// Kind determines which fields are filled; the others are zero. Kind and Shard
// are always filled, except Shard in a BreakerChange that belongs to no call.
//
//	CallStart      AttemptKind (FirstAttempt)
//	AttemptStart   Attempt, AttemptKind
//	AttemptEnd     Attempt, AttemptKind, Code, Err, Elapsed if asked for; Backend and
//	               Elsewhere if the suite balances load and the attempt got one
//	BackoffStart   Attempt (the one that failed, so also the number of the retry),
//	               Delay (planned), Code and Err of the failure
//	BackoffEnd     Attempt, Delay and Code as at the start
//	Suppressed     Attempt, Code, Reason
//	BreakerChange  From, To, Reason; Delay: of an opening, until a probe at the
//	               latest, of a recovery, since the breaker opened; with
//	               ReasonRestored and ReasonFleet the context is no call's
//	CallEnd        Outcome, Attempt and Hedges (how many there were), Code and Err
//	               (what the caller sees; if Rescued, what it would have seen),
//	               FailedCode, Exhausted, Waited, Elapsed if asked for; Reason if the call failed
//	               or was rescued: why its last failure was not retried, or why it
//	               was refused; Backend of the last attempt that ended
//	Replayed       Attempt, Messages
//	Hedged         Attempt, Hedge; Reason if it was suppressed
//	Queued         nothing else
//	Dequeued       Delay (how long the call waited)
//	Limited        Reason, Delay (that of the error's RetryInfo)
//	WouldRefuse    Outcome (RejectedBreaker or RejectedLimit, had it been refused), Reason
//	BackendChange  Backend, From, To, Reason: BreakerOpen is out, BreakerHalfOpen is
//	               on trial, BreakerClosed is in; Delay as of a BreakerChange
//	BudgetEmpty    Code (that of the attempt that is not made again)
//	BudgetRecovered
//	               Delay, since the budget was empty
type Event struct {
	Kind        Kind
	Outcome     Outcome
	AttemptKind AttemptKind
	Hedge       HedgeResult
	Reason      Reason
	From, To    BreakerState
	Exhausted   bool       // the call failed with a retryable code and no attempts left
	Code        codes.Code // as gRPC would show Err
	FailedCode  codes.Code // that of the last attempt that failed; OK: none did
	Backend     string     // its address
	Elsewhere   bool       // the attempt went to a backend that its call, having been to another, had not been to
	Shard       uint32     // a number that calls on different processors mostly do not share: a counter can be striped with it
	Attempt     int        // 1 is the first
	Hedges      int
	Messages    int
	Delay       time.Duration
	Waited      time.Duration // in backoffs, as long as they were
	Elapsed     time.Duration // since the call began; 0 unless some hook of the endpoint has Hooks.Elapsed. Of AttemptEnd, since the attempt began; see Hooks.AttemptElapsed
	Err         error
}

// AttemptKind is what an attempt is made for.
type AttemptKind uint8

// The kinds of attempts.
const (
	FirstAttempt  AttemptKind = iota // every call has one
	RetryAttempt                     // another has failed
	ResumeAttempt                    // continues a stream after messages were delivered; see interceptors.Resume
	HedgeAttempt                     // another still runs, or has failed; see interceptors.Hedge
)

var attemptKindNames = [...]string{FirstAttempt: "first", RetryAttempt: "retry", ResumeAttempt: "resume", HedgeAttempt: "hedge"}

// String returns the kind as it is written in metric labels.
func (k AttemptKind) String() string { return name(attemptKindNames[:], uint8(k)) }

// HedgeResult is the fate of a hedge.
type HedgeResult uint8

// The fates of hedges.
const (
	HedgeNone       HedgeResult = iota // the event concerns no hedge
	HedgeWon                           // it answered the call
	HedgeLost                          // another did, or none
	HedgeSuppressed                    // it was due and not made; Event.Reason says why
)

var hedgeResultNames = [...]string{HedgeNone: "none", HedgeWon: "won", HedgeLost: "lost", HedgeSuppressed: "suppressed"}

// String returns the result as it is written in metric labels.
func (r HedgeResult) String() string { return name(hedgeResultNames[:], uint8(r)) }

// Outcome is how a call ended, as its caller sees it.
type Outcome uint8

// How a call can end.
const (
	OutcomeNone       Outcome = iota // it has not ended
	SuccessFirst                     // the first attempt succeeded
	SuccessAfterRetry                // a later one did
	SuccessHedge                     // a hedge did
	Failed                           // none did
	RejectedBreaker                  // the breaker refused it: no attempt was made
	RejectedLimit                    // the limit did: no attempt was made
	Rescued                          // the fallback answered
)

var outcomeNames = [...]string{
	OutcomeNone: "none", SuccessFirst: "success_first", SuccessAfterRetry: "success_after_retry", SuccessHedge: "success_hedge",
	Failed: "failed", RejectedBreaker: "rejected_breaker", RejectedLimit: "rejected_limit", Rescued: "fallback",
}

// String returns the outcome as it is written in metric labels.
func (o Outcome) String() string { return name(outcomeNames[:], uint8(o)) }

// Outcomes returns all outcomes of calls that have ended, so without
// OutcomeNone.
func Outcomes() []Outcome {
	return []Outcome{SuccessFirst, SuccessAfterRetry, SuccessHedge, Failed, RejectedBreaker, RejectedLimit, Rescued}
}
