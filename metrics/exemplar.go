package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

func add(ctx context.Context, c prometheus.Counter) {
	c.(prometheus.ExemplarAdder).AddWithExemplar(1, exemplar(ctx))
}

// exemplar returns the way to the trace of ctx; nil, which leaves an earlier
// exemplar in place, if there is none to be found.
func exemplar(ctx context.Context) prometheus.Labels {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() && s.IsSampled() {
		return prometheus.Labels{labelTraceID: s.TraceID().String()}
	}
	return nil
}
