package sim

import (
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/inside"
	simulator "github.com/astra-grpc/astra/internal/sim"
)

// policy is what clients do about failures: ours, which the engine that ships
// decides by, or a peer's, in parts. What has state is made anew for each client,
// a loop for each call.
type policy struct {
	lab.Contender
	ours   *interceptors.Policy // nil: a peer's
	loop   func() loop          // nil: one attempt
	budget func() allowance     // nil: retries cost nothing
	fuse   func() fuse          // nil: no breaker
}

// breaks reports whether there is a breaker.
func (p *policy) breaks() bool {
	return p.fuse != nil || p.ours != nil && !p.ours.Breaker.Disabled
}

// loop says what follows a call's failed attempt: another one after a delay, or
// the end.
type loop interface {
	next(made int, c codes.Code, left time.Duration, u float64) (time.Duration, bool)
}

// allowance is what pays for retries.
type allowance interface {
	called(now time.Duration)              // a call begins
	failed(now time.Duration)              // an attempt has failed
	served(now time.Duration, retries int) // a call has succeeded
	take(now time.Duration) bool           // may there be a retry
	refund(now time.Duration)              // it was not made
}

// fuse is a breaker, or what stands in its place.
type fuse interface {
	admit(now time.Duration, u float64) (ticket, bool)
	opened(ticket) bool // since the call was admitted: no more retries
	settle(now time.Duration, t ticket, failed bool, u float64) (opens bool)
}

// result is how a call ended.
type result uint8

const (
	served result = iota
	failed
	refused // by the breaker
)

func resultOf(d simulator.Ended) result {
	switch {
	case d.Err == nil:
		return served
	case d.Refused:
		return refused
	}
	return failed
}

// client makes calls to a server.
type client struct {
	e       *engine
	to      *server
	attempt time.Duration // timeout of an attempt; 0: none
	call    time.Duration // deadline of a call; 0: none

	policy *policy
	ours   *simulator.Client // nil: a peer's
	budget allowance
	fuse   fuse
	opens  func() // the breaker opened
}

func newClient(e *engine, to *server, p *policy, attempt, call time.Duration) *client {
	c := &client{e: e, to: to, attempt: attempt, call: call, policy: p, opens: func() {}}
	if p.ours != nil {
		ours := *p.ours
		ours.AttemptTimeout = attempt
		// Of a method that is declared idempotent: peers repeat what timed out, too.
		c.ours = simulator.NewClient(e.Loop, inside.PolicyOf(ours, true, true), call, to.send)
		c.ours.Opened = func() { c.opens() }
	}
	if p.budget != nil {
		c.budget = p.budget()
	}
	if p.fuse != nil {
		c.fuse = p.fuse()
	}
	return c
}

// trip is one call's way.
type trip struct {
	*client
	began   time.Duration
	ticket  ticket
	loop    loop
	made    int
	running *simulator.Attempt
	over    bool
	done    func(result)
}

// do makes a call; done learns how it ended.
func (c *client) do(done func(result)) {
	if c.ours != nil {
		c.ours.Do(func(d simulator.Ended) { done(resultOf(d)) })
		return
	}
	t := &trip{client: c, began: c.e.Now(), done: done}
	if c.fuse != nil {
		var ok bool
		if t.ticket, ok = c.fuse.admit(c.e.Now(), c.e.Rand.Float64()); !ok {
			done(refused)
			return
		}
	}
	if c.budget != nil {
		c.budget.called(c.e.Now())
	}
	if c.policy.loop != nil {
		t.loop = c.policy.loop()
	}
	if c.call > 0 {
		c.e.After(c.call, func() {
			if t.running != nil {
				t.running.Abandon()
			}
			t.end(failed)
		})
	}
	t.try()
}

func (t *trip) try() {
	t.made++
	a := simulator.NewAttempt(t.answered)
	t.running = a
	if t.attempt > 0 {
		t.e.After(t.attempt, func() { a.Answer(codes.DeadlineExceeded) })
	}
	t.to.send(a)
}

func (t *trip) answered(c codes.Code) {
	t.running = nil
	now := t.e.Now()
	if c == codes.OK {
		if t.budget != nil {
			t.budget.served(now, t.made-1)
		}
		t.end(served)
		return
	}
	if t.budget != nil {
		t.budget.failed(now)
	}
	d, again := t.next(c)
	if !again || t.fuse != nil && t.fuse.opened(t.ticket) || t.budget != nil && !t.budget.take(now) {
		t.end(failed)
		return
	}
	t.e.After(d, func() {
		stop := t.over || t.fuse != nil && t.fuse.opened(t.ticket)
		if stop && t.budget != nil {
			t.budget.refund(t.e.Now())
		}
		if stop {
			t.end(failed)
			return
		}
		t.try()
	})
}

func (t *trip) next(c codes.Code) (time.Duration, bool) {
	if t.loop == nil {
		return 0, false
	}
	left := forever
	if t.call > 0 {
		left = t.began + t.call - t.e.Now()
	}
	return t.loop.next(t.made, c, left, t.e.Rand.Float64())
}

func (t *trip) end(r result) {
	if t.over {
		return
	}
	t.over = true
	if t.fuse != nil && t.fuse.settle(t.e.Now(), t.ticket, r == failed, t.e.Rand.Float64()) {
		t.opens()
	}
	t.done(r)
}
