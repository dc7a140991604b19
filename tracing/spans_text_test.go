package tracing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/tracing"
)

// keepText is a handler that keeps the strings of records as they are: a JSON
// handler would replace what is no UTF-8.
type keepText struct {
	slog.Handler
	all *[]string
}

func (h keepText) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString {
			*h.all = append(*h.all, a.Value.String())
		}
		return true
	})
	return nil
}

// TestTextIsUTF8AndShort: one string that is no UTF-8 fails the whole OTLP
// export that it is in, for metrics all later ones too; one of 64 KiB is in each
// export and scrape.
func TestTextIsUTF8AndShort(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	for name, method := range map[string]string{
		"no UTF-8": "/pkg.Service\xff/Method\xfe",
		"long":     "/pkg.Service" + long + "/Method" + long + "\xff",
	} {
		t.Run(name, func(t *testing.T) {
			var all []string // what leaves the process
			spans, reader := tracetest.NewSpanRecorder(), sdkmetric.NewManualReader()
			meter, err := tracing.NewMeter(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
			if err != nil {
				t.Fatal(err)
			}
			var discard bytes.Buffer
			su, err := interceptors.New(interceptors.WithObserver(
				tracing.New(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)), tracing.WithErrorMessages()),
				tracing.NewLogger(slog.New(keepText{slog.NewTextHandler(&discard, nil), &all}), tracing.LogMessages()),
				meter))
			if err != nil {
				t.Fatal(err)
			}
			for _, lasts := range []bool{false, true} {
				n := 0
				_ = su.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil,
					func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
						if n++; n == 1 || lasts {
							return status.Error(codes.Unavailable, "the server says \xff"+long)
						}
						return nil
					})
			}
			if err := su.Close(); err != nil { // the logger has written all
				t.Fatal(err)
			}
			attrs := func(kvs []attribute.KeyValue) {
				for _, kv := range kvs {
					if kv.Value.Type() == attribute.STRING {
						all = append(all, kv.Value.AsString())
					}
				}
			}
			for _, s := range spans.Ended() {
				all = append(all, s.Name(), s.Status().Description)
				attrs(s.Attributes())
				for _, e := range s.Events() {
					all = append(all, e.Name)
					attrs(e.Attributes)
				}
			}
			var rm metricdata.ResourceMetrics
			if err := reader.Collect(context.Background(), &rm); err != nil {
				t.Fatal(err)
			}
			for _, sm := range rm.ScopeMetrics {
				for _, m := range sm.Metrics {
					switch d := m.Data.(type) {
					case metricdata.Histogram[int64]:
						for _, p := range d.DataPoints {
							attrs(p.Attributes.ToSlice())
						}
					case metricdata.Histogram[float64]:
						for _, p := range d.DataPoints {
							attrs(p.Attributes.ToSlice())
						}
					}
				}
			}
			said := false
			for _, s := range all {
				said = said || strings.Contains(s, "the server says")
				if !utf8.ValidString(s) || len(s) > 1100 {
					shown, _ := json.Marshal(s[:min(len(s), 60)])
					t.Errorf("%d bytes, UTF-8 %v: %s", len(s), utf8.ValidString(s), shown)
				}
			}
			if !said {
				t.Error("no text of an error seen: the test shows nothing")
			}
		})
	}
}
