package otlptest

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats/opentelemetry"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/tracing"
)

// TestBesideGRPCsOwnMetrics: grpc-go's plugin, given before the suite, counts a
// retried call once and its attempts each, and names method and target as the
// histograms of retries do.
func TestBesideGRPCsOwnMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	mp := metric.NewMeterProvider(metric.WithReader(reader))
	meter, err := tracing.NewMeter(mp)
	if err != nil {
		t.Fatal(err)
	}
	server := start(t)
	server.Script(hello, down, down)
	opts := append([]interceptors.Option{}, interceptors.WithObserver(meter))
	plugin := opentelemetry.DialOption(opentelemetry.Options{MetricsOptions: opentelemetry.MetricsOptions{MeterProvider: mp}})
	c := client(t, server, append([]grpc.DialOption{plugin}, newSuite(t, opts...).DialOptions()...)...)
	if err := unary(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	type sample struct {
		count   uint64
		sum     int64
		targets map[attribute.Value]bool
	}
	seen := map[string]sample{}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			s := sample{targets: map[attribute.Value]bool{}}
			note := func(set attribute.Set) {
				target, _ := set.Value("grpc.target")
				s.targets[target] = true
			}
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					s.count += p.Count
					note(p.Attributes)
				}
			case metricdata.Histogram[int64]:
				for _, p := range data.DataPoints {
					s.count += p.Count
					s.sum += p.Sum
					note(p.Attributes)
				}
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					s.sum += p.Value
					note(p.Attributes)
				}
			}
			seen[m.Name] = s
		}
	}
	if got := seen["grpc.client.call.duration"].count; got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
	if got := seen["grpc.client.attempt.started"].sum; got != 3 {
		t.Errorf("%d attempts, want 3", got)
	}
	if got := seen["grpc.client.call.retries"]; got.count != 1 || got.sum != 2 {
		t.Errorf("retries of %d calls, %d in all, want 2 of one", got.count, got.sum)
	}
	for _, name := range []string{"grpc.client.call.duration", "grpc.client.call.retries", "grpc.client.call.retry_delay"} {
		if targets := seen[name].targets; len(targets) != 1 || !targets[attribute.StringValue("passthrough:///"+server.Addr())] {
			t.Errorf("%s has the targets %v", name, targets)
		}
	}
}
