package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultMaxMethods = 1000
	defaultMaxTargets = 100
)

// Option configures [New].
type Option func(*settings)

type settings struct {
	constLabels prometheus.Labels
	maxMethods  int
	maxTargets  int

	durations    *Durations // nil: none
	delayBuckets []float64  // beside the contract's
}

// WithMaxMethods bounds the values of the function label: methods called for
// the first time after n others count as function="other" from then on.
// Default, also for n < 1: 1000.
func WithMaxMethods(n int) Option {
	return func(s *settings) { s.maxMethods = n }
}

// WithMaxTargets bounds the values of the target label: targets called for the
// first time after n others count as target="other" from then on, also when
// those others are no longer in use, as their counters stay. Default, also for
// n < 1: 100.
func WithMaxTargets(n int) Option {
	return func(s *settings) { s.maxTargets = n }
}

// WithConstLabels gives every metric these labels, so that several [Metrics]
// can be registered together. A name that is not valid, or that a metric has
// already, is an error when the Metrics is registered.
func WithConstLabels(l prometheus.Labels) Option {
	return func(s *settings) { s.constLabels = l }
}

func readOptions(opts []Option) settings {
	var s settings
	for _, o := range opts {
		if o != nil {
			o(&s)
		}
	}
	if s.maxMethods < 1 {
		s.maxMethods = defaultMaxMethods
	}
	if s.maxTargets < 1 {
		s.maxTargets = defaultMaxTargets
	}
	return s
}

// WithDurations adds histograms of how long calls and attempts take:
// astra_retry_call_seconds, queue and backoffs included, and
// astra_retry_attempt_seconds. Labels are function and outcome (success, failed:
// as the caller saw it). A stream's last until it ends. Without it nothing is
// measured; with it each call, and each attempt, reads the clock twice more, and
// a success costs what other calls do.
func WithDurations(d Durations) Option {
	return func(s *settings) { s.durations = &d }
}

// WithDelayBuckets adds upper bounds, in seconds, to those of
// astra_retry_delays_seconds, 0.1 to 16, which stay: for policies with backoffs
// of milliseconds or minutes. Those that are not finite and above 0 are left
// out.
func WithDelayBuckets(bounds ...float64) Option {
	bounds = slices.Clone(bounds)
	return func(s *settings) { s.delayBuckets = bounds }
}
