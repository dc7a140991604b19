package main

import (
	"os"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// TestTwoServersAreGreeted: the program dials twice, and both calls are rescued.
func TestTwoServersAreGreeted(t *testing.T) {
	defer func(args []string) { os.Args = args }(os.Args)
	os.Args = []string{"quickstart"}
	var servers []*flakyserver.Server
	for range 2 {
		s, err := flakyserver.Start()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		// Pushback, so that the test does not wait for a backoff.
		s.Script(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.Fail(codes.Unavailable, "down").Pushback("0"), flakyserver.OK())
		servers = append(servers, s)
		os.Args = append(os.Args, s.Addr())
	}
	main()
	for i, s := range servers {
		if n := s.Stats(greeterpb.Greeter_SayHello_FullMethodName).Attempts; n != 2 {
			t.Errorf("server %d got %d attempts, want 2: one fails, one is answered", i, n)
		}
	}
}
