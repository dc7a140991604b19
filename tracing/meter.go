package tracing

import (
	"context"
	"errors"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/astra-grpc/astra/internal/text"
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

// meter is an observer that records gRFC A96's histograms.
type meter struct {
	retries, hedges metric.Int64Histogram
	delay           metric.Float64Histogram
}

// NewMeter returns an observer that records the histograms of gRFC A96, at the
// end of a call:
//
//	grpc.client.call.retries      {retry}  retries of a call; 1, 2, 3, 4, 5
//	grpc.client.call.hedges       {hedge}  hedges of a call; the same bounds
//	grpc.client.call.retry_delay  s        time in backoffs; gRFC A66's bounds for latencies
//
// Labels are grpc.method ("pkg.Service/Method") and grpc.target ("dns:///host:50051").
// Zeros are not recorded, so a call whose first attempt succeeds costs next to
// nothing. Attempts that continue a stream count as retries; a hedged call has
// no backoffs. A96's
// grpc.client.call.transparent_retries is missing: grpc-go makes those beneath
// an attempt, where no interceptor sees them. A66's histograms of calls and
// attempts are those of grpc-go's own OpenTelemetry plugin; given before the
// suite's DialOptions it counts calls and attempts rightly.
//
// The suite keeps 16384 pairs of target and method apart, beside those whose
// method the program knows; further ones are "other". Exemplars lead to the call's span if the suite has an observer made
// by [New].
//
// It may observe several suites. A nil provider records nothing. The error
// joins what the provider has against the instruments; they are what views make
// of them.
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
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	return &meter{retries, hedges, delay}, nil
}

// Observe implements [observe.Observer].
func (m *meter) Observe(e observe.Endpoint) observe.Hooks {
	set := attribute.NewSet(
		keyGRPCMethod.String(strings.TrimPrefix(text.Name(e.Method()), "/")),
		keyTarget.String(text.Name(e.CanonicalTarget())),
	)
	of := &methodMeter{m, []metric.RecordOption{metric.WithAttributeSet(set)}}
	return observe.Hooks{
		Inline:       true,
		Event:        of.event,
		FirstSuccess: func(uint32) {}, // there is nothing to record
	}
}

// methodMeter records for one method of one target.
type methodMeter struct {
	*meter
	labels []metric.RecordOption
}

// event is [observe.Hooks.Event].
func (m *methodMeter) event(ctx context.Context, e observe.Event) {
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
