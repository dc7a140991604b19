package tracing

import "go.opentelemetry.io/otel/propagation"

// Option configures [New].
type Option func(*spans)

// WithPropagator puts each attempt's span into the metadata that it sends, for
// a server that is to go on with the trace, and makes attempts client spans. It
// is for connections without otelgrpc's stats handler, which does the same with
// a span of its own; with both, otelgrpc's is what the server sees. It costs
// every call, sampled or not, as servers are to know of both. Default, also if
// p is nil: nothing is sent.
func WithPropagator(p propagation.TextMapPropagator) Option {
	return func(s *spans) { s.propagator = p }
}

// WithErrorMessages adds the messages of errors to the status of spans:
// "UNAVAILABLE, connection refused" instead of "UNAVAILABLE". Servers may write
// into them what no trace should hold.
func WithErrorMessages() Option {
	return func(s *spans) { s.messages = true }
}
