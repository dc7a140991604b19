// Package retry decides what follows a failed attempt: another one after a
// delay, or the end and why. It knows the rules of gRFC A6 and this project's
// contract; time left and chance come in as arguments, and whoever holds the
// shared means, budget and breaker, is asked afterwards.
package retry

import (
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
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

// Decision is what to do next: attempt again after Delay if Reason is Again,
// else stop for that reason.
type Decision struct {
	Delay  time.Duration
	Reason failure.Reason
}

// Loop is one call's way through its attempts. The zero value is ready.
type Loop struct {
	Attempts int // begun so far

	past int           // of these, before the last message delivered
	step int           // retries since the start, the last pushback or message
	prev time.Duration // delay before the last attempt
}

// Next decides after a failed attempt. u in [0,1) draws the jitter.
func (l *Loop) Next(p *Policy, f failure.Failure, u float64) Decision {
	switch {
	case f.Committed:
		return Decision{Reason: failure.Committed}
	case f.Caller == failure.Cancelled:
		return Decision{Reason: failure.CallerGone}
	case f.Caller == failure.Expired:
		return Decision{Reason: failure.Deadline}
	case f.Final, f.Stop, !f.Again && !p.retries(&f):
		return Decision{Reason: failure.NotRetryable}
	case l.Attempts-l.past >= p.MaxAttempts:
		return Decision{Reason: failure.Exhausted}
	case f.Ambiguous && !f.Again:
		return Decision{Reason: failure.Ambiguous}
	case f.Pushback.Stop:
		return Decision{Reason: failure.PushedBack}
	}
	d := l.delay(p, f, u)
	if d >= f.Remaining {
		return Decision{Reason: failure.Deadline}
	}
	return Decision{Delay: d, Reason: failure.Again}
}

// Delivered says that the running attempt has delivered a message, and that the
// stream can be resumed after it: that much has been achieved, so attempts and
// backoff count from here. The running attempt is the first of the new count.
func (l *Loop) Delivered() {
	l.past, l.step, l.prev = l.Attempts-1, 0, 0
}

// retries: RESOURCE_EXHAUSTED is retried, beside the policy's codes, when
// the server says when.
func (p *Policy) retries(f *failure.Failure) bool {
	return p.Codes.Contains(f.Code) ||
		f.Code == codes.ResourceExhausted && f.Hinted()
}

func (l *Loop) delay(p *Policy, f failure.Failure, u float64) time.Duration {
	if f.Pushback.Given { // exact, and the schedule starts over (gRFC A6)
		l.step, l.prev = 0, 0
		return f.Pushback.Delay
	}
	if f.Elsewhere && f.RetryInfo == 0 { // the backoff is for who must be asked again
		return 0
	}
	l.step++
	l.prev = p.backoff(f.Code).Next(l.step, l.prev, u)
	return l.prev + min(max(f.RetryInfo, l.prev)-l.prev, failure.HintMost)
}
