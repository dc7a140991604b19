package tracing

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// maxBackends bounds the backends that are shown of a target.
const maxBackends = 100

// observeState answers for what the suites keep. Where endpoints share their
// labels, the worst of breakers and budgets counts, and limits add up.
func (c *counts) observeState(to metric.Observer, endpoints []*methodMeter) {
	breakers, limits := map[*pair]observe.BreakerStatus{}, map[*pair]observe.LimitState{}
	budgets, backends := map[attribute.KeyValue]observe.BudgetStatus{}, map[attribute.KeyValue][]observe.Backend{}
	for _, m := range endpoints {
		target := m.pair.labels[1]
		if b, ok := m.endpoint.Breaker(); ok {
			breakers[m.pair] = worse(breakers[m.pair], b)
		}
		if l, ok := m.endpoint.LimitState(); ok {
			sum := limits[m.pair]
			limits[m.pair] = observe.LimitState{InFlight: sum.InFlight + l.InFlight, Queued: sum.Queued + l.Queued, Max: sum.Max + l.Max}
		}
		if b, ok := m.endpoint.Budget(); ok {
			low, seen := budgets[target]
			since := earlier(low.EmptySince, b.EmptySince)
			if !seen || b.Tokens < low.Tokens {
				low = b
			}
			low.EmptySince = since
			budgets[target] = low
		}
		if all := m.endpoint.Backends(); len(all) > 0 {
			backends[target] = all // all methods have the same
		}
	}
	for p, b := range breakers {
		c.observeBreaker(to, p, b)
	}
	for p, l := range limits {
		to.ObserveInt64(c.inFlight, int64(l.InFlight), p.set)
		to.ObserveInt64(c.queued, int64(l.Queued), p.set)
		if l.Max > 0 {
			to.ObserveInt64(c.most, int64(l.Max), p.set)
		}
	}
	for target, b := range budgets {
		to.ObserveFloat64(c.tokens, b.Tokens, metric.WithAttributes(target))
		to.ObserveFloat64(c.capacity, b.Capacity, metric.WithAttributes(target))
		to.ObserveFloat64(c.empty, since(b.EmptySince), metric.WithAttributes(target))
	}
	for target, all := range backends {
		for _, b := range all[:min(len(all), maxBackends)] {
			to.ObserveInt64(c.backend, int64(b.State), metric.WithAttributes(target, keyBackend.String(text.Name(b.Address))))
		}
	}
}

// worse is the status of two breakers that share their labels.
func worse(a, b observe.BreakerStatus) observe.BreakerStatus {
	a.State = max(a.State, b.State)
	a.OpenSince = earlier(a.OpenSince, b.OpenSince)
	return a
}

// earlier returns the earlier of two times, or the one that is not zero.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// since is a time that may be zero, as a gauge.
func since(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / 1e9
}

func (c *counts) observeBreaker(to metric.Observer, p *pair, b observe.BreakerStatus) {
	open := int64(0)
	if !b.OpenSince.IsZero() {
		open = 1
	}
	to.ObserveInt64(c.state, int64(b.State), p.set)
	to.ObserveInt64(c.open, open, p.set)
	to.ObserveFloat64(c.since, since(b.OpenSince), p.set)
}
