package metrics

import (
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
)

func (m *Metrics) vectors() []prometheus.Collector {
	all := []prometheus.Collector{m.attempts, m.calls, m.kinds, m.replayed, m.hedges, m.exhaustions, m.suppressed, m.transitions, m.refused, m.delays, m.limits.refused, m.limits.waits, m.backends.elsewhere, m.observed.breaker, m.observed.limit, m.failures}
	if m.durations != nil {
		all = append(all, m.durations.calls, m.durations.attempts)
	}
	for _, v := range m.suiteEvents {
		all = append(all, v)
	}
	return all
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range m.vectors() {
		v.Describe(ch)
	}
	d := &m.descs
	for _, d := range []*prometheus.Desc{d.target, d.level, d.tokens, d.capacity, d.empty, d.state, d.open, d.since} {
		ch <- d
	}
	m.limits.describe(ch)
	m.backends.describe(ch)
	m.reloads.describe(ch)
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock() // not held while sending: first calls would wait for the scraper
	functions := slices.Collect(maps.Values(m.functions))
	targets := maps.Clone(m.targets)
	pairs := slices.Collect(maps.Values(m.pairs))
	recorders := slices.Collect(maps.Keys(m.recorders))
	m.mu.Unlock()
	m.limits.collect(ch, recorders, m.observed)
	m.backends.collect(ch, recorders)
	m.collectEndpoints(ch, recorders)
	for _, v := range m.vectors() {
		v.Collect(ch)
	}
	m.collectCounts(ch, functions, targets, pairs)
	m.reloads.collect(ch)
}

// collectCounts adds up what pairs count, by method and by target.
func (m *Metrics) collectCounts(ch chan<- prometheus.Metric, functions []*function, targets map[string]time.Time, pairs []*pair) {
	type ended struct {
		good
		failed uint64
	}
	byFunction, byTarget := make(map[string]*good, len(functions)), make(map[string]*ended, len(targets))
	for _, f := range functions {
		byFunction[f.name] = new(good)
	}
	for t := range targets {
		byTarget[t] = new(ended)
	}
	for _, p := range pairs {
		byFunction[p.name].fold(&p.hot)
		t := byTarget[p.target]
		t.fold(&p.hot)
		t.failed += p.failed.Load()
	}
	for _, f := range functions {
		n := byFunction[f.name]
		count(ch, m.descs.attempts, n.attempts, f.since, f.name, outcomeSuccess, codes.OK.String())
		count(ch, m.descs.calls, n.calls, f.since, f.name, observe.SuccessFirst.String())
		count(ch, m.descs.kinds, n.firsts+f.firsts.Load(), f.since, f.name, observe.FirstAttempt.String())
		gauge(ch, m.descs.level, float64(f.backoffs.highest()), f.name)
	}
	for t, n := range byTarget {
		count(ch, m.descs.target, n.attempts, targets[t], t, outcomeSuccess)
		count(ch, m.descs.target, n.failed, targets[t], t, outcomeFailed)
	}
}

// collectEndpoints reads the gauges that the suites keep, and sees that the
// counters of breakers that a reload has brought exist. Endpoints may share
// their label values: the worst of them is shown.
func (m *Metrics) collectEndpoints(ch chan<- prometheus.Metric, recorders []*recorder) {
	breakers := make(map[pairKey]observe.BreakerStatus)
	budgets := make(map[string]observe.BudgetStatus)
	for _, r := range recorders {
		if b, ok := r.endpoint.Breaker(); ok {
			m.breakerSeries(r.pair)
			k := pairKey{r.pair.name, r.pair.target}
			breakers[k] = worse(breakers[k], b)
		}
		if b, ok := r.endpoint.Budget(); ok {
			low, seen := budgets[r.pair.target]
			since := earlier(low.EmptySince, b.EmptySince)
			if !seen || b.Tokens < low.Tokens {
				low = b
			}
			low.EmptySince = since
			budgets[r.pair.target] = low
		}
	}
	for k, b := range breakers {
		gauge(ch, m.descs.state, float64(b.State), k.function, k.target)
		open := 0.0
		if !b.OpenSince.IsZero() {
			open = 1
		}
		gauge(ch, m.descs.open, open, k.function, k.target)
		gauge(ch, m.descs.since, since(b.OpenSince), k.function, k.target)
	}
	for target, b := range budgets {
		gauge(ch, m.descs.tokens, b.Tokens, target)
		gauge(ch, m.descs.capacity, b.Capacity, target)
		gauge(ch, m.descs.empty, since(b.EmptySince), target)
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
	return seconds(t)
}
