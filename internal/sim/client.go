package sim

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/hedge"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/limit"
)

// Attempt is a request on its way.
type Attempt struct {
	Gone     bool            // nobody waits any more
	Context  context.Context // of the engine; nil: it is not of a [Client]
	answered func(codes.Code)
	over     func() // nil: nobody else is to know
}

// NewAttempt returns an attempt. answered is called once, unless it is gone.
func NewAttempt(answered func(codes.Code)) *Attempt { return &Attempt{answered: answered} }

// Answer ends the attempt, unless it is gone.
func (a *Attempt) Answer(c codes.Code) {
	if !a.Gone {
		a.Abandon()
		a.answered(c)
	}
}

// Abandon is for an attempt that nobody waits for any more.
func (a *Attempt) Abandon() {
	a.Gone = true
	if a.over != nil {
		a.over()
		a.over = nil
	}
}

// Ended is how a call ended.
type Ended struct {
	Began    time.Duration
	Err      error // what the caller gets
	Refused  bool  // by breaker or limit
	Attempts int
}

// Client is what a suite keeps for one method of one target, and the driver of
// its calls. It is for the loop's goroutine.
type Client struct {
	Opened func()       // the breaker opened, having been closed
	Fleet  *fleet.Fleet // where its attempts go; nil: that is not for the suite to say

	loop     *Loop
	host     engine.Host
	plan     engine.Plan
	policy   *engine.Policy
	deadline time.Duration // the caller's; 0: none
	to       func(*Attempt)
	losses   atomic.Uint64
	lastGood fleet.LastGood
	latency  *hedge.Quantile
	waiting  []*call // in the limit's queue
}

// NewClient returns a client whose callers have so much time, 0: any. Attempts are
// given to a function that has them answered, later.
func NewClient(l *Loop, p *engine.Policy, deadline time.Duration, to func(*Attempt)) *Client {
	c := &Client{loop: l, policy: p, deadline: deadline, to: to, latency: hedge.NewQuantile(), Opened: func() {}}
	c.host = engine.Host{Epoch: epoch, Clock: l.Now, Chance: l.Rand.Float64}
	c.plan = engine.Plan{
		Target: "simulated", Method: "/sim.Service/Method", Recorders: &hooks.Recorders{}, Losses: &c.losses, LastGood: &c.lastGood, Peers: new(fleet.Peers), Adaptive: p.Limit.Adaptive,
		Changed: func(_ *breaker.Guard, t breaker.Transition) {
			if t.From == breaker.Closed && t.To == breaker.Open {
				c.Opened()
			}
		},
	}
	if !p.BreakerOff {
		c.plan.Breaker = breaker.NewGuard(p.Breaker)
	}
	if !p.BudgetOff {
		c.plan.Budget = budget.NewGuard(l.now, p.Budget)
	}
	if p.Limit.MaxConcurrent > 0 || p.Limit.Rate > 0 {
		c.plan.Limit = limit.NewGuard(l.now, p.Limit)
	}
	return c
}

// limitFunc bounds an attempt's context.
type limitFunc func(context.Context, time.Duration) (context.Context, context.CancelFunc)

func (f limitFunc) Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	return f(ctx, timeout)
}

// call is one, driven through the engine as unary calls are.
type call struct {
	engine.Call
	*Client
	ctx     *virtual
	wait    engine.Wait
	began   time.Duration
	done    func(Ended)
	over    bool
	refused bool
}

var (
	errUnavailable = status.Error(codes.Unavailable, "simulated")
	errDeadline    = status.Error(codes.DeadlineExceeded, "simulated")
	// answeredTrailer is left by an attempt that the server itself ended.
	answeredTrailer = metadata.MD{"content-type": {"application/grpc"}}
)

// Do makes a call; done learns how it ended.
func (c *Client) Do(done func(Ended)) {
	d := &call{Client: c, began: c.loop.now, ctx: &virtual{context.Background(), c.loop, forever}, done: done}
	for _, timeout := range []time.Duration{c.deadline, c.policy.Timeout} {
		if timeout > 0 {
			d.ctx.ends = min(d.ctx.ends, c.loop.now+timeout)
		}
	}
	d.Init(d.ctx, &c.host, &c.plan, c.policy, c.Fleet)
	d.Start(d.ctx)
	d.admit()
}

func (d *call) admit() {
	w, err := d.Admit(nil)
	switch {
	case err != nil:
		d.refused = d.ctx.Err() == nil
		d.end(err)
	case w.Needed():
		d.wait = w
		d.waiting = append(d.waiting, d)
		if until := min(w.Until, d.ctx.ends); until != forever {
			d.loop.After(until-d.loop.now, func() { d.stopWaiting(w) })
		}
	case d.Policy.Hedges():
		newHedged(d).run()
	default:
		d.attempt()
	}
}

// stopWaiting asks again for a slot, if the call still waits as it did.
func (d *call) stopWaiting(w engine.Wait) {
	for i, other := range d.waiting {
		if other == d && d.wait == w {
			d.waiting = append(d.waiting[:i], d.waiting[i+1:]...)
			d.admit()
			return
		}
	}
}

