// Package metrics exports to Prometheus what an interceptors.Suite does: its
// attempts, calls, backoffs, retry budgets and breakers.
//
//	m := metrics.New()
//	prometheus.MustRegister(m)
//	suite, err := interceptors.New(interceptors.WithObserver(m))
//
// The metrics, with their labels beside const labels:
//
//	astra_retry_attempts_total       function, outcome (success, failed), grpc_code
//	astra_retry_attempt_kinds_total  function, kind (first, retry, resume, hedge)
//	astra_retry_calls_total          function, outcome (see [observe.Outcome])
//	astra_retry_delays_seconds       function
//	astra_retry_exhaustions_total    function
//	astra_retry_suppressed_total     function, reason
//	astra_retry_replayed_messages_total  function
//	astra_retry_hedges_total         function, result (won, lost, suppressed)
//	astra_retry_backoff_level        function
//	astra_retry_budget_tokens        target
//	astra_limit_in_flight            function, target
//	astra_limit_max                  function, target
//	astra_limit_queued               function, target
//	astra_limit_queue_seconds        function
//	astra_limit_refused_total        function, reason (queue_full, queue_timeout, rate_limited)
//	astra_breaker_state              function, target
//	astra_breaker_transitions_total  function, target, from, to, reason
//	astra_breaker_would_refuse_total  function, target
//	astra_limit_would_refuse_total   function, reason (those of astra_limit_refused_total, must_wait)
//	astra_config_reloads_total       result (success, failed)
//	astra_state_restores_total       result (success, none, stale, rejected, failed)
//	astra_state_saves_total          result (success, failed)
//	astra_state_reports_total        result (sent, received, rejected, failed)
//	astra_suite_steered_total        result (success, failed)
//
// function is the full method name, "/helloworld.Greeter/SayHello". Attempts
// divided by calls is the load that retries add:
//
//	sum(rate(astra_retry_attempts_total[5m])) / sum(rate(astra_retry_calls_total[5m]))
//
// # Exemplars
//
// Failed attempts, delays, exhaustions and calls that did not succeed first
// carry the trace_id of their context's OpenTelemetry span, if it is sampled.
// A scraper sees them in the OpenMetrics format, which promhttp's
// EnableOpenMetrics turns on.
//
// # Cardinality
//
// Methods and targets are bounded by [WithMaxMethods] and [WithMaxTargets];
// those past the bounds share the label value "other". Bytes of a name that are
// no UTF-8 are replaced, names are cut at 512 bytes. Codes outside gRPC's 17,
// which a server may well send, count as Unknown.
package metrics

