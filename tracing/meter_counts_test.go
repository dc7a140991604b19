package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/tracing"
)

// points are the values of all counters and gauges by name and labels, but those of
// method and target.
func points(t *testing.T, r sdkmetric.Reader) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for name, m := range read(t, r) {
		if !strings.HasPrefix(name, "astra.") {
			continue
		}
		if m.Unit == "" || m.Description == "" {
			t.Errorf("%s has the unit %q and the description %q", name, m.Unit, m.Description)
		}
		switch d := m.Data.(type) {
		case metricdata.Sum[int64]:
			if !d.IsMonotonic {
				t.Errorf("%s may fall", name)
			}
			add(all, name, d.DataPoints)
		case metricdata.Gauge[int64]:
			add(all, name, d.DataPoints)
		case metricdata.Gauge[float64]:
			add(all, name, d.DataPoints)
		case metricdata.Histogram[float64]:
			for _, p := range d.DataPoints {
				all[name] += p.Sum
			}
		default:
			t.Errorf("%s is a %T", name, m.Data)
		}
	}
	return all
}

func add[N int64 | float64](all map[string]float64, name string, of []metricdata.DataPoint[N]) {
	for _, p := range of {
		var labels []string
		for _, l := range p.Attributes.ToSlice() {
			if l.Key != "grpc.method" && l.Key != "grpc.target" {
				labels = append(labels, l.Value.String())
			}
		}
		slices.Sort(labels)
		all[strings.Join(append([]string{name}, labels...), " ")] += float64(p.Value)
	}
}

func countingMeter(t *testing.T) (observe.Observer, sdkmetric.Reader) {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	m, err := tracing.NewMeter(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithCardinalityLimit(0)))
	if err != nil {
		t.Fatal(err)
	}
	return m, reader
}

// check compares some points; those that are not there are zero.
func check(t *testing.T, when string, got, want map[string]float64) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("%s: %s is %v, want %v", when, k, got[k], want[k])
		}
	}
	if t.Failed() {
		t.Logf("all: %v", got)
	}
}

// TestMeterCounts: through an outage the meter has what package metrics has:
// outcomes, breaker, budget, and why nothing was retried.
func TestMeterCounts(t *testing.T) {
	meter, reader := countingMeter(t)
	fragile := interceptors.Policy{
		Retry:   interceptors.Retry{MaxAttempts: 2},
		Breaker: interceptors.Breaker{Consecutive: 1},
		Budget:  interceptors.Budget{Burst: 4, MinPerSecond: 1e-9},
	}
	bubble(t, setting{observer: meter, policy: fragile}, func(t *testing.T, w *world) {
		_ = w.hello(t.Context())
		check(t, "a good call", points(t, reader), map[string]float64{
			"astra.retry.calls success_first": 1, "astra.retry.attempts 0": 1, "astra.retry.attempt_kinds first": 1,
			"astra.breaker.state": 0, "astra.breaker.open": 0, "astra.retry.budget.tokens": 4, "astra.retry.budget.capacity": 4, "astra.retry.budget.empty_since": 0,
			"astra.config.last_reload_successful": 1,
		})
		w.Script(hello, down, flakyserver.OK(), down, down)
		_ = w.hello(t.Context())
		_ = w.hello(t.Context())
		opened := time.Now()
		_ = w.hello(t.Context()) // refused
		check(t, "open", points(t, reader), map[string]float64{
			"astra.retry.calls success_first": 1, "astra.retry.calls success_after_retry": 1, "astra.retry.calls failed": 1, "astra.retry.calls rejected_breaker": 1,
			"astra.retry.attempts 0": 2, "astra.retry.attempts 14": 3,
			"astra.retry.attempt_kinds first": 3, "astra.retry.attempt_kinds retry": 2, "astra.retry.exhaustions": 1,
			"astra.breaker.refused": 1, "astra.breaker.transitions closed consecutive open": 1,
			"astra.breaker.state": 2, "astra.breaker.open": 1, "astra.breaker.open_since": float64(opened.UnixNano()) / 1e9,
		})
		time.Sleep(time.Minute)
		_ = w.hello(t.Context())
		check(t, "recovered", points(t, reader), map[string]float64{
			"astra.breaker.state": 0, "astra.breaker.open": 0, "astra.breaker.open_since": 0,
			"astra.breaker.transitions half-open recovered closed": 0, "astra.breaker.transitions closed half-open recovered": 1,
			"astra.retry.calls success_first": 2,
		})
		w.suite.ReloadFailed(errors.New("faulty"))
		check(t, "a faulty file", points(t, reader), map[string]float64{"astra.config.last_reload_successful": 0, "astra.suite.events failed reloaded": 1})
		_ = w.suite.Close()
		after := points(t, reader)
		check(t, "closed", after, map[string]float64{"astra.config.last_reload_successful": 1, "astra.retry.calls success_first": 2})
		if _, ok := after["astra.breaker.state"]; ok {
			t.Error("a breaker is shown that is no more")
		}
	})
}

