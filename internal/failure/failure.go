// Package failure is what a failed attempt says by the rules of gRFC A6, and the
// reasons for which nothing follows it. Retries in turn (package retry) and
// attempts side by side (package hedge) decide by it.
package failure

import (
	"math"
	"time"

	"google.golang.org/grpc/codes"
)

// Caller is the state of the caller's context, which distinguishes a server's CANCELLED
// or DEADLINE_EXCEEDED from the caller's own.
type Caller uint8

// What a caller can be doing.
const (
	Waiting   Caller = iota // the context lives
	Cancelled               // the caller gave up
	Expired                 // the call's deadline has passed
)

// Forever is the Remaining of a call without deadline.
const Forever = time.Duration(math.MaxInt64)

// Failure is all that matters of a failed attempt.
type Failure struct {
	Code      codes.Code
	Caller    Caller
	Committed bool          // part of the answer has been handed to the caller
	Final     bool          // it would fail in the same way again, or has run
	Again     bool          // somebody who knows better than the code asks for another
	Stop      bool          // somebody who knows better than the code forbids another
	Ambiguous bool          // it may have run, and the policy repeats no such request
	Pushback  Pushback      // the server's word, by trailer
	RetryInfo time.Duration // the server's hint, by status detail; 0: none
	Elsewhere bool          // the backend failed, and there is another that is well
	Remaining time.Duration // until the call's deadline
}

// HintMost is how far a RetryInfo may put off the next attempt (the rule of the
// AWS SDKs): a server may ask for patience, not park its clients.
const HintMost = 5 * time.Second

// Hinted reports whether the server said when to try again.
func (f *Failure) Hinted() bool { return f.Pushback.Given || f.RetryInfo > 0 }

// Wait returns how long the server asks to wait before the next attempt: a
// pushback exactly, a hint within bounds.
func (f *Failure) Wait() time.Duration {
	if f.Pushback.Given {
		return f.Pushback.Delay
	}
	return min(f.RetryInfo, HintMost)
}
