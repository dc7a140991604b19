package interceptors_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// The call option Attempts returns how often a call was tried, and why no more.
func ExampleAttempts() {
	suite, err := interceptors.New(interceptors.WithPolicySource("the defaults", interceptors.WithPolicy(interceptors.Policy{})))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = suite.Close() }()
	server := connect(suite)
	defer server.close()
	client, ctx, req := server.GreeterClient, context.Background(), &greeterpb.HelloRequest{Name: "Ada"}
	server.Always(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.Fail(5, "no such name"))

	var report interceptors.CallReport
	reply, err := client.SayHello(ctx, req, interceptors.Attempts(&report))
	log.Printf("%d attempts, no more because of %v", report.Attempts, report.Reason)

	fmt.Println(reply.GetMessage(), err != nil, report.Attempts, report.Reason)
	// Output: true 1 not_retryable
}

// A breaker can be held open by hand, for a time.
func ExampleSuite_ForceOpen() {
	suite, err := interceptors.New()
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = suite.Close() }()

	err = suite.ForceOpen("dns:///orders:443", "/shop.Orders/Place", 10*time.Minute)
	fmt.Println(err != nil) // no call has been made yet, so there is no breaker to hold
	// Output: true
}

// A backend can be drained by hand, for a time.
func ExampleSuite_DrainBackend() {
	suite, err := interceptors.New(interceptors.WithBalancing(interceptors.Balancing{}))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = suite.Close() }()

	err = suite.DrainBackend("dns:///orders.internal:443", "10.0.0.7:443", 15*time.Minute)
	fmt.Println(err != nil) // there is no connection to that target yet
	// Output: true
}
