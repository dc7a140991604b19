package engine

import (
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/observe"
)

// Balance has the call's attempts go where a fleet says, which hears how they
// end. Without it, where they go is not for the suite to say.
func (c *Call) Balance(f *fleet.Fleet) { c.fleet = f }

// route makes the attempt's context one that the load-balancing policy knows.
func (c *Call) route(a *Attempt) {
	a.place, c.displaced = nil, false
	if c.fleet == nil {
		return
	}
	a.place = fleet.NewAttempt(a.Ctx, c.fleet, c.been, fleet.Kind{
		First:  a.Number == 1,
		Steady: c.Policy.Retry.MaxAttempts > 1 || c.Policy.Hedges(),
		Stream: c.stream,
	})
	c.been = a.place.Call()
	a.Ctx = a.place
}

// arrived is for an attempt that succeeded.
func (c *Call) arrived(a *Attempt) {
	if a.place == nil {
		return
	}
	ch := a.place.End(c.Host.Now(), fleet.End{Good: true, Done: true, Alive: true, Slow: c.Policy.SlowCall, Shard: c.shard})
	if ch.Backend == nil {
		c.fleet.Unused()
		return
	}
	c.Plan.Witness.Saw(ch.Backend, true)
	c.emitBackend(ch)
}

// missed is for an attempt that failed, once there is a verdict on it.
func (c *Call) missed(a *Attempt, err error, ev Evidence) {
	if a.place == nil {
		return
	}
	end := fleet.End{
		Bad:      c.last.Breaker == verdict.Bad,
		Good:     c.last.Breaker == verdict.Good,
		Strained: c.last.Limit == verdict.Bad,
		Alive:    ev.Header || ev.Message || len(ev.Trailer) > 0,
		Lost:     c.last.Lost,
		Slow:     c.Policy.SlowCall,
		Shard:    c.shard,
	}
	switch {
	case err == ErrPanicked: //nolint:errorlint // as it is, from Unwind
		end = fleet.End{}
	case c.stream && !end.Bad && (c.answered || ev.Header || ev.Message):
		end.Good = true // how it ended otherwise says nothing
	}
	ch := a.place.End(c.Host.Now(), end)
	if end.Good || end.Bad {
		c.Plan.Witness.Saw(ch.Backend, end.Good)
	}
	c.emitBackend(ch)
	c.displaced = end.Bad && a.place.Out() && c.fleet.Elsewhere(c.been)
}

// abandoned is for an attempt that nobody waits for.
func (c *Call) abandoned(a *Attempt) {
	if a.place != nil {
		c.emitBackend(a.place.End(c.Host.Now(), fleet.End{}))
	}
}

// answeredAt is for a stream whose server has answered.
func (c *Call) answeredAt(now time.Duration) {
	if p := c.running.place; p != nil {
		ch := p.Answered(now, c.shard)
		c.Plan.Witness.Saw(ch.Backend, true)
		c.emitBackend(ch)
	}
}

// mayFailOver reports whether the next attempt may be made at once: the last one
// failed by its backend's doing, and there is another that is well.
func (c *Call) mayFailOver() bool {
	return c.fleet != nil && c.last.Breaker == verdict.Bad && !c.fleet.Registry().Config().KeepBackoff && c.fleet.Elsewhere(c.been)
}

// witnessed reports whether the method's calls can go to a backend that is well,
// so that the target as a whole is not to be judged by those that fail: one on
// which the method succeeds, or that is in while others are out.
func (c *Call) witnessed() bool {
	return c.fleet != nil && (c.Plan.Witness.Well() || c.fleet.Divided())
}

func (c *Call) emitBackend(ch fleet.Change) {
	if ch.Transition.Happened() {
		c.Emit(backendChange(ch))
	}
}

func backendChange(ch fleet.Change) observe.Event {
	t := ch.Transition
	return observe.Event{Kind: observe.BackendChange, Backend: ch.Backend.Name, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Reason: breakerReason(t.Reason)}
}

// spared is what a call says to the target's breaker while a backend is well:
// nothing against it.
func (c *Call) spared(o breaker.Outcome) breaker.Outcome {
	if !c.witnessed() {
		return o
	}
	if o == breaker.SlowSuccess {
		return breaker.Success
	}
	return breaker.Neutral
}
