package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/internal/text"
)

// ChaosSource is implemented by chaos.Injector. Its methods must be safe for
// concurrent use.
type ChaosSource interface {
	// Active reports whether faults are injected now.
	Active() bool
	// Injected calls f for each pattern and kind, with the number of faults
	// injected.
	Injected(f func(pattern, kind string, n uint64))
}

var (
	chaosActive = family{
		"astra_chaos_active",
		"Whether faults are injected into calls on purpose: 1 while a plan is on, else 0.",
		nil,
	}
	chaosInjectedTotal = family{
		"astra_chaos_injected_total",
		"Faults injected into attempts on purpose, by the pattern of their methods and by kind.",
		[]string{labelPattern, labelFault},
	}
)

// NewChaos returns a collector of the faults that a source, a chaos.Injector,
// injects:
//
//	astra_chaos_active
//	astra_chaos_injected_total  pattern, fault (latency, status, unsent, reset, hang, corrupt)
//
// Of the options only [WithConstLabels] has an effect.
func NewChaos(source ChaosSource, opts ...Option) prometheus.Collector {
	l := readOptions(opts).constLabels
	return &chaosCollector{source: source, active: chaosActive.desc(l), injected: chaosInjectedTotal.desc(l)}
}

type chaosCollector struct {
	source           ChaosSource
	active, injected *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *chaosCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.active
	ch <- c.injected
}

// Collect implements [prometheus.Collector].
func (c *chaosCollector) Collect(ch chan<- prometheus.Metric) {
	active := 0.0
	if c.source.Active() {
		active = 1
	}
	ch <- prometheus.MustNewConstMetric(c.active, prometheus.GaugeValue, active)
	c.source.Injected(func(pattern, kind string, n uint64) {
		ch <- prometheus.MustNewConstMetric(c.injected, prometheus.CounterValue, float64(n), text.Name(pattern), kind)
	})
}