// wake has calls go on whom the limit has given a slot.
func (c *Client) wake() {
	for i := 0; i < len(c.waiting); {
		d := c.waiting[i]
		select {
		case <-d.wait.Woken:
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			d.admit()
			i = 0
		default:
			i++
		}
	}
}

func (d *call) attempt() {
	ends := d.ctx.ends
	ctx, _ := d.Begin(limitFunc(func(parent context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
		ends = min(ends, d.loop.now+timeout)
		return &virtual{parent, d.loop, ends}, func() {}
	}))
	d.send(ctx, ends, d.ended)
}

// send makes an attempt, which ends when it is answered, or at a time.
func (c *Client) send(ctx context.Context, ends time.Duration, ended func(error, engine.Evidence)) *Attempt {
	a := NewAttempt(func(code codes.Code) {
		switch code {
		case codes.OK:
			ended(nil, engine.Evidence{})
		case codes.DeadlineExceeded:
			ended(errDeadline, engine.Evidence{Known: true, Sent: true})
		default:
			ended(errUnavailable, engine.Evidence{Known: true, Sent: true, Trailer: answeredTrailer})
		}
	})
	a.Context = ctx
	if ends != forever {
		c.loop.After(ends-c.loop.now, func() { a.Answer(codes.DeadlineExceeded) })
	}
	c.to(a)
	return a
}

func (d *call) ended(err error, ev engine.Evidence) {
	d.End(err, ev)
	if err == nil {
		d.end(nil)
		return
	}
	delay, again := d.Next(d.FailureOf(err, ev.Trailer, nil))
	if !again {
		d.end(err)
		return
	}
	d.Pause(delay, err)
	d.loop.After(delay, func() {
		if again, err := d.Resume(err); !again {
			d.end(err)
			return
		}
		d.attempt()
	})
}

func (d *call) end(err error) {
	if d.over {
		return
	}
	d.over = true
	d.Settle(err)
	d.Finish(err, false)
	d.done(Ended{Began: d.began, Err: err, Refused: d.refused, Attempts: d.Attempts()})
	d.wake()
}

// hedged is a call whose attempts run side by side.
type hedged struct {
	*call
	schedule hedge.Schedule
	running  []*side
	last     error
	woken    time.Duration // a wake-up is planned for then
}

// side is one of its attempts.
type side struct {
	engine.Attempt
	sent *Attempt
}

func newHedged(d *call) *hedged {
	delay := d.Policy.HedgeDelay
	if delay == 0 {
		delay = hedge.Never
		if p95, ok := d.latency.Value(d.loop.now); ok {
			delay = max(p95, time.Millisecond)
		}
	}
	return &hedged{call: d, schedule: hedge.New(&d.Policy.Hedge, d.loop.now, delay), woken: hedge.Never}
}

// run starts what is due, and waits for what comes.
func (h *hedged) run() {
	if h.over {
		return
	}
	if h.ctx.Err() != nil {
		h.expire()
		return
	}
	for h.schedule.Due() <= h.loop.now {
		if h.Attempts() > 0 {
			if why := h.Afford(); why != failure.Again {
				h.schedule.Refuse(why)
				break
			}
		}
		h.start()
	}
	if h.schedule.Over() {
		h.StopSchedule(h.schedule.Why())
		h.leave(h.last)
		return
	}
	if due := h.schedule.Due(); due != hedge.Never && due != h.woken {
		h.woken = due
		h.loop.After(due-h.loop.now, h.run)
	}
}

func (h *hedged) start() {
	s := &side{}
	h.running = append(h.running, s)
	var l engine.Limiter
	ends := h.ctx.ends
	if timeout := h.Policy.AttemptTimeout; timeout > 0 {
		ends = min(ends, h.loop.now+timeout)
		l = limitFunc(func(parent context.Context, _ time.Duration) (context.Context, context.CancelFunc) {
			return &virtual{parent, h.loop, ends}, func() {}
		})
	}
	h.Launch(&s.Attempt, l)
	h.schedule.Start(h.loop.now)
	s.sent = h.send(s.Ctx, ends, func(err error, ev engine.Evidence) { h.ended(s, err, ev) })
}

func (h *hedged) ended(s *side, err error, ev engine.Evidence) {
	if h.over {
		return
	}
	if h.ctx.Err() != nil && err != nil {
		h.expire()
		return
	}
	for i, other := range h.running {
		if other == s {
			h.running = append(h.running[:i], h.running[i+1:]...)
			break
		}
	}
	if h.EndOf(&s.Attempt, err, ev) {
		h.latency.Add(h.loop.now, h.loop.now-s.Began, 0)
	}
	if err == nil {
		h.leave(nil)
		return
	}
	h.last = err
	h.schedule.Fail(h.loop.now, h.FailureOf(err, ev.Trailer, nil))
	h.run()
}

func (h *hedged) expire() {
	var oldest *engine.Attempt
	if len(h.running) > 0 {
		oldest = &h.running[0].Attempt
	}
	h.leave(h.Expire(oldest, h.last))
}

// leave gives up the attempts that still run.
func (h *hedged) leave(err error) {
	for _, s := range h.running {
		if s.sent != nil {
			s.sent.Abandon()
		}
		h.Abandon(&s.Attempt, context.Canceled)
	}
	h.running = nil
	h.end(err)
}
