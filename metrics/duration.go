package metrics

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
)

// Durations configures the histograms of [WithDurations].
type Durations struct {
	// Buckets are the upper bounds, in seconds, of a classic histogram. They may
	// come in any order; those that are not finite and above 0 are left out.
	// Default, unless Native is set: 1 ms to 30 s in 14 steps.
	Buckets []float64

	// Native adds a native histogram, of at most 160 buckets, each a tenth
	// wider than the one before. Scrapers that cannot read it see the classic
	// one, whose buckets are then only those of Buckets.
	Native bool
}

// durationBuckets are the default upper bounds of calls and attempts.
var durationBuckets = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// bounds makes of any numbers what a histogram can have.
func bounds(all ...float64) []float64 {
	all = slices.DeleteFunc(slices.Clone(all), func(b float64) bool { return !(b > 0) || math.IsInf(b, 1) })
	slices.SortFunc(all, cmp.Compare[float64])
	return slices.Compact(all)
}

func (d *Durations) histograms(f family, l prometheus.Labels) *prometheus.HistogramVec {
	o := prometheus.HistogramOpts{Name: f.name, Help: f.help, ConstLabels: l, Buckets: bounds(d.Buckets...)}
	if d.Native {
		o.NativeHistogramBucketFactor = 1.1
		o.NativeHistogramMaxBucketNumber = 160
		o.NativeHistogramMinResetDuration = time.Hour
	} else if len(o.Buckets) == 0 {
		o.Buckets = durationBuckets
	}
	return prometheus.NewHistogramVec(o, f.labels)
}

// durationVecs are the histograms of all methods.
type durationVecs struct{ calls, attempts *prometheus.HistogramVec }

func newDurations(d *Durations, l prometheus.Labels) *durationVecs {
	if d == nil {
		return nil
	}
	return &durationVecs{calls: d.histograms(callSeconds, l), attempts: d.histograms(attemptSeconds, l)}
}

// of resolves those of a method.
func (v *durationVecs) of(function string) *durations {
	if v == nil {
		return nil
	}
	both := func(v *prometheus.HistogramVec) (h [2]prometheus.ExemplarObserver) {
		h[0] = v.WithLabelValues(function, outcomeFailed).(prometheus.ExemplarObserver)
		h[1] = v.WithLabelValues(function, outcomeSuccess).(prometheus.ExemplarObserver)
		return h
	}
	return &durations{calls: both(v.calls), attempts: both(v.attempts)}
}

// durations are a method's histograms, of what failed and of what succeeded.
type durations struct {
	calls, attempts [2]prometheus.ExemplarObserver
}

func (d *durations) attempt(ctx context.Context, e observe.Event) {
	observed(ctx, d.attempts, e.Err == nil, e.Elapsed)
}

func (d *durations) call(ctx context.Context, e observe.Event) {
	observed(ctx, d.calls, e.Code == codes.OK || e.Outcome == observe.Rescued, e.Elapsed)
}

func observed(ctx context.Context, h [2]prometheus.ExemplarObserver, good bool, took time.Duration) {
	i := 0
	if good {
		i = 1
	}
	h[i].ObserveWithExemplar(took.Seconds(), exemplar(ctx))
}
