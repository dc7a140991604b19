package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Names, types, buckets and labels are a contract with dashboards and alerts.

// The labels.
const (
	labelFunction = "function" // full method name
	labelTarget   = "target"   // of the connection
	labelOutcome  = "outcome"
	labelCode     = "grpc_code" // as go-grpc-middleware's grpc_client_handled_total has it
	labelReason   = "reason"
	labelKind     = "kind"
	labelFrom     = "from"
	labelTo       = "to"
	labelResult   = "result"
	labelPattern  = "pattern" // of a fault of package chaos
	labelFault    = "fault"
	labelEvent    = "event"    // an observe.SuiteEventKind
	labelTraceID  = "trace_id" // of exemplars
)

// The values of outcome in astra_retry_attempts_total; calls have those of
// observe.Outcome.
const (
	outcomeSuccess = "success"
	outcomeFailed  = "failed"
)

// other stands for the methods, or targets, past the limit.
const other = "other"

// family is a metric's fixed part.
type family struct {
	name, help string
	labels     []string
}

var (
	attemptsTotal = family{
		"astra_retry_attempts_total",
		"Attempts that ended, retries included.",
		[]string{labelFunction, labelOutcome, labelCode},
	}
	attemptKindsTotal = family{
		"astra_retry_attempt_kinds_total",
		"Attempts that ended, by what they were made for.",
		[]string{labelFunction, labelKind},
	}
	replayedMessagesTotal = family{
		"astra_retry_replayed_messages_total",
		"Messages of streams that were sent again to a new attempt.",
		[]string{labelFunction},
	}
	hedgesTotal = family{
		"astra_retry_hedges_total",
		"Hedges, by what became of them; suppressed were due and not made.",
		[]string{labelFunction, labelResult},
	}
	callsTotal = family{
		"astra_retry_calls_total",
		"Calls that ended, as their callers see them.",
		[]string{labelFunction, labelOutcome},
	}
	exhaustionsTotal = family{
		"astra_retry_exhaustions_total",
		"Calls that failed with all their attempts used up; a fallback may have answered them.",
		[]string{labelFunction},
	}
	suppressedTotal = family{
		"astra_retry_suppressed_total",
		"Retries held back, by reason; that the attempts are used up is none.",
		[]string{labelFunction, labelReason},
	}
	delaysSeconds = family{
		"astra_retry_delays_seconds",
		"Planned lengths of the backoffs begun.",
		[]string{labelFunction},
	}
	backoffLevel = family{
		"astra_retry_backoff_level",
		"Highest retry number that a call in flight is backing off for; 0 when none is.",
		[]string{labelFunction},
	}
	targetAttemptsTotal = family{
		"astra_retry_target_attempts_total",
		"Attempts that ended, retries included, by target.",
		[]string{labelTarget, labelOutcome},
	}
	callSeconds = family{
		"astra_retry_call_seconds",
		"How long calls took, from their start to their return.",
		[]string{labelFunction, labelOutcome},
	}
	attemptSeconds = family{
		"astra_retry_attempt_seconds",
		"How long attempts took.",
		[]string{labelFunction, labelOutcome},
	}
	budgetCapacity = family{
		"astra_retry_budget_capacity",
		"Tokens that the target's budget holds at most; of the one that astra_retry_budget_tokens is of.",
		[]string{labelTarget},
	}
	budgetEmptySince = family{
		"astra_retry_budget_empty_since_seconds",
		"Unix time at which the target's budget ran empty that has not been half full since; 0: it has.",
		[]string{labelTarget},
	}
	budgetTokens = family{
		"astra_retry_budget_tokens",
		"Retries that the target's budget would allow now; the lowest where it has several.",
		[]string{labelTarget},
	}
	breakerState = family{
		"astra_breaker_state",
		"State of the circuit breaker: 0 closed, 1 half-open, 2 open.",
		[]string{labelFunction, labelTarget},
	}
	breakerOpen = family{
		"astra_breaker_open",
		"1 from the circuit breaker's opening to its recovery, half-open times included; 0 while it is closed.",
		[]string{labelFunction, labelTarget},
	}
	breakerOpenSince = family{
		"astra_breaker_open_since_seconds",
		"Unix time at which the circuit breaker opened that has not recovered since; 0 while it is closed.",
		[]string{labelFunction, labelTarget},
	}
	breakerRefusedTotal = family{
		"astra_breaker_refused_total",
		"Calls that the circuit breaker refused; a fallback may have answered them.",
		[]string{labelFunction, labelTarget},
	}
	breakerTransitionsTotal = family{
		"astra_breaker_transitions_total",
		"Changes of the circuit breaker's state, by reason.",
		[]string{labelFunction, labelTarget, labelFrom, labelTo, labelReason},
	}
	configReloadsTotal = family{
		"astra_config_reloads_total",
		"Replacements of a suite's policies, tried.",
		[]string{labelResult},
	}
	configReloadSuccessful = family{
		"astra_config_last_reload_successful",
		"1 if the last try to replace the policies succeeded, or there was none; 0 if it failed.",
		nil,
	}
	configReloadTimestamp = family{
		"astra_config_last_reload_success_timestamp_seconds",
		"Unix time at which the policies were last replaced, or first given.",
		nil,
	}
	stateRestoresTotal = family{
		"astra_state_restores_total",
		"Readings of the state that an earlier process left.",
		[]string{labelResult},
	}
	stateSavesTotal = family{
		"astra_state_saves_total",
		"Writings of the state for the next process, tried.",
		[]string{labelResult},
	}
	suiteFailuresTotal = family{
		"astra_suite_failures_total",
		"Reloads of policies, and work of stores, that failed, by why.",
		[]string{labelEvent, labelReason},
	}
	stateReportsTotal = family{
		"astra_state_reports_total",
		"Reports of open breakers to and from other instances.",
		[]string{labelResult},
	}
)

