package observe

// Reason is why something happened: an [Event] of the kinds Suppressed, Hedged,
// CallEnd, Limited or BreakerChange.
type Reason uint8

// The reasons.
const (
	ReasonNone Reason = iota // there is none

	// Why a call was not retried, or a hedge not made.

	ReasonNotRetryable // the code is not among those retried
	ReasonDeadline     // the call's deadline has passed, or would before the next attempt
	ReasonPushback     // the server said not to
	ReasonCommitted    // part of an answer has been handed to the caller
	ReasonBudget       // the retry budget is empty
	ReasonBreaker      // the breaker opened meanwhile
	ReasonBuffer       // a stream sent more than is kept to be sent again
	ReasonAmbiguous    // the request may have run, and Retry.Repeat does not repeat it then

	// Why a call was refused.

	ReasonBreakerOpen  // by the breaker
	ReasonQueueFull    // by the limit: its queue is full
	ReasonQueueTimeout // by the limit: the call waited in vain
	ReasonRateLimited  // by the limit: its rate is used up

	// Why a breaker changed its state.

	ReasonConsecutive    // failures in a row
	ReasonFailureRate    // the share of failures in the window
	ReasonFailureBalance // failures that successes did not outweigh
	ReasonSlowRate       // the share of slow calls in the window
	ReasonProbeFailed    // a probe failed or was slow
	ReasonOpenTimeOver   // the open time is over
	ReasonEnoughRefused  // calls refused earned a probe before that
	ReasonRecovered      // enough probes succeeded
	ReasonRestored       // it was open when an earlier process ended
	ReasonFleet          // other instances opened theirs
	ReasonByHand         // Suite.ForceOpen, ForceClose or Release

	ReasonMustWait // of a WouldRefuse: the call would have waited for its limit
)

var reasonNames = [...]string{
	ReasonNone: "none", ReasonNotRetryable: "not_retryable", ReasonDeadline: "deadline", ReasonPushback: "pushback",
	ReasonCommitted: "committed", ReasonBudget: "budget", ReasonBreaker: "breaker", ReasonBuffer: "buffer", ReasonAmbiguous: "ambiguous",
	ReasonBreakerOpen: "breaker_open", ReasonQueueFull: "queue_full", ReasonQueueTimeout: "queue_timeout", ReasonRateLimited: "rate_limited",
	ReasonConsecutive: "consecutive", ReasonFailureRate: "failure_rate", ReasonFailureBalance: "failure_balance", ReasonSlowRate: "slow_rate",
	ReasonProbeFailed: "probe_failed", ReasonOpenTimeOver: "open_time_over", ReasonEnoughRefused: "enough_refused",
	ReasonRecovered: "recovered", ReasonRestored: "restored", ReasonFleet: "fleet", ReasonByHand: "by_hand", ReasonMustWait: "must_wait",
}

// String returns the reason as it is written in metric labels.
func (r Reason) String() string { return name(reasonNames[:], uint8(r)) }
