package engine

import (
	"context"
	"time"

	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
)

// Attempt is one that has begun and not ended.
type Attempt struct {
	Ctx    context.Context // nil: there is none
	Number int
	Kind   observe.AttemptKind
	Began  time.Duration // if it matters

	backend *fleet.Attempt // where it goes; nil: that is not for us to say
}

// Begin starts the next of attempts made in turn and returns its context. cancel,
// which may be nil, must be called when the attempt is over.
func (c *Call) Begin(l Limiter) (ctx context.Context, cancel context.CancelFunc) {
	if c.Policy.AttemptTimeout == 0 {
		l = nil
	}
	cancel = c.beginAttempt(&c.running, l)
	return c.running.Ctx, cancel
}

// End closes the books of the attempt that Begin started.
func (c *Call) End(err error, ev Evidence) {
	a := c.running
	c.running.Ctx = nil
	c.endAttempt(&a, err, ev)
}

// Limiter bounds an attempt's context.
type Limiter interface {
	Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc)
}

// beginAttempt starts an attempt. Its context derives from the call's, never from
// another attempt's.
func (c *Call) beginAttempt(a *Attempt, l Limiter) (cancel context.CancelFunc) {
	c.loop.Attempts++
	a.Number, a.Kind = c.loop.Attempts, c.kind
	c.losses, c.answered = c.Plan.Losses.Load(), false
	if c.Policy.SlowCall > 0 || c.Policy.Hedges() || c.stream || c.Plan.Recorders.Timed || c.bounded() {
		a.Began = c.Host.Now()
	}
	ctx := c.Ctx
	if a.Number > 1 {
		ctx = numbered(ctx, a.Number)
	}
	if l != nil {
		ctx, cancel = l.Limit(ctx, c.Policy.AttemptTimeout)
	}
	a.Ctx = c.begins(ctx, observe.AttemptStart)
	if !c.route.On() {
		return cancel
	}
	a.Ctx, a.backend = c.route.Begin(a.Ctx, fleet.Kind{First: a.Number == 1, Steady: c.Policy.Retry.MaxAttempts > 1 || c.Policy.Hedges(), Stream: c.stream})
	return cancel
}

// endAttempt closes the books of an attempt whose end is the call's, or was to be.
func (c *Call) endAttempt(a *Attempt, err error, ev Evidence) {
	c.code, c.last = codes.OK, verdict.Verdict{}
	if c.stream && (err == nil || ev.Header || ev.Message) {
		c.Answered(ev.Peer)
	}
	if err != nil {
		c.code = CodeOf(err)
		c.noteAttempt(a, c.code)
	}
	if err != nil || ev.Ruling != 0 {
		c.judge(a, err, ev)
	} else if a.backend != nil || c.Plan.Peers.Troubled() {
		c.settleBackend(a, fleet.End{Good: true, Done: true}, ev.Peer)
	}
	c.noteSlow(a)
	to := c.Plan.Recorders.All
	if c.firstEndPending = err == nil && c.loop.Attempts == 1 && !c.last.Again; c.firstEndPending {
		to = c.Plan.Recorders.Detailed
	}
	c.emitAttemptEnd(to, a, c.code, err)
}

// noteSlow notes whether an attempt has been slow.
func (c *Call) noteSlow(a *Attempt) {
	if c.Policy.SlowCall > 0 && !c.stream {
		c.slow = c.Host.Now()-a.Began >= c.Policy.SlowCall
	}
}
