package chaos_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// consent returns the consent to faults, in staging alone.
func consent() []chaos.Option {
	if os.Getenv("ENVIRONMENT") != "staging" {
		return nil
	}
	return []chaos.Option{chaos.WithConsent()}
}

// Faults meet attempts, so the injector's options come after the suite's.
func ExampleNew() {
	defer func(was string) { _ = os.Setenv("ENVIRONMENT", was) }(os.Getenv("ENVIRONMENT"))
	_ = os.Setenv("ENVIRONMENT", "staging")
	suite, err := interceptors.New()
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	injector, err := chaos.New(consent()...) // chaos.WithConsent() in staging, nothing elsewhere
	if err != nil {
		log.Fatal(err)
	}

	server := flakyserver.StartBuffer()
	defer server.Close()
	conn, err := server.Dial(append(suite.DialOptions(), injector.DialOptions()...)...)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	err = injector.Start(chaos.Plan{For: time.Minute, Faults: []chaos.Fault{
		{Method: "/helloworld.Greeter/*", Kind: chaos.Status, Share: 1, Code: codes.NotFound},
	}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = greeterpb.NewGreeterClient(conn).SayHello(context.Background(), &greeterpb.HelloRequest{})
	fmt.Println(err)
	injector.Stop()
	// Output: rpc error: code = NotFound desc = chaos: status
}

// A hook sees each fault that an attempt meets.
func ExampleWithHook() {
	injector, err := chaos.New(
		chaos.WithConsent(),
		chaos.WithLogger(slog.New(slog.DiscardHandler)),
		chaos.WithHook(func(i chaos.Injection) { fmt.Println(i.Kind, i.Method) }),
	)
	if err != nil {
		log.Fatal(err)
	}

	server := flakyserver.StartBuffer()
	defer server.Close()
	conn, err := server.Dial(injector.DialOptions()...)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	_ = injector.Start(chaos.Plan{For: time.Minute, Faults: []chaos.Fault{{Method: "*", Kind: chaos.Latency, Share: 1, Latency: time.Millisecond}}})
	_, err = greeterpb.NewGreeterClient(conn).SayHello(context.Background(), &greeterpb.HelloRequest{})
	fmt.Println(err)
	injector.Stop()
	// Output:
	// latency /helloworld.Greeter/SayHello
	// <nil>
}
