package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
)

// quick is the default policy with backoffs that tests can afford.
var quick = interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: ms, Max: 10 * ms}}}

// wire is a client with a suite and a flaky server, over a real connection.
type wire struct {
	*flakyserver.Server
	greeterpb.GreeterClient
	cc *grpc.ClientConn
}

func (w *wire) say(ctx context.Context, opts ...grpc.CallOption) (string, error) {
	reply, err := w.SayHello(ctx, &greeterpb.HelloRequest{Name: "Ann"}, opts...)
	return reply.GetMessage(), err
}

func dialSuite(t *testing.T, server *flakyserver.Server, s *interceptors.Suite, opts ...grpc.DialOption) *wire {
	t.Helper()
	return dialServer(t, server, append(s.DialOptions(), opts...)...)
}

// dialTCP starts a server of its own.
func dialTCP(t *testing.T, opts ...grpc.DialOption) *wire {
	t.Helper()
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	return dialServer(t, server, opts...)
}

func dialServer(t *testing.T, server *flakyserver.Server, opts ...grpc.DialOption) *wire {
	t.Helper()
	t.Cleanup(server.Close)
	cc, err := server.Dial(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return &wire{server, greeterpb.NewGreeterClient(cc), cc}
}

// dialSeveral starts n servers, and connects to them all under one name.
func dialSeveral(t *testing.T, n int, opts ...grpc.DialOption) ([]*flakyserver.Server, *grpc.ClientConn) {
	t.Helper()
	m := manual.NewBuilderWithScheme("several")
	var state resolver.State
	var servers []*flakyserver.Server
	for range n {
		server, err := flakyserver.Start()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		servers = append(servers, server)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: server.Addr()}}})
	}
	m.InitialState(state)
	cc, err := grpc.NewClient("several:///greeters", append(opts, grpc.WithResolvers(m), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return servers, cc
}

func overTCP(t *testing.T, opts ...interceptors.Option) *wire {
	t.Helper()
	return dialTCP(t, newSuite(t, append([]interceptors.Option{interceptors.WithPolicy(quick)}, opts...)...).DialOptions()...)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestWhatTheServerDoes: each way in which a server can fail an attempt, and
// what the caller gets in the end.
func TestWhatTheServerDoes(t *testing.T) {
	fail := flakyserver.Fail(codes.Unavailable, "scripted")
	for _, tc := range []struct {
		name     string
		steps    []flakyserver.Step
		attempts int
		want     codes.Code
	}{
		{"serves", []flakyserver.Step{flakyserver.OK()}, 1, codes.OK},
		{"fails twice", []flakyserver.Step{fail, fail}, 3, codes.OK},
		{"fails thrice", []flakyserver.Step{fail, fail, fail}, 3, codes.Unavailable},
		{"sends headers, then fails", []flakyserver.Step{fail.Header("h", "1")}, 2, codes.OK},
		{"sends a reply, then fails", []flakyserver.Step{fail.AfterReplies(1)}, 1, codes.Unavailable}, // it has run
		{"resets the connection", []flakyserver.Step{flakyserver.Reset()}, 2, codes.OK},
		{"goes away", []flakyserver.Step{flakyserver.GoAway(), fail}, 1, codes.OK},
		{"pushes back", []flakyserver.Step{fail.Pushback("1")}, 2, codes.OK},
		{"says stop", []flakyserver.Step{fail.Pushback("-1")}, 1, codes.Unavailable},
		{"says nonsense", []flakyserver.Step{fail.Pushback("soon")}, 1, codes.Unavailable},
		{"says when, limited", []flakyserver.Step{flakyserver.Fail(codes.ResourceExhausted, "").RetryInfo(ms)}, 2, codes.OK},
		{"is limited", []flakyserver.Step{flakyserver.Fail(codes.ResourceExhausted, "")}, 1, codes.ResourceExhausted},
		{"does not know", []flakyserver.Step{flakyserver.Fail(codes.NotFound, "")}, 1, codes.NotFound},
		{"gives up itself", []flakyserver.Step{flakyserver.Fail(codes.DeadlineExceeded, "")}, 2, codes.OK},
		{"cancels itself", []flakyserver.Step{flakyserver.Fail(codes.Canceled, "")}, 1, codes.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := overTCP(t)
			w.Script(method, append(tc.steps, flakyserver.OK())...)
			greeting, err := w.say(within(t))
			wantCode(t, err, tc.want)
			if err == nil && greeting != "Hello Ann" {
				t.Errorf("reply %q", greeting)
			}
			seen := w.Attempts(method)
			if len(seen) != tc.attempts {
				t.Fatalf("the server saw %d attempts, want %d", len(seen), tc.attempts)
			}
			for i, a := range seen {
				if a.Previous != i {
					t.Errorf("attempt %d says %d came before it", i+1, a.Previous)
				}
			}
		})
	}
}

func TestHangingServer(t *testing.T) {
	p := quick
	p.AttemptTimeout = 50 * ms
	w := overTCP(t, interceptors.WithMethodPolicy(method, p))
	w.Script(method, flakyserver.Hang(), flakyserver.OK())
	if _, err := w.say(within(t)); err != nil {
		t.Fatal(err)
	}
}

func TestFinalAttemptOverTheWire(t *testing.T) {
	w := overTCP(t)
	w.Script(method,
		flakyserver.Fail(codes.Unavailable, "").Header("h", "first").Trailer("t", "first"),
		flakyserver.OK().Header("h", "last").Trailer("t", "last"))
	var header, trailer metadata.MD
	var p peer.Peer
	finished := 0
	_, err := w.say(within(t), grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&p), grpc.OnFinish(func(error) { finished++ }))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(header["h"], trailer["t"], p.Addr, finished); got != "[last] [last] "+w.Addr()+" 1" {
		t.Errorf("header, trailer, peer, OnFinish: %s", got)
	}
}

