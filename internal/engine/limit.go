package engine

import (
	"time"

	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/retry"
)

// place is what a call has of its method's limit.
type place struct {
	held     bool          // a slot
	ticket   *limit.Ticket // of the queue; nil: it does not wait
	queued   time.Duration // since when it has
	entered  time.Duration // when it got the slot; 0: the limit was not adaptive then
	served   time.Duration // when its wait in the queue was over
	waited   time.Duration // how long that was
	Strained bool          // an attempt failed as overload has it
}

// enter takes a slot of the method's limit, and waits for it if it must. The
// error is what the caller gets.
func (c *Call) enter() error {
	g := c.Plan.Limit
	if g == nil {
		return nil
	}
	if !g.EnterFree() {
		if err := c.ask(g); err != nil {
			return err
		}
	}
	c.Place.held = true
	if c.Plan.Adaptive {
		c.Place.entered = c.Host.Now()
	}
	return nil
}

// ask is for a call that may have to wait. It does not if the breaker would
// refuse it then.
func (c *Call) ask(g *limit.Guard) error {
	now := c.Host.Now()
	if b := c.breaker(); b != nil {
		if wait, refuses := b.Refuses(now); refuses {
			return c.refusedByBreaker(wait)
		}
	}
	patience := limit.Forever
	if deadline, ok := c.Ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	a, ticket := g.Enter(now, patience)
	if ticket != nil {
		c.Place.ticket, c.Place.queued = ticket, now
		c.Emit(observe.Event{Kind: observe.Queued})
		for a.Verdict == limit.Waiting {
			c.sleep(ticket.Ready, a.At)
			if c.Ctx.Err() != nil {
				c.unqueue()
				return Ended(c.Ctx)
			}
			a = g.Poll(c.Host.Now(), ticket)
		}
		c.Place.ticket = nil
		c.Place.held = a.Verdict == limit.Admitted
		c.Place.served = c.Host.Now()
		c.Place.waited = c.Place.served - now
		c.emitDequeued(c.Place.served)
	}
	if a.Verdict == limit.Admitted {
		return nil
	}
	c.rejected, c.refusal = observe.RejectedLimit, limitReason(a.Verdict)
	c.Emit(observe.Event{Kind: observe.Limited, Reason: c.refusal, Delay: a.After})
	return limited(c.Plan, a)
}

// sleep waits until it is woken, until a time, or until the call's context
// ends.
func (c *Call) sleep(woken <-chan struct{}, until time.Duration) {
	var alarm <-chan time.Time
	if until < limit.Forever {
		t := time.NewTimer(until - c.Host.Now())
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-woken:
	case <-alarm:
	case <-c.Ctx.Done():
	}
}

// unqueue gives up the place in the queue, or the slot that has come meanwhile.
func (c *Call) unqueue() {
	if t := c.Place.ticket; t != nil {
		c.Place.ticket = nil
		now := c.Host.Now()
		c.Plan.Limit.Cancel(now, t)
		c.emitDequeued(now)
	}
}

func (c *Call) emitDequeued(now time.Duration) {
	c.Emit(observe.Event{Kind: observe.Dequeued, Delay: now - c.Place.queued})
}

// leave gives the slot back, once. A call that has come to its end teaches an
// adaptive limit.
func (c *Call) leave(itself bool) {
	if !c.Place.held {
		return
	}
	c.Place.held = false
	g, made := c.Plan.Limit, c.Loop.Attempts > 0
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

// sample is what the call tells an adaptive limit. The life of a stream, and of
// a call that backed off or was hedged, is no latency.
func (c *Call) sample(now time.Duration) limit.Sample {
	s := limit.Sample{Overload: c.Place.Strained}
	timed := c.Place.entered > 0 && c.Loop.Attempts == 1 && !c.Untimed && CallerOf(c.Ctx) != retry.Cancelled
	if timed && (!s.Overload || c.Code == codes.DeadlineExceeded) {
		s.Latency = max(1, now-c.Place.entered)
	}
	return s
}
