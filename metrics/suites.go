package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/observe"
)

// results are what can come of each kind of a suite's events.
var results = map[observe.SuiteEventKind][]observe.SuiteResult{
	observe.Reloaded:      {observe.ResultSuccess, observe.ResultFailed},
	observe.StateRestored: {observe.ResultSuccess, observe.ResultAbsent, observe.ResultStale, observe.ResultRejected, observe.ResultFailed},
	observe.StateSaved:    {observe.ResultSuccess, observe.ResultFailed},
	observe.Steered:       {observe.ResultSuccess, observe.ResultFailed},
	observe.StateShared:   {observe.ResultSent, observe.ResultReceived, observe.ResultRejected, observe.ResultFailed},
}

// newSuiteEvents makes the counters of suites, with all their series.
func newSuiteEvents(l prometheus.Labels) map[observe.SuiteEventKind]*prometheus.CounterVec {
	all := map[observe.SuiteEventKind]*prometheus.CounterVec{
		observe.Reloaded:      configReloadsTotal.counters(l),
		observe.StateRestored: stateRestoresTotal.counters(l),
		observe.StateSaved:    stateSavesTotal.counters(l),
		observe.StateShared:   stateReportsTotal.counters(l),
		observe.Steered:       suiteSteeredTotal.counters(l),
	}
	for kind, v := range all {
		for _, r := range results[kind] {
			v.WithLabelValues(r.String())
		}
	}
	return all
}

// resultLabel keeps stores of others from making labels that nobody documents.
func resultLabel(r observe.SuiteResult) string {
	if r == observe.ResultUnknown || r > observe.ResultReceived {
		return other
	}
	return r.String()
}

// reloads is what came of the suites' last ones.
type reloads struct {
	successful, timestamp *prometheus.Desc

	mu     sync.Mutex          // guards what follows
	faulty map[uint64]struct{} // suites whose last one failed
	last   time.Time           // success of any
}

func newReloads(l prometheus.Labels) *reloads {
	return &reloads{
		successful: configReloadSuccessful.desc(l),
		timestamp:  configReloadTimestamp.desc(l),
		faulty:     make(map[uint64]struct{}),
		last:       time.Now(),
	}
}

func (r *reloads) event(e observe.SuiteEvent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case e.Kind == observe.SuiteClosed:
		delete(r.faulty, e.Suite)
	case e.Kind != observe.Reloaded:
	case e.Result == observe.ResultSuccess:
		delete(r.faulty, e.Suite)
		r.last = time.Now()
	case e.Result == observe.ResultFailed:
		r.faulty[e.Suite] = struct{}{}
	}
}

func (r *reloads) describe(ch chan<- *prometheus.Desc) {
	ch <- r.successful
	ch <- r.timestamp
}

func (r *reloads) collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	successful, last := 1.0, r.last
	if len(r.faulty) > 0 {
		successful = 0
	}
	r.mu.Unlock()
	gauge(ch, r.successful, successful)
	gauge(ch, r.timestamp, seconds(last))
}
