package engine

import (
	"time"

	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/limit"
)

// slot is what a call has of its method's limit.
type slot struct {
	held     bool          // it is the call's
	ticket   *limit.Ticket // of the queue; nil: it does not wait
	queued   time.Duration // since when it has
	entered  time.Duration // when it got the slot; 0: the limit was not adaptive then
	served   time.Duration // when its wait in the queue was over
	waited   time.Duration // how long that was
	overload bool          // an attempt failed as overload has it
}

// Wait is what a call waits for in the queue of its limit: until it is woken,
// until a time, or until its context ends. The zero Wait is none.
type Wait struct {
	Woken <-chan struct{}
	Until time.Duration // of the cores' time; [limit.Forever]: no end
}

// Needed reports whether there is anything to wait for.
func (w Wait) Needed() bool { return w.Woken != nil }

// Channel is the connections of a call.
type Channel interface {
	// Down reports whether calls fail at once for want of a connection.
	Down() bool
}

// takeSlot takes a slot of the method's limit, which there must be, unless the call has to wait for
// it. The error is what the caller gets.
func (c *Call) takeSlot(channel Channel) (Wait, error) {
	g := c.Plan.Limit
	if c.Policy.LimitObserve {
		c.slot.held = g.EnterFree() || c.wouldHaveSlot(g)
		if !c.slot.held {
			return Wait{}, nil
		}
	} else if c.slot.ticket != nil || !g.EnterFree() {
		if w, err := c.waitForSlot(g, channel); err != nil || w.Needed() {
			return w, err
		}
	}
	c.slot.held = true
	if c.Plan.Adaptive {
		c.slot.entered = c.Host.Now()
	}
	return Wait{}, nil
}

// waitForSlot is for a call that may have to wait, or has waited. It does not
// begin to if the breaker would refuse it then.
func (c *Call) waitForSlot(g *limit.Guard, channel Channel) (Wait, error) {
	now := c.Host.Now()
	var a limit.Answer
	if t := c.slot.ticket; t != nil {
		if c.Ctx.Err() != nil {
			c.leaveQueue()
			return Wait{}, Ended(c.Ctx)
		}
		a = g.Poll(now, t)
	} else {
		if b := c.breaker(); b != nil {
			c.reconnect(channel)
			if wait, refuses := b.Refuses(now); refuses && !c.exempt(b) {
				if _, patient := b.AdmitPatient(c.ownTime()); !patient {
					return Wait{}, c.refusedByBreaker(b, wait)
				}
			}
		}
		if a, c.slot.ticket = g.Enter(now, c.patience()); c.slot.ticket != nil {
			c.slot.queued = now
			c.Emit(observe.Event{Kind: observe.Queued})
		}
	}
	if t := c.slot.ticket; t != nil {
		if a.Verdict == limit.Waiting {
			return Wait{Woken: t.Ready, Until: a.At}, nil
		}
		c.slot.ticket = nil
		c.slot.served, c.slot.waited = now, now-c.slot.queued
		c.emitDequeued(now)
	}
	if a.Verdict == limit.Admitted {
		return Wait{}, nil
	}
	if c.Plan.Record != nil {
		c.Plan.Record.LimitRefused.Add(1)
	}
	c.rejected, c.refusal = observe.RejectedLimit, limitReason(a.Verdict)
	c.Emit(observe.Event{Kind: observe.Limited, Reason: c.refusal, Delay: a.After})
	return Wait{}, limited(c.Plan, a)
}

// patience is how long the call can wait.
func (c *Call) patience() time.Duration {
	if deadline, ok := c.Ctx.Deadline(); ok {
		return c.Host.until(deadline)
	}
	return limit.Forever
}

// leaveQueue gives up the call's turn in the queue, or the slot that has come
// meanwhile.
func (c *Call) leaveQueue() {
	if t := c.slot.ticket; t != nil {
		c.slot.ticket = nil
		now := c.Host.Now()
		c.Plan.Limit.Cancel(now, t)
		c.emitDequeued(now)
	}
}

func (c *Call) emitDequeued(now time.Duration) {
	c.Emit(observe.Event{Kind: observe.Dequeued, Delay: now - c.slot.queued})
}

// releaseSlot gives the slot back, once. A call that has come to its end teaches an
// adaptive limit.
func (c *Call) releaseSlot(itself bool) {
	if !c.slot.held {
		return
	}
	c.slot.held = false
	g, made := c.Plan.Limit, c.loop.Attempts > 0
	if made && g.LeaveFree() {
		return
	}
	switch now := c.Host.Now(); {
	case !made:
		g.Return(now)
	case itself:
		g.Leave(now, c.sample(now))
	default:
		g.Leave(now, limit.Sample{})
	}
}

// sample is what the call reports to an adaptive limit. The life of a stream, and of
// a call that backed off or was hedged, is no latency.
func (c *Call) sample(now time.Duration) limit.Sample {
	s := limit.Sample{Overload: c.slot.overload}
	timed := c.slot.entered > 0 && c.loop.Attempts == 1 && !c.stream && CallerOf(c.Ctx) != failure.Cancelled
	if timed && (!s.Overload || c.code == codes.DeadlineExceeded) {
		s.Latency = max(1, now-c.slot.entered)
	}
	return s
}

// wouldHaveSlot asks the limit for a slot that needs its lock. A call that would
// have to wait does not, and passes without.
func (c *Call) wouldHaveSlot(g *limit.Guard) bool {
	now := c.Host.Now()
	a, ticket := g.Enter(now, c.patience())
	if ticket != nil {
		if a.Verdict == limit.Waiting {
			g.Cancel(now, ticket)
		}
	}
	switch a.Verdict {
	case limit.Admitted:
		return true
	case limit.Waiting:
		c.wouldRefuse(observe.RejectedLimit, observe.ReasonMustWait)
	default:
		c.wouldRefuse(observe.RejectedLimit, limitReason(a.Verdict))
	}
	return false
}
