package interceptors

import (
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/retry"
)

// strain are the codes of attempts that an overloaded server, or the way to it,
// may have failed.
var strain = astracodes.Of(codes.DeadlineExceeded, codes.Unavailable, codes.ResourceExhausted)

// place is what a call has of its method's limit.
type place struct {
	held     bool          // a slot
	ticket   *limit.Ticket // of the queue; nil: it does not wait
	queued   time.Duration // since when it has
	entered  time.Duration // when it got the slot; 0: the limit was not adaptive then
	strained bool          // an attempt failed by one of strain
}

// enter takes a slot of the method's limit, and waits for it if it must. The
// error is what the caller gets.
func (c *call) enter() error {
	g := c.plan.limit
	if g == nil {
		return nil
	}
	if !g.EnterFree() {
		if err := c.ask(g); err != nil {
			return err
		}
	}
	c.place.held = true
	if c.plan.policy.limit.Adaptive {
		c.place.entered = c.suite.now()
	}
	return nil
}

// ask is for a call that may have to wait. It does not if the breaker would
// refuse it then.
func (c *call) ask(g *limit.Guard) error {
	now := c.suite.now()
	if b := c.breaker(); b != nil {
		if wait, refuses := b.Refuses(now); refuses {
			return c.refusedByBreaker(wait)
		}
	}
	patience := limit.Forever
	if deadline, ok := c.ctx.Deadline(); ok {
		patience = time.Until(deadline)
	}
	a, ticket := g.Enter(now, patience)
	if ticket != nil {
		c.place.ticket, c.place.queued = ticket, now
		c.tellAll(Event{Kind: Queued})
		for a.Verdict == limit.Waiting {
			c.sleep(ticket.Ready, a.At)
			if c.ctx.Err() != nil {
				c.unqueue()
				return ended(c.ctx)
			}
			a = g.Poll(c.suite.now(), ticket)
		}
		c.place.ticket = nil
		c.place.held = a.Verdict == limit.Admitted
		c.tellDequeued(c.suite.now())
	}
	if a.Verdict == limit.Admitted {
		return nil
	}
	c.rejected, c.refusal = RejectedLimit, a.Verdict.String()
	c.tellAll(Event{Kind: Limited, Reason: c.refusal, Delay: a.After})
	return limited(c.plan, a)
}

// sleep waits until it is woken, until a time, or until the call's context
// ends.
func (c *call) sleep(woken <-chan struct{}, until time.Duration) {
	var alarm <-chan time.Time
	if until < limit.Forever {
		t := time.NewTimer(until - c.suite.now())
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-woken:
	case <-alarm:
	case <-c.ctx.Done():
	}
}

// unqueue gives up the place in the queue, or the slot that has come meanwhile.
func (c *call) unqueue() {
	if t := c.place.ticket; t != nil {
		c.place.ticket = nil
		now := c.suite.now()
		c.plan.limit.Cancel(now, t)
		c.tellDequeued(now)
	}
}

func (c *call) tellDequeued(now time.Duration) {
	c.tellAll(Event{Kind: Dequeued, Delay: now - c.place.queued})
}

// leave gives the slot back, once. A call that has come to its end teaches an
// adaptive limit.
func (c *call) leave(itself bool) {
	if !c.place.held {
		return
	}
	c.place.held = false
	g, made := c.plan.limit, c.loop.Attempts > 0
	if made && g.LeaveFree() {
		return
	}
	switch now := c.suite.now(); {
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
func (c *call) sample(now time.Duration) limit.Sample {
	s := limit.Sample{Overload: c.place.strained}
	timed := c.place.entered > 0 && c.loop.Attempts == 1 && !c.untimed && callerOf(c.ctx) != retry.Cancelled
	if timed && (!s.Overload || c.code == codes.DeadlineExceeded) {
		s.Latency = max(1, now-c.place.entered)
	}
	return s
}