func TestMeterCountsLimitsAndHedges(t *testing.T) {
	meter, reader := countingMeter(t)
	narrow := interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 1, MaxQueue: 1, MaxWait: time.Minute}}
	bubble(t, setting{observer: meter, policy: narrow}, func(t *testing.T, w *world) {
		w.Always(hello, flakyserver.OK().After(time.Second))
		var calls sync.WaitGroup
		for range 3 { // one goes, one waits, one may not
			calls.Go(func() { _ = w.hello(t.Context()) })
			time.Sleep(time.Millisecond)
		}
		check(t, "in use", points(t, reader), map[string]float64{
			"astra.limit.in_flight": 1, "astra.limit.queued": 1, "astra.limit.max": 1, "astra.limit.refused queue_full": 1,
		})
		calls.Wait()
		if got := points(t, reader); got["astra.limit.in_flight"] != 0 || got["astra.limit.queue_time"] < 0.9 {
			t.Errorf("after all %v", got)
		}
	})
	meter, reader = countingMeter(t)
	bubble(t, setting{observer: meter, suite: []interceptors.Option{hedging}}, func(t *testing.T, w *world) {
		w.Script(hello, flakyserver.Hang(), flakyserver.Hang(), flakyserver.OK())
		_ = w.hello(t.Context())
		check(t, "hedged", points(t, reader), map[string]float64{
			"astra.retry.calls success_hedge": 1, "astra.retry.hedges won": 1, "astra.retry.hedges lost": 1, "astra.retry.attempt_kinds hedge": 2,
		})
	})
}

// endpoint is one without a suite.
type endpoint struct {
	observe.Source
	name string
}

func (e endpoint) Method() string                            { return e.name }
func (endpoint) CanonicalTarget() string                     { return "dns:///x" }
func (endpoint) Breaker() (b observe.BreakerStatus, ok bool) { return b, false }
func (endpoint) Budget() (b observe.BudgetStatus, ok bool)   { return b, false }
func (endpoint) LimitState() (l observe.LimitState, ok bool) { return l, false }

// TestMeterIsBounded: names that a proxy's clients make up are not kept without
// end, nor are codes that servers do.
func TestMeterIsBounded(t *testing.T) {
	meter, reader := countingMeter(t)
	for i := range 3000 {
		h := meter.Observe(observe.NewEndpoint(endpoint{name: fmt.Sprint("/s.S/M", i)}))
		h.FirstSuccess(uint32(i))
		h.Evicted()
	}
	h := meter.Observe(observe.NewEndpoint(endpoint{name: "/s.S/M1"}))
	for c := range uint32(100) {
		h.Event(context.Background(), observe.Event{Kind: observe.AttemptEnd, Code: codes.Code(17 + c), Err: errors.New("x"), Shard: c})
	}
	got := read(t, reader)
	calls := got["astra.retry.calls"].Data.(metricdata.Sum[int64]).DataPoints
	var all, others int64
	methods := map[string]bool{}
	for _, p := range calls {
		name, _ := p.Attributes.Value("grpc.method")
		methods[name.AsString()] = true
		all += p.Value
		if name.AsString() == "other" {
			others += p.Value
		}
	}
	if all != 3000 || others != 1000 || len(methods) != 2001 {
		t.Errorf("%d calls of %d methods, %d of others; want 3000 of 2001, 1000", all, len(methods), others)
	}
	if n := points(t, reader)["astra.retry.attempts 2"]; n != 100 {
		t.Errorf("%v attempts ended UNKNOWN, want 100", n)
	}
}
