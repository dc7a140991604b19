package sim

import (
	"time"

	"google.golang.org/grpc/codes"
)

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
