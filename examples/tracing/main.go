// Command tracing makes a call that is retried twice and prints its trace.
package main

import (
	"context"
	"fmt"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/tracing"
)

func main() {
	server := flakyserver.StartBuffer()
	defer server.Close()
	fail := flakyserver.Fail(codes.Unavailable, "going away")
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, fail.After(20*time.Millisecond), fail.Pushback("150"))

	spans := sdk.NewTracerProvider(sdk.WithSpanProcessor(printer{}))
	suite, err := interceptors.New(interceptors.WithObserver(tracing.New(spans)))
	if err != nil {
		panic(err) // a fault in the options
	}
	conn, err := server.Dial(suite.DialOptions()...)
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = greeterpb.NewGreeterClient(conn).SayHello(context.Background(), &greeterpb.HelloRequest{Name: "Ann"})
	fmt.Println("the caller sees:", err)
}

// printer keeps spans by their parents, and prints a trace once its first span
// has ended.
type printer map[trace.SpanID][]sdk.ReadOnlySpan

func (p printer) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (p printer) Shutdown(context.Context) error             { return nil }
func (p printer) ForceFlush(context.Context) error           { return nil }
func (p printer) OnEnd(s sdk.ReadOnlySpan) {
	if p[s.Parent().SpanID()] = append(p[s.Parent().SpanID()], s); !s.Parent().IsValid() {
		p.print(s, "")
	}
}

func (p printer) print(s sdk.ReadOnlySpan, indent string) {
	fmt.Println(indent+s.Name(), s.EndTime().Sub(s.StartTime()).Round(time.Millisecond), s.Status().Code, s.Status().Description)
	for _, e := range s.Events() {
		fmt.Println(indent+"  -", e.Name, e.Attributes)
	}
	for _, child := range p[s.SpanContext().SpanID()] {
		p.print(child, indent+"  ")
	}
}
