package interceptors_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// TestBreakerStaysClosedWhileAnAddressServes: of four servers that grpc-go's round_robin
// asks in turn three fail each call, which three of four callers meet, as with bare grpc-go,
// whatever the calls are made of.
func TestBreakerStaysClosedWhileAnAddressServes(t *testing.T) {
	once, raced := interceptors.Retry{MaxAttempts: 1}, interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour}
	unary := func(g greeterpb.GreeterClient, t *testing.T) error {
		_, err := g.SayHello(within(t), &greeterpb.HelloRequest{Name: "Ann"})
		return err
	}
	download := func(g greeterpb.GreeterClient, t *testing.T) error {
		stream, err := g.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
		if err == nil {
			_, err = all(stream)
		}
		return err
	}
	watch := func(g greeterpb.GreeterClient, t *testing.T) error { // which goes on when the next one is opened
		stream, err := g.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	for _, tc := range []struct {
		name   string
		policy interceptors.Policy
		call   func(greeterpb.GreeterClient, *testing.T) error
	}{
		{"unary", interceptors.Policy{Retry: once}, unary},
		{"stream", interceptors.Policy{Retry: once}, download},
		{"stream that goes on", interceptors.Policy{Retry: once}, watch},
		{"hedged stream that goes on", interceptors.Policy{Hedge: raced}, watch},
		{"hedged unary", interceptors.Policy{Hedge: raced}, unary},
		{"hedged stream", interceptors.Policy{Hedge: raced}, download},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSuite(t, interceptors.WithMethodPolicy(method, tc.policy), interceptors.WithMethodPolicy(helloServer, tc.policy))
			servers, cc := dialSeveral(t, 4, append(s.DialOptions(), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`))...)
			if strings.HasSuffix(tc.name, "goes on") {
				for _, server := range servers {
					server.Always(helloServer, flakyserver.Hang().AfterReplies(1))
				}
			}
			g, served := greeterpb.NewGreeterClient(cc), 0
			for _, server := range servers { // until both are connected
				for server.Stats(method).Attempts+server.Stats(helloServer).Attempts == 0 {
					if err := tc.call(g, t); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, server := range servers[1:] {
				server.Always(method, flakyserver.Fail(codes.Unavailable, "scripted"))
				server.Always(helloServer, flakyserver.Fail(codes.Unavailable, "scripted"))
			}
			for range 100 {
				switch err := tc.call(g, t); {
				case err == nil:
					served++
				case errors.Is(err, interceptors.ErrBreakerOpen):
					t.Fatalf("refused after %d calls were served: %v", served, err)
				}
			}
			if served < 25 {
				t.Errorf("%d of 100 calls served", served)
			}
		})
	}
}
