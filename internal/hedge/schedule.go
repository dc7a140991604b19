package hedge

import (
	"math"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
)

// Never is a delay that does not end.
const Never = time.Duration(math.MaxInt64)

// Config is what a method's calls have in common. All fields must be set.
type Config struct {
	MaxAttempts int            // the first included
	NonFatal    astracodes.Set // failures that do not end the call
}

// Schedule is one call's attempts side by side. Make one with [New].
type Schedule struct {
	cfg     *Config
	delay   time.Duration // from one start to the next
	started int
	running int
	due     time.Duration  // when the next starts; Never
	pushed  time.Duration  // no start before that: a server's word
	why     failure.Reason // no further attempt starts; Again: nothing keeps it from that
	fatal   bool           // the call has ended by a failure that is not hedged
}

// New returns a schedule whose first attempt is due now. Delay [Never] means that
// only a failure starts another.
func New(cfg *Config, now, delay time.Duration) Schedule {
	return Schedule{cfg: cfg, delay: delay, due: now, pushed: now}
}

// Due returns when the next attempt is to start; [Never] if none is, as far as
// is known now.
func (s *Schedule) Due() time.Duration { return s.due }

// Start books the start of the attempt that is due.
func (s *Schedule) Start(now time.Duration) {
	s.started++
	s.running++
	s.due = Never
	switch {
	case s.started >= s.cfg.MaxAttempts:
		s.stop(failure.Exhausted)
	case s.why == failure.Again && s.delay < Never-now:
		s.due = now + s.delay
	}
}

// Refuse says that the attempt that is due may not start, for a reason; nor may
// any other, so that one call asks for a token once.
func (s *Schedule) Refuse(why failure.Reason) { s.stop(why) }

// Fail books the failure of an attempt.
func (s *Schedule) Fail(now time.Duration, f failure.Failure) {
	s.running--
	switch {
	case !s.goesOn(&f):
		s.due, s.why, s.fatal = Never, failure.NotRetryable, true // whatever was the reason to start no more
	case s.why != failure.Again:
	case f.Pushback.Stop:
		s.stop(failure.PushedBack)
	default:
		s.due = now
		if f.Hinted() {
			s.pushed = max(s.pushed, now+min(f.Wait(), Never-now))
		}
		if s.due = max(s.due, s.pushed); f.Caller != failure.Waiting || s.due-now >= f.Remaining {
			s.stop(failure.Deadline)
		}
	}
}

// goesOn: RESOURCE_EXHAUSTED goes on, beside the codes that are not fatal, when
// the server says when, and what somebody who knows better than the code says.
func (s *Schedule) goesOn(f *failure.Failure) bool {
	if f.Again || f.Stop {
		return f.Again
	}
	return s.cfg.NonFatal.Contains(f.Code) || f.Code == codes.ResourceExhausted && f.Hinted() && !f.Pushback.Stop
}

// Over reports whether the schedule has come to its end without success: by a
// fatal failure, or as none is running and none is to start.
func (s *Schedule) Over() bool { return s.fatal || s.running == 0 && s.due == Never }

// Why returns what keeps further attempts from starting; [failure.Again] is
// nothing.
func (s *Schedule) Why() failure.Reason { return s.why }

func (s *Schedule) stop(why failure.Reason) {
	s.due = Never
	if s.why == failure.Again {
		s.why = why
	}
}
