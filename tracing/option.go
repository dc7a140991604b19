package tracing

import "go.opentelemetry.io/otel/propagation"

// Option configures [New].
type Option func(*spans)

// WithPropagator puts each attempt's span into the metadata that it sends, for
// a server that continues the trace, and makes attempts client spans. It is for
// connections without otelgrpc's stats handler, which does the same with a span
// of its own; with both, the server sees otelgrpc's. It costs something for
// every call, sampled or not, since servers need both. Default, also if p is
// nil: nothing is sent.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(s *spans) { s.propagator = p }
}

// WithErrorMessages adds the messages of errors to the status of spans:
// "UNAVAILABLE, connection refused" instead of "UNAVAILABLE". Servers may write
// into them what no trace should hold.
func WithErrorMessages() Option {
	return func(s *spans) { s.messages = true }
}
