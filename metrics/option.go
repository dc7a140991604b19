package metrics

import "github.com/prometheus/client_golang/prometheus"

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
}

// WithMaxMethods bounds the values of the function label: methods called for
// the first time after n others count as function="other" from then on.
// Default, also for n < 1: 1000.
func WithMaxMethods(n int) Option {
	return func(s *settings) { s.maxMethods = n }
}

// WithMaxTargets bounds the values of the target label: targets called for the
// first time after n others count as target="other" from then on, also when
// those others are no longer in use, as their counters stay.
// Default, also for n < 1: 100.
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
