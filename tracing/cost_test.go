package tracing_test

import (
	"context"
	"log/slog"
	"testing"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/tracing"
)

func invoke(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

func intercept(t testing.TB, o ...observe.Observer) grpc.UnaryClientInterceptor {
	t.Helper()
	s, err := interceptors.New(interceptors.WithObserver(o...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.UnaryClientInterceptor()
}

func newMeter(t testing.TB) observe.Observer {
	t.Helper()
	m, err := tracing.NewMeter(metricnoop.NewMeterProvider())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func neverSampling() trace.TracerProvider {
	return sdk.NewTracerProvider(sdk.WithSampler(sdk.NeverSample()))
}

// TestAllocations: what a call whose first attempt succeeds allocates on account
// of each observer. A span that is not sampled is two objects of the SDK's.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	raw := neverSampling().Tracer("raw")
	if n := testing.AllocsPerRun(1000, func() { raw.Start(context.Background(), hello) }); n != 2 {
		t.Logf("the SDK's own Start allocates %v times", n)
	}
	for name, tc := range map[string]struct {
		observers []observe.Observer
		most      float64
	}{
		"no observer":            {nil, 0},
		"spans, never sampled":   {[]observe.Observer{tracing.New(neverSampling())}, 2},
		"spans, no-op provider":  {[]observe.Observer{tracing.New(noop.NewTracerProvider())}, 2},
		"histograms":             {[]observe.Observer{newMeter(t)}, 0},
		"log":                    {[]observe.Observer{tracing.NewLogger(slog.New(slog.DiscardHandler))}, 0},
		"all three, not sampled": {[]observe.Observer{tracing.New(neverSampling()), newMeter(t), tracing.NewLogger(nil)}, 2},
	} {
		call := intercept(t, tc.observers...)
		ctx := context.Background()
		if n := testing.AllocsPerRun(1000, func() { _ = call(ctx, hello, nil, nil, nil, invoke) }); n > tc.most {
			t.Errorf("%s: %v allocations a call, want at most %v", name, n, tc.most)
		}
	}
}

// ballast is a small server's heap. Without one the collector would run a
// hundred times a second in a benchmark that allocates anything, and be most of
// what is measured.
var ballast []byte

// BenchmarkUnarySuccess: what each observer adds to the suite alone. "provider
// alone" is the part of it that is OpenTelemetry's.
func BenchmarkUnarySuccess(b *testing.B) {
	ballast = make([]byte, 64<<20)
	defer func() { ballast = nil }()
	raw, ctx := neverSampling().Tracer("raw"), context.Background()
	b.Run("provider alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = raw.Start(ctx, hello)
		}
	})
	for _, bc := range []struct {
		name      string
		observers []observe.Observer
	}{
		{"suite alone", nil},
		{"never sampled", []observe.Observer{tracing.New(neverSampling())}},
		{"no-op provider", []observe.Observer{tracing.New(noop.NewTracerProvider())}},
		{"sampled", []observe.Observer{tracing.New(sdk.NewTracerProvider())}},
		{"histograms", []observe.Observer{newMeter(b)}},
		{"log", []observe.Observer{tracing.NewLogger(nil)}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			call := intercept(b, bc.observers...)
			b.ReportAllocs()
			for b.Loop() {
				_ = call(ctx, hello, nil, nil, nil, invoke)
			}
		})
	}
}
