package interceptors_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"

	pb "github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
)

// restarted is a connection to a server that has gone, and a func that starts it
// again at its address.
func restarted(t *testing.T, opts ...interceptors.Option) (cc *grpc.ClientConn, start func() *flakyserver.Server) {
	t.Helper()
	suite, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = suite.Close() })
	s, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	quick := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1, MaxDelay: 50 * time.Millisecond}})
	cc, err = s.Dial(append(suite.DialOptions(), quick)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	s.Close()
	return cc, func() *flakyserver.Server {
		s, err := flakyserver.Start(flakyserver.WithAddr(s.Addr()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
}

// await waits for a state of the connection.
func await(t *testing.T, cc *grpc.ClientConn, want connectivity.State) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for s := cc.GetState(); s != want; s = cc.GetState() {
		if !cc.WaitForStateChange(ctx, s) {
			t.Fatalf("the connection is %v, want %v", s, want)
		}
	}
}

// calls are made of a method of each kind that can fail at once.
var calls = map[string]func(context.Context, *grpc.ClientConn) error{
	"unary": func(ctx context.Context, cc *grpc.ClientConn) error {
		_, err := pb.NewGreeterClient(cc).SayHello(ctx, &pb.HelloRequest{Name: "x"})
		return err
	},
	"stream": func(ctx context.Context, cc *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := pb.NewGreeterClient(cc).SayHelloServerStream(ctx, &pb.HelloRequest{Name: "x"})
		if err != nil {
			return err
		}
		_, err = stream.Recv()
		return err
	},
}

// never is a breaker that stays open.
func never() interceptors.Breaker {
	return interceptors.Breaker{OpenFor: time.Hour, MaxOpenFor: time.Hour, ProbeShare: 1e-9}
}

// TestBreakerEndsWithReconnection: calls that found no connection opened the
// breaker, so it ends its open time when there is one: without the suite, calls
// pass from then on.
func TestBreakerEndsWithReconnection(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			cc, start := restarted(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: never()}))
			for !errors.Is(call(t.Context(), cc), interceptors.ErrBreakerOpen) {
				if t.Context().Err() != nil {
					t.Fatal("the breaker does not open")
				}
			}
			if err := call(t.Context(), cc); !errors.Is(err, interceptors.ErrBreakerOpen) {
				t.Fatalf("without a connection a call ends with %v, want ErrBreakerOpen", err)
			}
			start()
			await(t, cc, connectivity.Ready)
			for i := range 3 {
				if err := call(t.Context(), cc); err != nil {
					t.Fatalf("with a connection again, call %d ends with %v", i+1, err)
				}
			}
		})
	}
}

// TestReconnectionIsNoNewsOfAnIllServer: a breaker that opened for what the server
// answered stays open.
func TestReconnectionIsNoNewsOfAnIllServer(t *testing.T) {
	cc, start := restarted(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: never()}))
	call := func() error { return calls["unary"](t.Context(), cc) }
	first := start()
	first.SetDown(flakyserver.Fail(codes.Unavailable, "ill"))
	for !errors.Is(call(), interceptors.ErrBreakerOpen) {
		if t.Context().Err() != nil {
			t.Fatal("the breaker does not open")
		}
	}
	first.Close()
	second := start()
	cc.Connect()
	await(t, cc, connectivity.Ready)
	if err := call(); !errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Errorf("a call ends with %v, want ErrBreakerOpen", err)
	}
	if got := second.Stats(flakyserver.Any).Attempts; got != 0 {
		t.Errorf("%d attempts reached the server while its breaker was open", got)
	}
}

// TestBackoffEndsWithReconnection: the attempt before found no connection. When
// there is one, a backoff has nothing to wait for.
func TestBackoffEndsWithReconnection(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			cc, start := restarted(t, interceptors.WithPolicy(interceptors.Policy{
				Retry:   interceptors.Retry{MaxAttempts: 2, Backoff: jitter.Backoff{Base: time.Hour, Max: time.Hour, Jitter: jitter.None}},
				Breaker: interceptors.Breaker{Disabled: true},
			}))
			ended := make(chan error, 1)
			go func() { ended <- call(t.Context(), cc) }()
			await(t, cc, connectivity.TransientFailure) // which the call's first attempt finds
			start()
			select {
			case err := <-ended:
				if err != nil {
					t.Errorf("the call ends with %v, want OK", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the call still waits, though there is a connection")
			}
		})
	}
}

// TestPatientCallsOpenNoBreaker: who waits for a connection wants to, and the next
// call may be the one that gets it.
func TestPatientCallsOpenNoBreaker(t *testing.T) {
	cc, _ := restarted(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: never()}))
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		_, err := pb.NewGreeterClient(cc).SayHello(ctx, &pb.HelloRequest{Name: "x"}, grpc.WaitForReady(true))
		cancel()
		if errors.Is(err, interceptors.ErrBreakerOpen) || err == nil {
			t.Fatalf("call %d ends with %v, want its deadline", i+1, err)
		}
	}
}
