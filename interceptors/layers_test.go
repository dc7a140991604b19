package interceptors_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// TestWarnsInSpiteOf: neither a first call that never was nor a sibling
// connection without retries keeps the warning back.
func TestWarnsInSpiteOf(t *testing.T) {
	const config = `{"methodConfig":[{"name":[{}],"retryPolicy":
		{"maxAttempts":2,"initialBackoff":"0.001s","maxBackoff":"0.01s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	var log logBuffer
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	say := func(ctx context.Context, opts ...grpc.DialOption) {
		cc, err := grpc.NewClient("passthrough:///"+server.Addr(), append(opts,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(config))...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		_, _ = greeterpb.NewGreeterClient(cc).SayHello(ctx, &greeterpb.HelloRequest{})
	}
	over, cancel := context.WithCancel(within(t))
	cancel()
	bare := grpc.WithChainUnaryInterceptor(s.UnaryClientInterceptor())
	say(over, bare)
	say(within(t), s.DialOptions()...)
	if len(log.String()) > 0 {
		t.Errorf("warned too early: %s", log.String())
	}
	say(within(t), bare)
	if n := strings.Count(log.String(), "retry policy"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}
