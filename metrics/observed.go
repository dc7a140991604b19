package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/observe"
)

var (
	breakerWouldRefuseTotal = family{
		"astra_breaker_would_refuse_total",
		"Calls that the circuit breaker would have refused, were its mode to enforce.",
		[]string{labelFunction, labelTarget},
	}
	limitWouldRefuseTotal = family{
		"astra_limit_would_refuse_total",
		"Calls that their limit would have refused, or had wait, were its mode to enforce.",
		[]string{labelFunction, labelReason},
	}
	suiteSteeredTotal = family{
		"astra_suite_steered_total",
		"Breakers forced open or closed, or released, and backends drained or returned, by hand.",
		[]string{labelResult},
	}
)

// observation counts what policies in observe mode would do.
type observation struct{ breaker, limit *prometheus.CounterVec }

func newObserved(l prometheus.Labels) observation {
	return observation{breakerWouldRefuseTotal.counters(l), limitWouldRefuseTotal.counters(l)}
}

func (o observation) record(function, target string, e observe.Event) {
	if e.Outcome == observe.RejectedBreaker {
		o.breaker.WithLabelValues(function, target).Inc()
	} else {
		o.limit.WithLabelValues(function, e.Reason.String()).Inc()
	}
}
