package metrics

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

const labelBackend = "backend" // address of the endpoint

// maxBackends bounds the values of the backend label, for each target.
const maxBackends = 100

var (
	backendState = family{
		"astra_backend_state",
		"State of a target's backend: 0 in, 1 on trial by probes, 2 ejected or drained.",
		[]string{labelTarget, labelBackend},
	}
	backendAttemptsTotal = family{
		"astra_backend_attempts_total",
		"Attempts that ended, by their backend and what their end says of it.",
		[]string{labelTarget, labelBackend, labelOutcome},
	}
	backendEjectionsTotal = family{
		"astra_backend_ejections_total",
		"Ejections of a target's backend, and drains by hand; a probe that failed ejects again.",
		[]string{labelTarget, labelBackend, labelReason},
	}
	backendWouldAvoidTotal = family{
		"astra_backend_would_avoid_total",
		"Attempts that would have gone elsewhere because their backend was ejected, were the mode of ejections to enforce.",
		[]string{labelTarget, labelBackend},
	}
	backendElsewhereTotal = family{
		"astra_backend_elsewhere_total",
		"Retries, hedges and resumptions that went to a backend that their call had not been to.",
		[]string{labelFunction},
	}
)

// backends counts what becomes of backends. All but the last is the suites', and
// read at each scrape: it goes with the endpoint.
type backends struct {
	state, attempts, ejections, avoidable *prometheus.Desc

	elsewhere *prometheus.CounterVec
}

func newBackends(l prometheus.Labels) backends {
	return backends{
		state:     backendState.desc(l),
		attempts:  backendAttemptsTotal.desc(l),
		ejections: backendEjectionsTotal.desc(l),
		avoidable: backendWouldAvoidTotal.desc(l),
		elsewhere: backendElsewhereTotal.counters(l),
	}
}

func (b *backends) describe(ch chan<- *prometheus.Desc) {
	ch <- b.state
	ch <- b.attempts
	ch <- b.ejections
	ch <- b.avoidable
}

// backendKey is the label values of a backend.
type backendKey struct{ target, backend string }

// backendSum is what is known of all backends that share them.
type backendSum struct {
	state                    observe.BreakerState
	succeeded, failed, other uint64
	avoidable                uint64
	ejections                map[observe.Reason]uint64
}

func (s *backendSum) add(b *observe.Backend) {
	s.state = max(s.state, b.State)
	s.succeeded += b.Succeeded
	s.failed += b.Failed
	s.other += b.Other
	s.avoidable += b.WouldAvoid
	for why, n := range b.Ejections {
		s.ejections[why] += n
	}
}

// collect reads the backends that the suites know. Where they share their label
// values, the worst state is shown, and numbers add up.
func (b *backends) collect(ch chan<- prometheus.Metric, recorders []*recorder) {
	for k, s := range b.sums(recorders) {
		ch <- prometheus.MustNewConstMetric(b.state, prometheus.GaugeValue, float64(s.state), k.target, k.backend)
		for outcome, n := range map[string]uint64{"success": s.succeeded, "failure": s.failed, "other": s.other} {
			ch <- prometheus.MustNewConstMetric(b.attempts, prometheus.CounterValue, float64(n), k.target, k.backend, outcome)
		}
		ch <- prometheus.MustNewConstMetric(b.avoidable, prometheus.CounterValue, float64(s.avoidable), k.target, k.backend)
		for why, n := range s.ejections {
			ch <- prometheus.MustNewConstMetric(b.ejections, prometheus.CounterValue, float64(n), k.target, k.backend, why.String())
		}
	}
}

func (b *backends) sums(recorders []*recorder) map[backendKey]*backendSum {
	byTarget := make(map[string][]observe.Backend)
	seen := make(map[any]bool) // methods of a target have the same
	for _, r := range recorders {
		list := r.endpoint.Backends()
		if len(list) > 0 {
			b.elsewhere.WithLabelValues(r.pair.name)
		}
		for _, each := range list {
			if !seen[each.Of] {
				seen[each.Of] = true
				byTarget[r.pair.target] = append(byTarget[r.pair.target], each)
			}
		}
	}
	sums := make(map[backendKey]*backendSum)
	for target, list := range byTarget {
		slices.SortFunc(list, func(a, b observe.Backend) int { return cmp.Compare(a.Address, b.Address) })
		named := 0
		for i := range list {
			k := backendKey{target, text.Name(list[i].Address)}
			if sums[k] == nil {
				if named++; named > maxBackends {
					k.backend = other
				}
			}
			s := sums[k]
			if s == nil {
				s = &backendSum{ejections: make(map[observe.Reason]uint64)}
				sums[k] = s
			}
			s.add(&list[i])
		}
	}
	return sums
}
