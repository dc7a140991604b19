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
//	astra_retry_target_attempts_total  target, outcome (success, failed)
//	astra_retry_call_seconds         function, outcome; with [WithDurations] only, as is
//	astra_retry_attempt_seconds      function, outcome
//	astra_retry_budget_tokens        target
//	astra_retry_budget_capacity      target
//	astra_retry_budget_empty_since_seconds target
//	astra_limit_in_flight            function, target
//	astra_limit_max                  function, target
//	astra_limit_queued               function, target
//	astra_limit_queue_seconds        function
//	astra_limit_refused_total        function, reason (queue_full, queue_timeout, rate_limited)
//	astra_breaker_state              function, target
//	astra_breaker_open               function, target
//	astra_breaker_open_since_seconds  function, target
//	astra_breaker_refused_total      function, target
//	astra_breaker_transitions_total  function, target, from, to, reason
//	astra_breaker_would_refuse_total  function, target
//	astra_limit_would_refuse_total   function, reason (those of astra_limit_refused_total, must_wait)
//	astra_backend_state              target, backend
//	astra_backend_attempts_total     target, backend, outcome (success, failure, other)
//	astra_backend_ejections_total    target, backend, reason
//	astra_backend_would_avoid_total  target, backend; of ejections that only observe
//	astra_backend_elsewhere_total    function
//	astra_config_reloads_total       result (success, failed)
//	astra_config_last_reload_successful
//	astra_config_last_reload_success_timestamp_seconds
//	astra_state_restores_total       result (success, none, stale, rejected, failed)
//	astra_state_saves_total          result (success, failed)
//	astra_state_reports_total        result (sent, received, rejected, failed)
//	astra_suite_steered_total        result (success, failed)
//	astra_suite_failures_total       event (reloaded, state_saved, …), reason (invalid, no_space, permission, not_found, timeout, other)
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
// Methods and targets are bounded by [WithMaxMethods] and [WithMaxTargets], the
// backends of a target by 100, and there are none unless a suite balances load;
// further ones share the label value "other". Invalid UTF-8 in a name is
// replaced, and names are cut at 512 bytes. Codes outside gRPC's 17, which a
// server may send, count as Unknown.
package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// Metrics is a [prometheus.Collector] and an observer of suites: register it,
// and give it to interceptors.New by interceptors.WithObserver. It may
// observe several suites, whose numbers add up; where their gauges meet, the
// highest breaker state, the earliest opening and the lowest number of budget
// tokens counts; those of limits add up. The last reload is successful if it is
// that of each suite.
//
// A counter whose labels are known beforehand begins at zero, so that its first
// count is an increase: those of suites with New, except for reports to other
// instances, a method's and its targets' with its first call, a limit's with
// the first scrape after that. Counters stay. A breaker's state, a budget's
// tokens and how far a limit is used are read at each scrape and go when the
// suite forgets the method.
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
	refused     *prometheus.CounterVec // by breakers
	suiteEvents map[observe.SuiteEventKind]*prometheus.CounterVec
	failures    *prometheus.CounterVec
	delays      *prometheus.HistogramVec
	durations   *durationVecs // nil: not wanted
	limits      limits
	observed    observation
	backends    backends
	reloads     *reloads
	descs       descs

	mu        sync.Mutex // guards what follows
	functions map[string]*function
	targets   map[string]time.Time // since when they have been known
	pairs     map[pairKey]*pair
	recorders map[*recorder]struct{} // of the endpoints in use
}

// descs are of what Collect computes. The first three have the identity of a
// vector of Metrics.
type descs struct {
	attempts, calls, kinds  *prometheus.Desc
	target                  *prometheus.Desc
	level                   *prometheus.Desc
	tokens, capacity, empty *prometheus.Desc
	state, open, since      *prometheus.Desc
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
		refused:     breakerRefusedTotal.counters(l),
		delays:      delaysSeconds.histograms(l, bounds(append(s.delayBuckets, delayBuckets...)...)),
		durations:   newDurations(s.durations, l),
		suiteEvents: newSuiteEvents(l),
		failures:    newFailures(l),
		limits:      newLimits(l),
		observed:    newObserved(l),
		backends:    newBackends(l),
		reloads:     newReloads(l),
		descs: descs{
			attempts: attemptsTotal.desc(l),
			calls:    callsTotal.desc(l),
			kinds:    attemptKindsTotal.desc(l),
			target:   targetAttemptsTotal.desc(l),
			level:    backoffLevel.desc(l),
			tokens:   budgetTokens.desc(l),
			capacity: budgetCapacity.desc(l),
			empty:    budgetEmptySince.desc(l),
			state:    breakerState.desc(l),
			open:     breakerOpen.desc(l),
			since:    breakerOpenSince.desc(l),
		},

		functions: make(map[string]*function),
		targets:   make(map[string]time.Time),
		pairs:     make(map[pairKey]*pair),
		recorders: make(map[*recorder]struct{}),
	}
}

// Observe implements [observe.Observer]. It resolves what can be resolved
// once for all calls of the method.
func (m *Metrics) Observe(e observe.Endpoint) observe.Hooks {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &recorder{metrics: m, pair: m.pairLocked(e), endpoint: e}
	m.recorders[r] = struct{}{}
	if _, ok := e.Breaker(); ok {
		m.breakerSeries(r.pair)
	}
	hooks := observe.Hooks{Inline: true, Event: r.event, FirstSuccess: r.pair.hot.firstSuccess, Evicted: r.evicted}
	if m.durations != nil {
		hooks.Elapsed, hooks.AttemptElapsed, hooks.FirstSuccess = true, true, nil
	}
	return hooks
}

// SuiteEvent implements [observe.SuiteObserver].
func (m *Metrics) SuiteEvent(e observe.SuiteEvent) {
	if v := m.suiteEvents[e.Kind]; v != nil {
		v.WithLabelValues(resultLabel(e.Result)).Inc()
		if reason, failed := failure(e); failed {
			m.failures.WithLabelValues(e.Kind.String(), reason).Inc()
		}
	}
	m.reloads.event(e)
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
