package engine

import (
	"context"

	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/observe"
)

// The books of a call whose attempts run side by side. Its driver keeps the
// attempts:
//
//	Launch    starts the first, or a hedge that Afford has paid for
//	EndOf     closes the books of one: its end is the call's, or was to be
//	Adopt     makes of one that goes on, a stream's, the call's running attempt
//	Abandon   closes the books of one that is given up
//	Expire    is for a call whose context has ended before them

// Launch starts an attempt beside those that run. cancel must be called when the
// attempt is over.
func (c *Call) Launch(a *Attempt, l Limiter) (cancel context.CancelFunc) {
	if c.loop.Attempts > 0 {
		c.kind = observe.HedgeAttempt
		c.hedges++
		c.funded = false // spent
	}
	return c.beginAttempt(a, l)
}

// EndOf closes the books of an attempt that has ended, and reports whether a
// server that is well has answered it.
func (c *Call) EndOf(a *Attempt, err error, ev Evidence) (answered bool) {
	c.endAttempt(a, err, ev)
	if err == nil {
		c.kind = a.Kind
	}
	return err == nil || c.last.Earns
}

// Adopt makes an attempt that goes on the call's.
func (c *Call) Adopt(a *Attempt) { c.running, c.kind = *a, a.Kind }

// Abandon closes the books of an attempt that nobody waits for, or that
// panicked. It says nothing about the server.
func (c *Call) Abandon(a *Attempt, err error) {
	if a.backend != nil {
		c.settleBackend(a, fleet.End{}, nil)
	}
	c.emitAttemptEnd(c.Plan.Recorders.All, a, CodeOf(err), err)
}

// Expire returns the error of a call whose context has ended. oldest is the
// attempt that has run longest, which the verdict is on as if it had ended; nil:
// none runs. last is the error of the last that failed; nil: none has.
func (c *Call) Expire(oldest *Attempt, last error) error {
	err := Ended(c.Ctx)
	c.code = CodeOf(err)
	c.Stop(c.gone())
	if oldest != nil {
		c.noteSlow(oldest)
		c.judge(oldest, err, Evidence{})
		return err
	}
	if last != nil {
		return Interrupted(c.Ctx, c.loop.Attempts, last)
	}
	return err
}

// StopSchedule notes why no attempt can save the call any more.
func (c *Call) StopSchedule(why failure.Reason) {
	if gone := c.gone(); gone != failure.Again {
		why = gone
	}
	c.Stop(why)
}

// gone is the reason that the caller's going is; Again: it waits.
func (c *Call) gone() failure.Reason {
	switch CallerOf(c.Ctx) {
	case failure.Expired:
		return failure.Deadline
	case failure.Cancelled:
		return failure.CallerGone
	default:
		return failure.Again
	}
}