var (
	limitInFlight = family{
		"astra_limit_in_flight",
		"Calls that hold a slot of their method's limit.",
		[]string{labelFunction, labelTarget},
	}
	limitMax = family{
		"astra_limit_max",
		"Calls that may hold one; what an adaptive limit has found.",
		[]string{labelFunction, labelTarget},
	}
	limitQueued = family{
		"astra_limit_queued",
		"Calls that wait for their method's limit.",
		[]string{labelFunction, labelTarget},
	}
	limitQueueSeconds = family{
		"astra_limit_queue_seconds",
		"How long calls waited for their limit, whether they got a slot or not.",
		[]string{labelFunction},
	}
	limitRefusedTotal = family{
		"astra_limit_refused_total",
		"Calls that their limit refused, by reason; a fallback may have answered them.",
		[]string{labelFunction, labelReason},
	}
)

// queueBuckets are the upper bounds of astra_limit_queue_seconds: a queue that
// is felt for more than a few seconds is too long.
var queueBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5}

// delayBuckets are the upper bounds of astra_retry_delays_seconds.
var delayBuckets = []float64{0.1, 0.5, 1, 2, 4, 8, 16}

func (f family) desc(l prometheus.Labels) *prometheus.Desc {
	return prometheus.NewDesc(f.name, f.help, f.labels, l)
}

func (f family) counters(l prometheus.Labels) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: f.name, Help: f.help, ConstLabels: l}, f.labels)
}

func (f family) histograms(l prometheus.Labels, buckets []float64) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: f.name, Help: f.help, ConstLabels: l, Buckets: buckets}, f.labels)
}

func count(ch chan<- prometheus.Metric, d *prometheus.Desc, n uint64, since time.Time, labels ...string) {
	ch <- prometheus.MustNewConstMetricWithCreatedTimestamp(d, prometheus.CounterValue, float64(n), since, labels...)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// seconds is a time as Prometheus has it: since 1970.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }
