package tracing_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/tracing"
)

// read returns what a reader sees, by the instrument's name.
func read(t *testing.T, r sdkmetric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	seen := map[string]metricdata.Metrics{}
	for _, scope := range rm.ScopeMetrics {
		if scope.Scope.Name != "github.com/astra-grpc/astra/tracing" {
			t.Errorf("scope %q", scope.Scope.Name)
		}
		for _, m := range scope.Metrics {
			seen[m.Name] = m
		}
	}
	return seen
}

// histograms are those of gRFC A96 among them.
func histograms(t *testing.T, r sdkmetric.Reader) map[string]metricdata.Metrics {
	t.Helper()
	all := read(t, r)
	maps.DeleteFunc(all, func(name string, _ metricdata.Metrics) bool { return !strings.HasPrefix(name, "grpc.") })
	return all
}

// labelled is how all points are to be labelled.
var labelled = attribute.NewSet(
	attribute.String("grpc.method", "helloworld.Greeter/SayHello"),
	attribute.String("grpc.target", "passthrough:///bufconn"),
)

func point[N int64 | float64](t *testing.T, m metricdata.Metrics, unit string) metricdata.HistogramDataPoint[N] {
	t.Helper()
	h, ok := m.Data.(metricdata.Histogram[N])
	if !ok || m.Unit != unit || m.Description == "" {
		t.Fatalf("%s is a %T of %q, described as %q", m.Name, m.Data, m.Unit, m.Description)
	}
	if len(h.DataPoints) != 1 || !h.DataPoints[0].Attributes.Equals(&labelled) {
		t.Fatalf("%s has points %v, want one with %v", m.Name, h.DataPoints, labelled)
	}
	return h.DataPoints[0]
}

func TestMeter(t *testing.T) {
	reader, spans := sdkmetric.NewManualReader(), record()
	meter, err := tracing.NewMeter(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	if err != nil {
		t.Fatal(err)
	}
	both := []interceptors.Option{interceptors.WithObserver(tracing.New(spans))}
	bubble(t, setting{observer: meter, suite: both}, func(t *testing.T, w *world) {
		if err := w.hello(t.Context()); err != nil {
			t.Fatal(err)
		}
		if seen := histograms(t, reader); len(seen) != 0 {
			t.Errorf("a first success recorded %v", seen)
		}
		spans.Reset()
		w.Script(hello, down, down, flakyserver.OK(), down, flakyserver.OK().After(time.Hour))
		if err := w.hello(t.Context()); err != nil { // after 0.5 and 1 s
			t.Fatal(err)
		}
		trace := spans.GetSpans()[0].SpanContext.TraceID()
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		if err := w.hello(ctx); err == nil { // after 0.5 s
			t.Fatal("the server answered in time")
		}
		seen := histograms(t, reader)
		if len(seen) != 2 {
			t.Errorf("%d instruments have recorded, want 2", len(seen))
		}
		retries := point[int64](t, seen["grpc.client.call.retries"], "{retry}")
		if retries.Count != 2 || retries.Sum != 3 || !slices.Equal(retries.Bounds, []float64{1, 2, 3, 4, 5}) {
			t.Errorf("retries %+v, want one call with 2 and one with 1", retries)
		}
		delay := point[float64](t, seen["grpc.client.call.retry_delay"], "s")
		if delay.Count != 2 || delay.Sum != 2 || len(delay.Bounds) != 41 || delay.Bounds[1] != 0.00001 || delay.Bounds[40] != 100 {
			t.Errorf("delays %+v, want 1.5 s and 0.5 s within A66's bounds", delay)
		}
		traced := false
		for _, e := range retries.Exemplars {
			traced = traced || string(e.TraceID) == string(trace[:])
		}
		if !traced {
			t.Errorf("no exemplar leads to trace %s: %+v", trace, retries.Exemplars)
		}
	})
}

// TestMeterCountsHedges: what a hedged call made beside its first attempt is no
// retry, whichever wins.
func TestMeterCountsHedges(t *testing.T) {
	for name, script := range map[string][]flakyserver.Step{
		"first wins": {flakyserver.OK().After(250 * time.Millisecond), flakyserver.Hang(), flakyserver.Hang()},
		"hedge wins": {flakyserver.Hang(), flakyserver.Hang(), flakyserver.OK()},
	} {
		t.Run(name, func(t *testing.T) {
			reader := sdkmetric.NewManualReader()
			meter, err := tracing.NewMeter(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
			if err != nil {
				t.Fatal(err)
			}
			bubble(t, setting{observer: meter, suite: []interceptors.Option{hedging}}, func(t *testing.T, w *world) {
				w.Script(hello, script...)
				if err := w.hello(t.Context()); err != nil {
					t.Fatal(err)
				}
				seen := histograms(t, reader)
				hedges := point[int64](t, seen["grpc.client.call.hedges"], "{hedge}")
				if hedges.Count != 1 || hedges.Sum != 2 || !slices.Equal(hedges.Bounds, []float64{1, 2, 3, 4, 5}) || len(seen) != 1 {
					t.Errorf("recorded %+v, want one call with 2 hedges", seen)
				}
			})
		})
	}
}

// failing is a provider that has something against every instrument.
type failing struct{ noop.MeterProvider }

type failingMeter struct{ noop.Meter }

func (failing) Meter(string, ...metric.MeterOption) metric.Meter { return failingMeter{} }

func (failingMeter) Int64Histogram(name string, _ ...metric.Int64HistogramOption) (metric.Int64Histogram, error) {
	return noop.Int64Histogram{}, errors.New("no " + name)
}

func (failingMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return noop.Float64Histogram{}, errors.New("no " + name)
}

func TestMeterFaults(t *testing.T) {
	o, err := tracing.NewMeter(failing{})
	if o != nil || err == nil {
		t.Fatalf("%v, %v; want an error alone", o, err)
	}
	for _, name := range []string{"retries", "hedges", "retry_delay"} { // of each kind, the gauges' and counters' faults are joined, too
		if !strings.Contains(err.Error(), "no grpc.client.call."+name) {
			t.Errorf("the error does not tell of %s: %v", name, err)
		}
	}
	if _, err := tracing.NewMeter(nil); err != nil {
		t.Errorf("no provider: %v", err)
	}
}
