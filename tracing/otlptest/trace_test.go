package otlptest

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/tracing"
)

func ann() *greeterpb.HelloRequest { return &greeterpb.HelloRequest{Name: "Ann"} }

func unary(ctx context.Context, c greeterpb.GreeterClient) error {
	_, err := c.SayHello(ctx, ann())
	return err
}

func stream(ctx context.Context, c greeterpb.GreeterClient) error {
	s, err := c.SayHelloServerStream(ctx, ann())
	for err == nil {
		_, err = s.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// TestWithOtelgrpc: otelgrpc's client spans hang beneath the attempts, and the
// server's beneath those, as an OTLP receiver gets them.
func TestWithOtelgrpc(t *testing.T) {
	for _, tc := range []struct {
		method string
		call   func(context.Context, greeterpb.GreeterClient) error
		want   string
	}{
		{hello, unary, `
caller internal unset
  Sent.helloworld.Greeter.SayHello internal ok
    - backoff
    Attempt.helloworld.Greeter.SayHello internal error previous=0
      helloworld.Greeter/SayHello client error
        helloworld.Greeter/SayHello server error
    Attempt.helloworld.Greeter.SayHello internal ok previous=1
      helloworld.Greeter/SayHello client unset
        helloworld.Greeter/SayHello server unset
`},
		{greeterpb.Greeter_SayHelloServerStream_FullMethodName, stream, `
caller internal unset
  Sent.helloworld.Greeter.SayHelloServerStream internal ok
    - backoff
    - replay
    Attempt.helloworld.Greeter.SayHelloServerStream internal error previous=0
      helloworld.Greeter/SayHelloServerStream client error
        helloworld.Greeter/SayHelloServerStream server error
    Attempt.helloworld.Greeter.SayHelloServerStream internal ok previous=1
      helloworld.Greeter/SayHelloServerStream client unset
        helloworld.Greeter/SayHelloServerStream server unset
`},
	} {
		r, tp := receive(t)
		options := []otelgrpc.Option{otelgrpc.WithTracerProvider(tp), otelgrpc.WithPropagators(propagation.TraceContext{})}
		server := start(t, flakyserver.WithServerOptions(grpc.StatsHandler(otelgrpc.NewServerHandler(options...))))
		suite := newSuite(t, interceptors.WithObserver(tracing.New(tp)))
		c := client(t, server, append(suite.DialOptions(), grpc.WithStatsHandler(otelgrpc.NewClientHandler(options...)))...)
		server.Script(tc.method, down, flakyserver.OK().After(50*time.Millisecond)) // time to report a replay
		ctx, caller := tp.Tracer("caller").Start(t.Context(), "caller")
		if err := tc.call(ctx, c); err != nil {
			t.Fatal(err)
		}
		caller.End()
		server.Close() // its spans have ended
		if got := r.trees(t, tp); got != strings.TrimPrefix(tc.want, "\n") {
			t.Errorf("received\n%swant%s", got, tc.want)
		}
	}
}

// TestPropagator: without otelgrpc at the client, the server's spans hang
// beneath the attempts.
func TestPropagator(t *testing.T) {
	r, tp := receive(t)
	server := start(t, flakyserver.WithServerOptions(grpc.StatsHandler(otelgrpc.NewServerHandler(
		otelgrpc.WithTracerProvider(tp), otelgrpc.WithPropagators(propagation.TraceContext{})))))
	suite := newSuite(t, interceptors.WithObserver(tracing.New(tp, tracing.WithPropagator(propagation.TraceContext{}))))
	server.Script(hello, down)
	if err := unary(t.Context(), client(t, server, suite.DialOptions()...)); err != nil {
		t.Fatal(err)
	}
	server.Close()
	const want = `Sent.helloworld.Greeter.SayHello internal ok
  - backoff
  Attempt.helloworld.Greeter.SayHello client error previous=0
    helloworld.Greeter/SayHello server error
  Attempt.helloworld.Greeter.SayHello client ok previous=1
    helloworld.Greeter/SayHello server unset
`
	if got := r.trees(t, tp); got != want {
		t.Errorf("received\n%swant\n%s", got, want)
	}
}
