// Package retry decides what follows a failed attempt: another one after a
// delay, or the end and why. It knows the rules of gRFC A6 and this project's
// contract; time left and chance come in as arguments, and whoever holds the
// shared means, budget and breaker, is asked afterwards.
package retry

import (
	"math"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/jitter"
)

// Policy is what a method retries and how. All fields must be set.
type Policy struct {
	MaxAttempts int
	Codes       astracodes.Set
	Backoff     jitter.Backoff
	PerCode     map[codes.Code]jitter.Backoff // instead of Backoff after these
}

// backoff returns the schedule that follows a code.
func (p *Policy) backoff(c codes.Code) jitter.Backoff {
	if b, ok := p.PerCode[c]; ok {
		return b
	}
	return p.Backoff
}

// Caller is the state of the caller's context, which tells a server's CANCELLED
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
	Ambiguous bool          // it may have run, and the policy repeats no such request
	Pushback  Pushback      // the server's word, by trailer
	RetryInfo time.Duration // the server's hint, by status detail; 0: none
	Remaining time.Duration // until the call's deadline
}

// hintSlack is how far a RetryInfo may stretch the computed delay (the rule of
// the AWS SDKs): a server may ask for patience, not park its clients.
const hintSlack = 5 * time.Second

// Decision is what to do next: attempt again after Delay if Reason is Again,
// else stop for that reason.
type Decision struct {
	Delay  time.Duration
	Reason Reason
}

// Loop is one call's way through its attempts. The zero value is ready.
type Loop struct {
	Attempts int // begun so far

	past int           // of these, before the last message delivered
	step int           // retries since the start, the last pushback or message
	prev time.Duration // delay before the last attempt
}

// Next decides after a failed attempt. u in [0,1) draws the jitter.
func (l *Loop) Next(p *Policy, f Failure, u float64) Decision {
	switch {
	case f.Committed:
		return Decision{Reason: Committed}
	case f.Caller == Cancelled:
		return Decision{Reason: CallerGone}
	case f.Caller == Expired:
		return Decision{Reason: Deadline}
	case f.Final, !f.retryable(p):
		return Decision{Reason: NotRetryable}
	case l.Attempts-l.past >= p.MaxAttempts:
		return Decision{Reason: Exhausted}
	case f.Ambiguous:
		return Decision{Reason: Ambiguous}
	case f.Pushback.Stop:
		return Decision{Reason: PushedBack}
	}
	d := l.delay(p, f, u)
	if d >= f.Remaining {
		return Decision{Reason: Deadline}
	}
	return Decision{Delay: d, Reason: Again}
}

// Delivered says that the running attempt has delivered a message, and that the
// stream can be resumed after it: that much has been achieved, so attempts and
// backoff count from here. The running attempt is the first of the new count.
func (l *Loop) Delivered() {
	l.past, l.step, l.prev = l.Attempts-1, 0, 0
}

// retryable: RESOURCE_EXHAUSTED is retried, beside the policy's codes, when
// the server says when.
func (f *Failure) retryable(p *Policy) bool {
	return p.Codes.Contains(f.Code) ||
		f.Code == codes.ResourceExhausted && (f.Pushback.Given || f.RetryInfo > 0)
}

func (l *Loop) delay(p *Policy, f Failure, u float64) time.Duration {
	if f.Pushback.Given { // exact, and the schedule starts over (gRFC A6)
		l.step, l.prev = 0, 0
		return f.Pushback.Delay
	}
	l.step++
	l.prev = p.backoff(f.Code).Next(l.step, l.prev, u)
	return l.prev + min(max(f.RetryInfo, l.prev)-l.prev, hintSlack)
}