// TestNoServer: the attempts fail with the channel's own error, which the
// caller gets, and a wait-for-ready call outlasts it.
func TestNoServer(t *testing.T) {
	gone, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	w := dialSuite(t, gone, newSuite(t, interceptors.WithPolicy(quick)), grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: 20 * ms, Multiplier: 1, MaxDelay: 20 * ms}, MinConnectTimeout: 20 * time.Second,
	}))
	gone.Close()
	header := metadata.Pairs("stale", "1")
	_, err = w.say(within(t), grpc.Header(&header))
	wantCode(t, err, codes.Unavailable)
	if len(header) != 0 {
		t.Errorf("header %v from a call without a stream", header)
	}

	back := make(chan *flakyserver.Server, 1)
	waiting := make(chan struct{})
	go func() {
		<-waiting
		s, err := flakyserver.Start(flakyserver.WithAddr(gone.Addr()))
		if err != nil {
			t.Error(err)
		}
		back <- s
	}()
	close(waiting)
	greeting, err := w.say(within(t), grpc.WaitForReady(true))
	if err != nil || greeting != "Hello Ann" {
		t.Errorf("%q, %v", greeting, err)
	}
	(<-back).Close()
}

// TestHoursOverTheWire: over gRPC in memory, on virtual time, the schedule is
// exact from one server-side arrival to the next.
func TestHoursOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := flakyserver.StartBuffer()
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{
			MaxAttempts: 4, Backoff: jitter.Backoff{Base: time.Hour, Max: 3 * time.Hour, Jitter: jitter.None},
		}}))
		w := dialSuite(t, server, s, grpc.WithIdleTimeout(0))
		server.Always(method, flakyserver.Fail(codes.Unavailable, ""))
		_, err := w.say(context.Background())
		wantCode(t, err, codes.Unavailable)
		var gaps []time.Duration
		seen := server.Attempts(method)
		for i := 1; i < len(seen); i++ {
			gaps = append(gaps, seen[i].Time.Sub(seen[i-1].Time))
		}
		if want := []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour}; !slices.Equal(gaps, want) {
			t.Errorf("delays %v, want %v", gaps, want)
		}
		_ = w.cc.Close()
		server.Close()
	})
}