import (
	"maps"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// Metrics is a [prometheus.Collector] and an observer of suites: register it,
// and give it to interceptors.New by interceptors.WithObserver. It may
// observe several suites, whose numbers add up; where their gauges meet, the
// highest breaker state and the lowest number of budget tokens counts; those of
// limits add up.
//
// A method's series exist from its first call, at zero where they are known
// beforehand, and stay; a limit's from the first scrape after that. A breaker's
// state, a budget's tokens and how far a limit is used are read at each scrape
// and go when the suite forgets the method.
//
// A first attempt that succeeds costs one atomic addition, without allocation,
// lock or label look-up.
type Metrics struct {
	maxMethods, maxTargets int

	attempts    *prometheus.CounterVec // but the successful
	calls       *prometheus.CounterVec // but those that succeeded first
	kinds       *prometheus.CounterVec // but the first
	replayed    *prometheus.CounterVec
	hedges      *prometheus.CounterVec
	exhaustions *prometheus.CounterVec
	suppressed  *prometheus.CounterVec
	transitions *prometheus.CounterVec
	suiteEvents map[observe.SuiteEventKind]*prometheus.CounterVec
	delays      *prometheus.HistogramVec
	limits      limits
	observed    observed

	// What Collect computes. The first three have the identity of a vector above.
	attemptsDesc, callsDesc, kindsDesc, levelDesc, tokensDesc, stateDesc *prometheus.Desc

	mu        sync.Mutex // guards what follows
	functions map[string]*function
	targets   map[string]struct{}
	recorders map[*recorder]struct{} // of the endpoints in use
}

var (
	_ prometheus.Collector  = (*Metrics)(nil)
	_ observe.Observer      = (*Metrics)(nil)
	_ observe.SuiteObserver = (*Metrics)(nil)
)

// New returns a Metrics, to be registered and to be given to suites.
func New(opts ...Option) *Metrics {
	s := readOptions(opts)
	l := s.constLabels
	return &Metrics{
		maxMethods: s.maxMethods,
		maxTargets: s.maxTargets,

		attempts:    attemptsTotal.counters(l),
		calls:       callsTotal.counters(l),
		kinds:       attemptKindsTotal.counters(l),
		replayed:    replayedMessagesTotal.counters(l),
		hedges:      hedgesTotal.counters(l),
		exhaustions: exhaustionsTotal.counters(l),
		suppressed:  suppressedTotal.counters(l),
		transitions: breakerTransitionsTotal.counters(l),
		delays:      delaysSeconds.histograms(l, delayBuckets),
		suiteEvents: map[observe.SuiteEventKind]*prometheus.CounterVec{
			observe.Reloaded:      configReloadsTotal.counters(l),
			observe.StateRestored: stateRestoresTotal.counters(l),
			observe.StateSaved:    stateSavesTotal.counters(l),
			observe.StateShared:   stateReportsTotal.counters(l),
			observe.Steered:       suiteSteeredTotal.counters(l),
		},

		limits:   newLimits(l),
		observed: newObserved(l),

		attemptsDesc: attemptsTotal.desc(l),
		callsDesc:    callsTotal.desc(l),
		kindsDesc:    attemptKindsTotal.desc(l),
		levelDesc:    backoffLevel.desc(l),
		tokensDesc:   budgetTokens.desc(l),
		stateDesc:    breakerState.desc(l),

		functions: make(map[string]*function),
		targets:   make(map[string]struct{}),
		recorders: make(map[*recorder]struct{}),
	}
}

// SuiteEvent implements [observe.SuiteObserver].
func (m *Metrics) SuiteEvent(e observe.SuiteEvent) {
	if v := m.suiteEvents[e.Kind]; v != nil {
		v.WithLabelValues(resultLabel(e.Result)).Inc()
	}
}

// resultLabel keeps stores of others from making labels that nobody documents.
func resultLabel(r observe.SuiteResult) string {
	if r == observe.ResultUnknown || r > observe.ResultReceived {
		return other
	}
	return r.String()
}

// Observe implements [observe.Observer]. It resolves what can be resolved
// once for all calls of the method.
func (m *Metrics) Observe(e observe.Endpoint) observe.Hooks {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := label(m.functions, e.Method(), m.maxMethods)
	f := m.functions[name]
	if f == nil {
		f = m.newFunction(name)
		m.functions[name] = f
	}
	target := label(m.targets, e.Target(), m.maxTargets)
	m.targets[target] = struct{}{}

	r := &recorder{metrics: m, function: f, endpoint: e, target: target}
	m.recorders[r] = struct{}{}
	return observe.Hooks{Inline: true, Event: r.event, FirstSuccess: r.firstSuccess, Evicted: r.evicted}
}

// label returns the label value that stands for name: itself if it is known, or
// if there is room. One that is no UTF-8 would fail the whole scrape, and a long
// one is in each.
func label[V any](known map[string]V, name string, limit int) string {
	name = text.Name(name)
	if _, ok := known[name]; !ok && len(known) >= limit {
		return other
	}
	return name
}

func (m *Metrics) vectors() []prometheus.Collector {
	all := []prometheus.Collector{m.attempts, m.calls, m.kinds, m.replayed, m.hedges, m.exhaustions, m.suppressed, m.transitions, m.delays, m.limits.refused, m.limits.waits, m.observed.breaker, m.observed.limit}
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
	ch <- m.levelDesc
	ch <- m.tokensDesc
	ch <- m.stateDesc
	m.limits.describe(ch)
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock() // not held while sending: first calls would wait for the scraper
	functions := slices.Collect(maps.Values(m.functions))
	recorders := slices.Collect(maps.Keys(m.recorders))
	m.mu.Unlock()
	m.limits.collect(ch, recorders)
	for _, v := range m.vectors() {
		v.Collect(ch)
	}
	for _, f := range functions {
		m.collectFunction(ch, f)
	}
	m.collectEndpoints(ch, recorders)
}

func (m *Metrics) collectFunction(ch chan<- prometheus.Metric, f *function) {
	attempts, calls, firsts := f.hot.fold()
	ch <- prometheus.MustNewConstMetricWithCreatedTimestamp(m.attemptsDesc, prometheus.CounterValue,
		float64(attempts), f.since, f.name, outcomeSuccess, codes.OK.String())
	ch <- prometheus.MustNewConstMetricWithCreatedTimestamp(m.callsDesc, prometheus.CounterValue,
		float64(calls), f.since, f.name, observe.SuccessFirst.String())
	ch <- prometheus.MustNewConstMetricWithCreatedTimestamp(m.kindsDesc, prometheus.CounterValue,
		float64(firsts+f.firsts.Load()), f.since, f.name, observe.FirstAttempt.String())
	ch <- prometheus.MustNewConstMetric(m.levelDesc, prometheus.GaugeValue,
		float64(f.backoffs.highest()), f.name)
}

// collectEndpoints reads the gauges that the suites keep. Endpoints may share
// their label values: the worst of them is shown.
func (m *Metrics) collectEndpoints(ch chan<- prometheus.Metric, recorders []*recorder) {
	type breaker struct{ function, target string }
	states := make(map[breaker]observe.BreakerState)
	tokens := make(map[string]float64)
	for _, r := range recorders {
		if s, ok := r.endpoint.BreakerState(); ok {
			b := breaker{r.function.name, r.target}
			states[b] = max(states[b], s)
		}
		if n, ok := r.endpoint.BudgetTokens(); ok {
			if low, seen := tokens[r.target]; seen {
				n = min(n, low)
			}
			tokens[r.target] = n
		}
	}
	for b, s := range states {
		ch <- prometheus.MustNewConstMetric(m.stateDesc, prometheus.GaugeValue, float64(s), b.function, b.target)
	}
	for target, n := range tokens {
		ch <- prometheus.MustNewConstMetric(m.tokensDesc, prometheus.GaugeValue, n, target)
	}
}
