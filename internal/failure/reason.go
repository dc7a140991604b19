package failure

// Reason is a verdict on a failed attempt: Again, or why not.
type Reason uint8

// The verdicts.
const (
	Again        Reason = iota
	Exhausted           // the attempts are used up
	CallerGone          // the caller cancelled
	NotRetryable        // the code is not among those retried
	Deadline            // the call's deadline has passed, or would before the next attempt
	PushedBack          // the server said not to
	Committed           // part of an answer has been handed to the caller
	Budget              // no token
	Breaker             // the breaker opened meanwhile
	Buffer              // more was sent than is kept to be sent again
	Ambiguous           // the request may have run, and may not be repeated then
)

// String returns the reason as it is written in the reason label of
// astra_retry_suppressed_total; the first three are not counted there.
func (r Reason) String() string {
	switch r {
	case Again:
		return "again"
	case Exhausted:
		return "exhausted"
	case CallerGone:
		return "cancelled"
	case NotRetryable:
		return "not_retryable"
	case Deadline:
		return "deadline"
	case PushedBack:
		return "pushback"
	case Committed:
		return "committed"
	case Budget:
		return "budget"
	case Breaker:
		return "breaker"
	case Buffer:
		return "buffer"
	case Ambiguous:
		return "ambiguous"
	}
	return "invalid"
}

// Suppressed reports whether the reason is one that a failed call was not
// retried for, other than that its attempts were used up or its caller gone.
func (r Reason) Suppressed() bool { return r > CallerGone }