// TestCancelOverTheWire: the server learns that the caller has gone.
func TestCancelOverTheWire(t *testing.T) {
	w := overTCP(t)
	w.Always(method, flakyserver.Hang())
	ctx, cancel := context.WithCancel(within(t))
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := w.say(ctx)
		wantCode(t, err, codes.Canceled)
	})
	if err := w.Await(within(t), func() bool { return w.Stats(method).Attempts == 1 }); err != nil {
		t.Fatal(err)
	}
	cancel()
	wg.Wait()
	if err := w.Await(within(t), func() bool { return w.Stats(method).Ended == 1 }); err != nil {
		t.Fatal(err)
	}
}

// TestInterceptorsBeneath see each attempt, with the caller's types, and those
// above see the call.
func TestInterceptorsBeneath(t *testing.T) {
	var above, beneath int
	var logged []string
	count := func(n *int) grpc.UnaryClientInterceptor {
		return func(ctx context.Context, m string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			*n++
			if _, ok := req.(*greeterpb.HelloRequest); !ok {
				t.Errorf("the request is a %T", req)
			}
			return invoke(ctx, m, req, reply, cc, opts...)
		}
	}
	logger := logging.LoggerFunc(func(_ context.Context, _ logging.Level, _ string, fields ...any) {
		for i := 0; i+1 < len(fields); i += 2 {
			if fields[i] == "grpc.code" {
				logged = append(logged, fmt.Sprint(fields[i+1]))
			}
		}
	})
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := newSuite(t, interceptors.WithPolicy(quick))
	cc, err := server.Dial(
		grpc.WithChainUnaryInterceptor(count(&above)),
		grpc.WithChainUnaryInterceptor(s.UnaryClientInterceptor(), count(&beneath),
			logging.UnaryClientInterceptor(logger, logging.WithLogOnEvents(logging.FinishCall))),
		grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	server.Script(method, flakyserver.Fail(codes.Unavailable, ""), flakyserver.OK())
	if _, err := greeterpb.NewGreeterClient(cc).SayHello(within(t), &greeterpb.HelloRequest{}); err != nil {
		t.Fatal(err)
	}
	if above != 1 || beneath != 2 {
		t.Errorf("%d calls above, %d attempts beneath", above, beneath)
	}
	if want := []string{"Unavailable", "OK"}; !slices.Equal(logged, want) {
		t.Errorf("a logger beneath saw %v, want %v", logged, want)
	}
}

// TestWarnsOfRetriesBeneath: once for a connection, and not where DialOptions
// has turned them off.
func TestWarnsOfRetriesBeneath(t *testing.T) {
	const config = `{"methodConfig":[{"name":[{"service":"helloworld.Greeter"}],"retryPolicy":
		{"maxAttempts":2,"initialBackoff":"0.001s","maxBackoff":"0.01s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	for _, tc := range []struct {
		name string
		opts func(*interceptors.Suite) []grpc.DialOption
		want int
	}{
		{"interceptor alone", func(s *interceptors.Suite) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithChainUnaryInterceptor(s.UnaryClientInterceptor()), grpc.WithDefaultServiceConfig(config)}
		}, 1},
		{"DialOptions", func(s *interceptors.Suite) []grpc.DialOption {
			return append(s.DialOptions(), grpc.WithDefaultServiceConfig(config))
		}, 0},
		{"no policy beneath", func(s *interceptors.Suite) []grpc.DialOption {
			return []grpc.DialOption{grpc.WithChainUnaryInterceptor(s.UnaryClientInterceptor())}
		}, 0},
	} {
		var log logBuffer
		s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		cc, err := server.Dial(tc.opts(s)...)
		if err != nil {
			t.Fatal(err)
		}
		client := greeterpb.NewGreeterClient(cc)
		for range 5 {
			if _, err := client.SayHello(within(t), &greeterpb.HelloRequest{}); err != nil {
				t.Error(err)
			}
		}
		if got := strings.Count(log.String(), "retry policy"); got != tc.want {
			t.Errorf("%s: %d warnings, want %d:\n%s", tc.name, got, tc.want, log.String())
		}
		_ = cc.Close()
	}
}

// TestStreamsPass: this version leaves streams alone.
func TestStreamsPass(t *testing.T) {
	w := overTCP(t)
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ {
		_, err = stream.Recv()
	}
	if n != 4 || errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Errorf("%d messages, %v", n-1, err)
	}
}
