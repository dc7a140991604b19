package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/observe"
)

// refusals are the reasons of a Limited event.
var refusals = []observe.Reason{observe.ReasonQueueFull, observe.ReasonQueueTimeout, observe.ReasonRateLimited}

// limits counts what limits do. Methods without a limit have no series.
type limits struct {
	refused *prometheus.CounterVec
	waits   *prometheus.HistogramVec

	inFlight, queued, most *prometheus.Desc
}

func newLimits(l prometheus.Labels) limits {
	return limits{
		refused:  limitRefusedTotal.counters(l),
		waits:    limitQueueSeconds.histograms(l, queueBuckets),
		inFlight: limitInFlight.desc(l),
		queued:   limitQueued.desc(l),
		most:     limitMax.desc(l),
	}
}

func (l *limits) describe(ch chan<- *prometheus.Desc) {
	ch <- l.inFlight
	ch <- l.queued
	ch <- l.most
}

func (l *limits) record(ctx context.Context, function string, e observe.Event) {
	switch e.Kind {
	case observe.Dequeued:
		l.waits.WithLabelValues(function).(prometheus.ExemplarObserver).ObserveWithExemplar(e.Delay.Seconds(), exemplar(ctx))
	case observe.Limited:
		add(ctx, l.refused.WithLabelValues(function, e.Reason.String()))
	}
}

// collect reads the gauges that the suites keep, and sees that the counters of
// limited methods exist. Where endpoints share their label values, they add up.
func (l *limits) collect(ch chan<- prometheus.Metric, recorders []*recorder, observed observation) {
	type endpoint struct{ function, target string }
	states := make(map[endpoint]observe.LimitState)
	for _, r := range recorders {
		s, ok := r.endpoint.LimitState()
		if !ok {
			continue
		}
		for _, reason := range refusals {
			l.refused.WithLabelValues(r.pair.name, reason.String())
			observed.limit.WithLabelValues(r.pair.name, reason.String())
		}
		observed.limit.WithLabelValues(r.pair.name, observe.ReasonMustWait.String())
		l.waits.WithLabelValues(r.pair.name)
		e := endpoint{r.pair.name, r.pair.target}
		sum := states[e]
		sum.InFlight += s.InFlight
		sum.Queued += s.Queued
		sum.Max += s.Max
		states[e] = sum
	}
	for e, s := range states {
		gauge := func(d *prometheus.Desc, n int) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), e.function, e.target)
		}
		gauge(l.inFlight, s.InFlight)
		gauge(l.queued, s.Queued)
		if s.Max > 0 {
			gauge(l.most, s.Max)
		}
	}
}
