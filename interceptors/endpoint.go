package interceptors

import (
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

func (l live) BreakerState() (s observe.BreakerState, ok bool) {
	g := l.liveBreaker.Load()
	if g == nil {
		return 0, false
	}
	return observe.BreakerState(g.At(l.host.Now())), true
}

func (l live) BudgetTokens() (tokens float64, ok bool) {
	g := l.liveBudget.Load()
	if g == nil {
		return 0, false
	}
	return g.Level(l.host.Now()), true
}

func (l live) LimitState() (s observe.LimitState, ok bool) {
	g := l.liveLimit.Load()
	if g == nil {
		return s, false
	}
	var bounded bool
	if s.InFlight, s.Queued, s.Max, bounded = g.Level(); !bounded {
		s.Max = 0
	}
	return s, true
}
