package tracing_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/tracing"
)

// rescued makes a call whose first attempt fails, and closes the suite, which
// delivers what is queued for its observers.
func rescued(suite *interceptors.Suite) {
	server := flakyserver.StartBuffer()
	defer server.Close()
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.Fail(codes.Unavailable, "restarting").Pushback("1"), flakyserver.OK())
	conn, err := server.Dial(suite.DialOptions()...)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := greeterpb.NewGreeterClient(conn).SayHello(context.Background(), &greeterpb.HelloRequest{}); err != nil {
		log.Fatal(err)
	}
	_ = suite.Close()
}

// Spans, histograms and log records are an observer each.
func Example() {
	spans, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
	tracerProvider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)) // yours, with an exporter
	meterProvider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))

	meter, err := tracing.NewMeter(meterProvider) // retries, hedges and delays of calls
	if err != nil {
		log.Fatal(err)
	}
	suite, err := interceptors.New(interceptors.WithObserver(
		tracing.New(tracerProvider),       // a span for each call, and for each of its attempts
		tracing.NewLogger(slog.Default()), // a record for each call that failed or was rescued
		meter,
	))
	if err != nil {
		log.Fatal(err)
	}

	rescued(suite)
	for _, span := range spans.GetSpans() {
		fmt.Println(span.Name, span.Status.Code)
	}
	var histograms metricdata.ResourceMetrics
	_ = reader.Collect(context.Background(), &histograms)
	for _, m := range histograms.ScopeMetrics[0].Metrics {
		fmt.Println(m.Name)
	}
	// Output:
	// Attempt.helloworld.Greeter.SayHello Error
	// Attempt.helloworld.Greeter.SayHello Ok
	// Sent.helloworld.Greeter.SayHello Ok
	// grpc.client.call.retries
	// grpc.client.call.retry_delay
	// astra.retry.calls
	// astra.retry.attempts
	// astra.retry.attempt_kinds
	// astra.suite.events
	// astra.config.last_reload_successful
}

// Without otelgrpc's stats handler, a propagator has the server continue the trace.
func ExampleNew() {
	spans := tracetest.NewInMemoryExporter()
	tracerProvider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	suite, err := interceptors.New(interceptors.WithObserver(
		tracing.New(tracerProvider, tracing.WithPropagator(propagation.TraceContext{})),
	))
	if err != nil {
		log.Fatal(err)
	}

	rescued(suite)
	for _, span := range spans.GetSpans() {
		fmt.Println(span.Name, span.SpanKind)
	}
	// Output:
	// Attempt.helloworld.Greeter.SayHello client
	// Attempt.helloworld.Greeter.SayHello client
	// Sent.helloworld.Greeter.SayHello internal
}

// A record for each call that failed or was rescued, at most 10 a second.
func ExampleNewLogger() {
	handler := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Key {
		case slog.TimeKey, "target", "duration", "backoff": // other at each run
			return slog.Attr{}
		}
		return a
	}})

	suite, err := interceptors.New(interceptors.WithObserver(
		tracing.NewLogger(slog.New(handler), tracing.LogRate(10, 50), tracing.LogExcept(codes.NotFound)),
	))
	if err != nil {
		log.Fatal(err)
	}

	rescued(suite)
	// Output:
	// level=INFO msg="call rescued" method=/helloworld.Greeter/SayHello outcome=success_after_retry attempts=2 code=OK rescued_from=UNAVAILABLE
}

// Where servers write nothing secret into errors, their messages can be shown.
func ExampleLogMessages() {
	spans := tracetest.NewInMemoryExporter()
	tracerProvider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	suite, err := interceptors.New(interceptors.WithObserver(
		tracing.New(tracerProvider, tracing.WithErrorMessages()),
		tracing.NewLogger(slog.Default(), tracing.LogMessages()),
	))
	if err != nil {
		log.Fatal(err)
	}

	rescued(suite)
	fmt.Println(spans.GetSpans()[0].Status.Description)
	// Output: UNAVAILABLE, restarting
}

// The histograms of gRFC A96.
func ExampleNewMeter() {
	reader := sdkmetric.NewManualReader()

	meter, err := tracing.NewMeter(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
	if err != nil {
		log.Fatal(err)
	}
	suite, err := interceptors.New(interceptors.WithObserver(meter))
	if err != nil {
		log.Fatal(err)
	}

	rescued(suite)
	var histograms metricdata.ResourceMetrics
	_ = reader.Collect(context.Background(), &histograms)
	fmt.Println(histograms.ScopeMetrics[0].Metrics[0].Name)
	// Output: grpc.client.call.retries
}
