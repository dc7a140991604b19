package breaker

// State is where a breaker stands. The values are those of the
// astra_breaker_state metric.
type State uint8

// Where a breaker can stand.
const (
	Closed   State = iota // calls pass and are counted
	HalfOpen              // a few calls, the probes, pass and decide
	Open                  // no call passes until the open time is over
)

// String returns "closed", "half-open" or "open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	}
	return "invalid"
}

// Reason is why a breaker changed its state.
type Reason uint8

// Why a breaker can change.
const (
	None          Reason = iota
	Consecutive          // failures in a row
	FailureRate          // share of failures in the window
	Balance              // failures that successes did not outweigh
	SlowRate             // share of slow calls in the window
	ProbeFailed          // a probe failed or was slow
	Probing              // the open time is over, or there is a connection again
	EnoughRefused        // calls refused have earned a probe before that
	Recovered            // enough probes succeeded
	Restored             // it was open when an earlier process ended
	Fleet                // other instances have opened theirs
	ByHand               // somebody forced it, or let go of it
)

// String returns the reason as it is written in metric labels.
func (r Reason) String() string {
	switch r {
	case None:
		return "none"
	case Consecutive:
		return "consecutive"
	case FailureRate:
		return "failure_rate"
	case Balance:
		return "failure_balance"
	case SlowRate:
		return "slow_rate"
	case ProbeFailed:
		return "probe_failed"
	case Probing:
		return "open_time_over"
	case EnoughRefused:
		return "enough_refused"
	case Recovered:
		return "recovered"
	case Restored:
		return "restored"
	case Fleet:
		return "fleet"
	case ByHand:
		return "by_hand"
	}
	return "invalid"
}

// Outcome is what a call says about the server.
type Outcome uint8

// What a call can say.
const (
	Neutral     Outcome = iota // nothing: cancelled by the caller, or the caller's own fault
	Success                    // it answers
	SlowSuccess                // it answers, too slowly
	Failure                    // it does not serve
	Unreached                  // there is no connection to it
	SlowFailure                // it took its time and did not serve
)

func (o Outcome) failed() bool { return o == Failure || o == Unreached || o == SlowFailure }
func (o Outcome) slow() bool   { return o == SlowSuccess || o == SlowFailure }
