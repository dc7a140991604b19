package hedge

import (
	"math"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
)

// Never is a delay that does not end.
const Never = time.Duration(math.MaxInt64)

// Config is what a method's calls have in common. All fields must be set.
type Config struct {
	MaxAttempts int            // the first included
	NonFatal    astracodes.Set // failures that do not end the call
}

// Failure is what the schedule needs to know of a failed attempt.
type Failure struct {
	Code codes.Code
	Stop bool          // the server said to start no more
	Told bool          // the server said when to start the next …
	Wait time.Duration // … after this
	Left time.Duration // until the call's deadline
}

// Why tells what keeps a race from starting further attempts.
type Why uint8

// What can.
const (
	Open       Why = iota // nothing
	UsedUp                // the attempts are
	PushedBack            // the server's word
	TooLate               // the next would start past the deadline
	Refused               // budget or breaker
	Fatal                 // the call has ended by a failure that is not to be hedged
)

// Race is one call's attempts side by side. Make one with [NewRace].
type Race struct {
	cfg     *Config
	delay   time.Duration // from one start to the next
	started int
	running int
	due     time.Duration // when the next starts; Never
	pushed  time.Duration // no start before that: a server's word
	why     Why
}

// NewRace returns a race whose first attempt is due now. Delay [Never] means
// that only a failure starts another.
func NewRace(cfg *Config, now, delay time.Duration) Race {
	return Race{cfg: cfg, delay: delay, due: now, pushed: now}
}

// Due returns when the next attempt is to start; [Never] if none is, as far as
// is known now.
func (r *Race) Due() time.Duration { return r.due }

// Start books the start of the attempt that is due.
func (r *Race) Start(now time.Duration) {
	r.started++
	r.running++
	r.due = Never
	switch {
	case r.started >= r.cfg.MaxAttempts:
		r.stop(UsedUp)
	case r.why == Open && r.delay < Never-now:
		r.due = now + r.delay
	}
}

// Refuse says that the attempt that is due may not start; nor may any other,
// so that one call asks for a token once.
func (r *Race) Refuse() { r.stop(Refused) }

// Fail books the failure of an attempt.
func (r *Race) Fail(now time.Duration, f Failure) {
	r.running--
	switch {
	case !r.goesOn(f):
		r.stop(Fatal)
		r.why = Fatal // whatever was the reason to start no more
	case r.why != Open:
	case f.Stop:
		r.stop(PushedBack)
	default:
		r.due = now
		if f.Told {
			r.pushed = max(r.pushed, now+min(f.Wait, Never-now))
		}
		if r.due = max(r.due, r.pushed); r.due-now >= f.Left {
			r.stop(TooLate)
		}
	}
}

// goesOn: RESOURCE_EXHAUSTED goes on, beside the codes that are not fatal, when
// the server says when.
func (r *Race) goesOn(f Failure) bool {
	return r.cfg.NonFatal.Contains(f.Code) || f.Code == codes.ResourceExhausted && f.Told && !f.Stop
}

// Over reports whether the race has come to its end without success: a fatal
// failure, or none is running and none is to start.
func (r *Race) Over() bool { return r.why == Fatal || r.running == 0 && r.due == Never }

// Why returns what keeps the race from starting further attempts.
func (r *Race) Why() Why { return r.why }

func (r *Race) stop(w Why) {
	r.due = Never
	if r.why == Open {
		r.why = w
	}
}
