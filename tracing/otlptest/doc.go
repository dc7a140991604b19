// Package otlptest holds the tests of package tracing that need more than
// OpenTelemetry's API and SDK: an OTLP exporter and receiver, otelgrpc, and
// grpc-go's own plugin. It is a module of its own, so that these are nobody's
// dependencies.
package otlptest
