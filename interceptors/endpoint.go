package interceptors

import (
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/observe"
)

// live is an endpoint as observers see it.
type live struct {
	*endpoint
	host *engine.Host
}

func (l live) Target() string          { return l.target }
func (l live) CanonicalTarget() string { return l.canonical }
func (l live) Method() string          { return l.method }

func (l live) Breaker() (b observe.BreakerStatus, ok bool) {
	g := l.currentBreaker.Load()
	if g == nil {
		return b, false
	}
	s := g.Status(l.host.Now())
	b = observe.BreakerStatus{State: observe.BreakerState(s.State), Cause: engine.BreakerReason(s.Cause), NextProbe: s.Wait}
	if s.State != breaker.Closed {
		b.OpenSince = l.host.Epoch.Add(s.Since)
	}
	return b, true
}

func (l live) Budget() (b observe.BudgetStatus, ok bool) {
	g := l.currentBudget.Load()
	if g == nil {
		return b, false
	}
	now := l.host.Now()
	b = observe.BudgetStatus{Tokens: g.Level(now), Capacity: g.Capacity()}
	if since, empty := g.Empty(now); empty {
		b.EmptySince = l.host.Epoch.Add(since)
	}
	return b, true
}

func (l live) LimitState() (s observe.LimitState, ok bool) {
	g := l.currentLimit.Load()
	if g == nil {
		return s, false
	}
	var bounded bool
	if s.InFlight, s.Queued, s.Max, bounded = g.Level(); !bounded {
		s.Max = 0
	}
	return s, true
}
