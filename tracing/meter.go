package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/astra-grpc/astra/observe"
)

// countBounds are gRFC A96's, for retries and hedges.
var countBounds = []float64{1, 2, 3, 4, 5}

// latencyBounds are gRFC A66's, in seconds.
var latencyBounds = []float64{
	0, 0.00001, 0.00005, 0.0001, 0.0003, 0.0006, 0.0008, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008,
	0.01, 0.013, 0.016, 0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8,
	1, 2, 5, 10, 20, 50, 100,
}

// meter is an observer that records gRFC A96's histograms, and what package
// metrics has.
type meter struct {
	retries, hedges metric.Int64Histogram
	delay, queue    metric.Float64Histogram
	*counts
}

// NewMeter returns an observer that records the histograms of gRFC A96, at the
// end of a call:
//
//	grpc.client.call.retries      {retry}  retries of a call; 1, 2, 3, 4, 5
//	grpc.client.call.hedges       {hedge}  hedges of a call; the same bounds
//	grpc.client.call.retry_delay  s        time in backoffs; gRFC A66's bounds for latencies
//
// Labels are grpc.method ("pkg.Service/Method") and grpc.target
// ("dns:///host:50051"). Zeros are not recorded, so a call whose first attempt
// succeeds costs next to nothing. Attempts that continue a stream count as
// retries; a hedged call has no backoffs. A96's
// grpc.client.call.transparent_retries is missing: grpc-go makes those beneath
// an attempt, where no interceptor sees them. A66's histograms of calls and
// attempts are those of grpc-go's own OpenTelemetry plugin; given before the
// suite's DialOptions it counts calls and attempts correctly.
//
// For programs without Prometheus, it also has what package metrics exports:
//
//	astra.retry.calls            astra.outcome (see [observe.Outcome])
//	astra.retry.attempts         rpc.grpc.status_code
//	astra.retry.attempt_kinds    astra.attempt_kind (first, retry, resume, hedge)
//	astra.retry.suppressed       astra.reason
//	astra.retry.exhaustions
//	astra.retry.hedges           astra.result (won, lost, suppressed)
//	astra.retry.budget.tokens    gauge, by grpc.target alone, as the next
//	astra.retry.budget.capacity  gauge
//	astra.retry.budget.empty_since
//	                             gauge, s: Unix time since which it is empty; 0: it is not
//	astra.breaker.state          gauge: 0 closed, 1 half-open, 2 open
//	astra.breaker.open           gauge: 1 from the opening to the recovery
//	astra.breaker.open_since     gauge, s: Unix time of the opening; 0 while closed
//	astra.breaker.refused
//	astra.breaker.transitions    astra.breaker.from, astra.breaker.to, astra.reason
//	astra.limit.in_flight, astra.limit.queued, astra.limit.max
//	                             gauges, of methods with a limit
//	astra.limit.refused          astra.reason
//	astra.limit.queue_time       s, a histogram of the waits that ended
//	astra.would_refuse           astra.reason; of policies that observe
//	astra.backend.state          gauge: 0 in, 1 on trial, 2 ejected; grpc.target, astra.backend
//	astra.suite.events           astra.event (reloaded, state_saved, …), astra.result
//	astra.config.last_reload_successful
//	                             gauge
//
// All but gauges and histograms are counters, with grpc.method and grpc.target
// unless the list says otherwise. They are read when the provider collects; a
// call whose first attempt succeeds costs one addition.
//
// 2000 pairs of target and method have series of their own; further ones are
// "other". The SDK has a limit of its own, by default of 2000 sets of labels an
// instrument. Exemplars lead to the call's span if the suite has an observer
// made by [New].
//
// It may observe several suites. A nil provider records nothing. The error
// joins those of the provider for its instruments. Views apply to them.
func NewMeter(mp metric.MeterProvider) (observe.Observer, error) {
	if mp == nil {
		mp = noop.NewMeterProvider()
	}
	of := mp.Meter(scope)
	retries, err1 := of.Int64Histogram("grpc.client.call.retries", metric.WithUnit("{retry}"),
		metric.WithDescription("Number of retries during the client call."), metric.WithExplicitBucketBoundaries(countBounds...))
	hedges, err2 := of.Int64Histogram("grpc.client.call.hedges", metric.WithUnit("{hedge}"),
		metric.WithDescription("Number of hedges during the client call."), metric.WithExplicitBucketBoundaries(countBounds...))
	delay, err3 := of.Float64Histogram("grpc.client.call.retry_delay", metric.WithUnit("s"),
		metric.WithDescription("Total time of delay while there is no active attempt during the client call."), metric.WithExplicitBucketBoundaries(latencyBounds...))
	queue, err4 := of.Float64Histogram("astra.limit.queue_time", metric.WithUnit("s"),
		metric.WithDescription("How long calls waited for their limit, whether they got a slot or not."), metric.WithExplicitBucketBoundaries(latencyBounds...))
	counts, err5 := newCounts(of)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	return &meter{retries, hedges, delay, queue, counts}, nil
}

// SuiteEvent implements [observe.SuiteObserver].
func (m *meter) SuiteEvent(e observe.SuiteEvent) { m.suiteEvent(e) }

// Observe implements [observe.Observer].
func (m *meter) Observe(e observe.Endpoint) observe.Hooks {
	p := m.pairOf(e)
	of := &methodMeter{m, e, p, []metric.RecordOption{p.set}}
	m.mu.Lock()
	m.endpoints[of] = struct{}{}
	m.mu.Unlock()
	return observe.Hooks{Inline: true, Event: of.event, FirstSuccess: p.firstSuccess, Evicted: of.evicted}
}

// methodMeter records for one method of one target.
type methodMeter struct {
	*meter
	endpoint observe.Endpoint
	pair     *pair
	labels   []metric.RecordOption
}

// evicted takes the endpoint out of the gauges.
func (m *methodMeter) evicted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.endpoints, m)
}

// event is [observe.Hooks.Event].
func (m *methodMeter) event(ctx context.Context, e observe.Event) {
	m.counts.event(m.pair, e)
	if e.Kind == observe.Dequeued {
		m.queue.Record(ctx, e.Delay.Seconds(), m.labels...)
	}
	if e.Kind != observe.CallEnd {
		return
	}
	if n := e.Attempt - 1 - e.Hedges; n > 0 {
		m.retries.Record(ctx, int64(n), m.labels...)
	}
	if e.Hedges > 0 {
		m.hedges.Record(ctx, int64(e.Hedges), m.labels...)
	}
	if e.Waited > 0 {
		m.delay.Record(ctx, e.Waited.Seconds(), m.labels...)
	}
}
