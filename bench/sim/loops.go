package sim

import (
	"math"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/retry"
	"github.com/astra-grpc/astra/jitter"
)

const forever = time.Duration(math.MaxInt64)

// ourLoop is the retry loop that ships.
type ourLoop struct {
	retry.Loop
	policy retry.Policy
}

func retries(attempts int, b jitter.Backoff) func() loop {
	p := retry.Policy{MaxAttempts: attempts, Codes: astracodes.Retryable, Backoff: b}
	return func() loop { return &ourLoop{policy: p} }
}

func (l *ourLoop) next(made int, c codes.Code, left time.Duration, u float64) (time.Duration, bool) {
	l.Attempts = made
	d := l.Next(&l.policy, failure.Failure{Code: c, Remaining: left}, u)
	return d.Delay, d.Reason == failure.Again
}

// plainLoop is a peer's: so many attempts, the delays of a formula. That it
// does not wait past the deadline is more than some of them do.
type plainLoop struct {
	attempts   int
	base, most time.Duration
	formula    func(n int, prev, base, most time.Duration, u float64) time.Duration
	prev       time.Duration
}

func peerRetries(l plainLoop) func() loop {
	return func() loop { own := l; return &own }
}

func (l *plainLoop) next(made int, _ codes.Code, left time.Duration, u float64) (time.Duration, bool) {
	if made >= l.attempts {
		return 0, false
	}
	l.prev = l.formula(made, l.prev, l.base, l.most, u)
	return l.prev, l.prev < left
}

// fixed is always base.
func fixed(_ int, _, base, _ time.Duration, _ float64) time.Duration { return base }
