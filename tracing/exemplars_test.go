package tracing_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/tracing"
)

// TestExemplarsLeadToTheTrace: in whatever order metrics and spans observe.
func TestExemplarsLeadToTheTrace(t *testing.T) {
	for name, first := range map[string]bool{"spans first": true, "metrics first": false} {
		t.Run(name, func(t *testing.T) {
			spans, m := record(), metrics.New()
			o := []observe.Observer{m, tracing.New(spans)}
			if first {
				o[0], o[1] = o[1], o[0]
			}
			reg := prometheus.NewPedanticRegistry()
			reg.MustRegister(m)
			bubble(t, setting{observer: o[1], suite: []interceptors.Option{interceptors.WithObserver(o[0])}}, func(t *testing.T, w *world) {
				w.Script(hello, down)
				if err := w.hello(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
			trace := spans.GetSpans()[0].SpanContext.TraceID().String()
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]string{}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					labels := m.GetCounter().GetExemplar().GetLabel()
					for _, b := range m.GetHistogram().GetBucket() {
						labels = append(labels, b.GetExemplar().GetLabel()...)
					}
					for _, l := range labels {
						found[f.GetName()] = l.GetValue()
					}
				}
			}
			for _, name := range []string{"astra_retry_attempts_total", "astra_retry_delays_seconds", "astra_retry_calls_total"} {
				if found[name] != trace {
					t.Errorf("%s has the exemplar %q, want trace %s", name, found[name], trace)
				}
			}
		})
	}
}
