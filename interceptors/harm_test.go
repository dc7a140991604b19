package interceptors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// Whatever a server that is well answers, with a header, a trailer, both or neither,
// and by numbers that gRPC does not know, ends a row of failures.
func TestAnswersOfAllShapesAreAnswers(t *testing.T) {
	ill := flakyserver.Fail(codes.Unavailable, "scripted")
	breaker := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}}
	hedging := interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour, NonFatal: 1}} // 1: only OK, so none
	for policy, p := range map[string]interceptors.Policy{"in turn": breaker, "hedged": hedging} {
		for shape, answer := range map[string]flakyserver.Step{
			"bare":    flakyserver.Fail(codes.NotFound, "scripted"),
			"header":  flakyserver.Fail(codes.NotFound, "scripted").Header("id", "1"),
			"trailer": flakyserver.Fail(codes.NotFound, "scripted").Trailer("id", "1"),
			"both":    flakyserver.Fail(codes.NotFound, "scripted").Header("id", "1").Trailer("id", "1"),
			"1042":    flakyserver.Fail(1042, "scripted"),
		} {
			t.Run(policy+"/"+shape, func(t *testing.T) {
				t.Parallel()
				w := overTCP(t, interceptors.WithMethodPolicy(method, p), interceptors.WithMethodPolicy(helloServer, p))
				six := []flakyserver.Step{ill, ill, ill, ill, ill, ill, answer}
				for method, run := range map[string]func() error{
					method: func() error { _, err := w.say(within(t)); return err },
					helloServer: func() error {
						st, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
						if err == nil {
							_, err = st.Recv()
						}
						return err
					},
				} {
					w.Script(method, append(append(six, six...), ill)...)
					for i := range 2 * len(six) {
						if err := run(); errors.Is(err, interceptors.ErrBreakerOpen) {
							t.Fatalf("%s: call %d: %v; want six failures in a row at most", method, i+1, err)
						}
					}
				}
			})
		}
	}
}

// Calls that got no stream on the connection until their time was over say nothing of
// the server: others of this client had them all.
func TestStreamsOfTheConnectionAreAllTaken(t *testing.T) {
	for name, p := range map[string]interceptors.Policy{
		"deadline":        {},
		"attempt timeout": {Retry: interceptors.Retry{MaxAttempts: 1}, AttemptTimeout: 10 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := flakyserver.Start(flakyserver.WithServerOptions(grpc.MaxConcurrentStreams(1)))
			if err != nil {
				t.Fatal(err)
			}
			w := dialSuite(t, server, newSuite(t, interceptors.WithMethodPolicy(method, p)))
			server.Script(helloBidi, flakyserver.Hang().AfterReplies(1))
			watching, stop := context.WithCancel(within(t))
			st, err := w.SayHelloBidi(watching)
			if err != nil {
				t.Fatal(err)
			}
			_ = st.Send(&greeterpb.HelloRequest{Name: "Ann"})
			if _, err := st.Recv(); err != nil {
				t.Fatal(err)
			}
			for range 8 {
				ctx, cancel := context.WithTimeout(context.Background(), 20*ms)
				if _, err := w.say(ctx); status.Code(err) != codes.DeadlineExceeded {
					t.Fatalf("%v, want DEADLINE_EXCEEDED: there is one stream", err)
				}
				cancel()
			}
			stop()
			for _, err := st.Recv(); err == nil; _, err = st.Recv() {
			}
			if _, err := w.SayHello(within(t), &greeterpb.HelloRequest{Name: "Ann"}, interceptors.WithCallPolicy(interceptors.Policy{})); err != nil {
				t.Errorf("%v after the stream has gone", err)
			}
		})
	}
}

// A header came, and it may be that a reply came that is empty: whether the request ran
// is unknown.
func TestEmptyReplyMayHaveCome(t *testing.T) {
	w := overTCP(t, interceptors.WithMethodPolicy(method, interceptors.Policy{Retry: interceptors.Retry{Repeat: interceptors.RepeatAnswered}}))
	w.Script(method, flakyserver.Fail(codes.Unavailable, "scripted").Header("id", "1").Trailer("id", "1"), flakyserver.OK())
	if _, err := w.say(within(t)); status.Code(err) != codes.Unavailable {
		t.Errorf("%v, want the server's UNAVAILABLE", err)
	}
	if n := w.Stats(method).Attempts; n != 1 {
		t.Errorf("the server has seen %d requests, want 1", n)
	}
}

// refusing is a stream beneath the suite that refuses what it has received, and leaves
// the stream beneath as it is.
type refusing struct{ grpc.ClientStream }

func (r refusing) RecvMsg(m any) error {
	if err := r.ClientStream.RecvMsg(m); err != nil {
		return err
	}
	return status.Error(codes.DataLoss, "refused")
}

// The caller's options are not read while a stream beneath, which has not ended, may
// write them.
func TestOptionsOfAMessageRefusedBeneath(t *testing.T) {
	p := interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}, AttemptTimeout: time.Minute}
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	w := dialSuite(t, server, newSuite(t, interceptors.WithPolicy(p)), grpc.WithChainStreamInterceptor(
		func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, streamer grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := streamer(ctx, d, cc, m, o...)
			return refusing{s}, err
		}))
	w.Always(helloServer, flakyserver.Hang().AfterReplies(1))
	for range 50 { // a race is one of chance
		var (
			header, trailer metadata.MD
			from            peer.Peer
		)
		st, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"}, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Recv(); status.Code(err) != codes.DataLoss {
			t.Fatalf("%v, want that of the interceptor", err)
		}
	}
}

// retriesOfTheServiceConfig makes four attempts of what is UNAVAILABLE or ABORTED.
const retriesOfTheServiceConfig = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.001s","maxBackoff":"0.002s","backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE","ABORTED"]}}]}`

// A service config's retry policy holds as without the suite, where the suite's policy
// says nothing of retries: DialOptions turn off grpc-go's own.
func TestRetryPolicyOfTheServiceConfig(t *testing.T) {
	aborted := flakyserver.Fail(codes.Aborted, "scripted")
	invalid := flakyserver.Fail(codes.InvalidArgument, "scripted")
	say := interceptors.WithMethodPolicy(method, interceptors.Policy{})
	for _, tc := range []struct {
		name  string
		steps []flakyserver.Step
	}{
		{"connection cut", []flakyserver.Step{flakyserver.Reset(), flakyserver.OK()}},
		{"its codes", []flakyserver.Step{aborted, flakyserver.OK()}},
		{"no others", []flakyserver.Step{invalid, flakyserver.OK()}},
		{"its attempts", []flakyserver.Step{aborted, aborted, aborted, flakyserver.OK()}},
		{"no more", []flakyserver.Step{aborted, aborted, aborted, aborted, flakyserver.OK()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			seen := map[string][]int{} // attempts at the server, and the code, by method
			for _, opts := range [][]interceptors.Option{nil, {say}} {
				var suite []grpc.DialOption
				if opts != nil {
					suite = newSuite(t, opts...).DialOptions()
				}
				w := dialTCP(t, append(suite, grpc.WithDefaultServiceConfig(retriesOfTheServiceConfig))...)
				for method, run := range map[string]func() error{
					method: func() error {
						_, err := w.SayHello(within(t), &greeterpb.HelloRequest{Name: "Ann"})
						return err
					},
					helloServer: func() error {
						st, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
						if err == nil {
							_, err = st.Recv()
						}
						return err
					},
					helloClient: func() error {
						st, err := w.SayHelloClientStream(within(t))
						if err == nil {
							_ = st.Send(&greeterpb.HelloRequest{Name: "Ann"})
							_, err = st.CloseAndRecv()
						}
						return err
					},
				} {
					w.Script(method, tc.steps...)
					err := run()
					seen[method] = append(seen[method], len(w.Attempts(method)), int(status.Code(err)))
				}
			}
			for method, n := range seen {
				if n[0] != n[2] || n[1] != n[3] {
					t.Errorf("%s: %d attempts and %v, without the suite %d and %v", method, n[2], codes.Code(n[3]), n[0], codes.Code(n[1]))
				}
			}
		})
	}
}

// A service config's retry policy ends with the header, as grpc-go has it: the call may
// have run.
func TestRetryPolicyOfTheServiceConfigEndsWithTheHeader(t *testing.T) {
	for name, step := range map[string]flakyserver.Step{
		"an error":            flakyserver.Fail(codes.Unavailable, "scripted").Header("a", "b"),
		"an error of its own": flakyserver.Fail(codes.Aborted, "scripted").Header("a", "b"),
		"a cut":               flakyserver.Reset().Header("a", "b"),
	} {
		for _, opts := range [][]grpc.DialOption{nil, newSuite(t).DialOptions()} {
			w := dialTCP(t, append(opts, grpc.WithDefaultServiceConfig(retriesOfTheServiceConfig))...)
			w.Script(method, flakyserver.Fail(codes.Aborted, "scripted"), flakyserver.OK(), step, flakyserver.OK())
			if _, err := w.say(within(t)); err != nil {
				t.Fatal(err) // by this the suite knows of the policy
			}
			if _, err := w.say(within(t)); err == nil || len(w.Attempts(method)) != 3 {
				t.Errorf("%s after a header, suite %v: %v, %d attempts, want an error after one more than two", name, opts != nil, err, len(w.Attempts(method)))
			}
		}
	}
}

// A policy of the suite's that says something of retries stands.
func TestOwnRetriesBeforeTheServiceConfigs(t *testing.T) {
	const config = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":4,"initialBackoff":"0.001s","maxBackoff":"0.002s","backoffMultiplier":1,"retryableStatusCodes":["ABORTED"]}}]}`
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	w := dialSuite(t, server, newSuite(t, interceptors.WithPolicy(quick)), grpc.WithDefaultServiceConfig(config))
	w.Always(method, flakyserver.Fail(codes.Aborted, "scripted"))
	if _, err := w.say(within(t)); status.Code(err) != codes.Aborted || len(w.Attempts(method)) != 1 {
		t.Errorf("%v after %d attempts, want ABORTED after 1", err, len(w.Attempts(method)))
	}
	if _, err := w.say(within(t), interceptors.WithCallPolicy(interceptors.Policy{}), interceptors.NoRetry()); len(w.Attempts(method)) != 2 {
		t.Errorf("%v after %d attempts, want one more", err, len(w.Attempts(method)))
	}
}

// impatient is a stream beneath the suite that fails for the server's silence, and leaves
// the stream beneath as it is.
type impatient struct{ grpc.ClientStream }

func (impatient) RecvMsg(any) error { return status.Error(codes.Unavailable, "silent") }

// What an interceptor beneath says of a stream that goes on is returned at once, as
// without the suite, and what was sent is not sent again: it may be running.
func TestStreamFailedBeneathThatGoesOn(t *testing.T) {
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	beneath := grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, streamer grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := streamer(ctx, d, cc, m, o...)
		return impatient{s}, err
	})
	resume := interceptors.WithResume(helloServer, func(context.Context, any, any) (any, bool) { return nil, false })
	server.Always(helloServer, flakyserver.Hang())
	server.Always(helloBidi, flakyserver.Hang())
	for name, opts := range map[string][]interceptors.Option{"retried": {}, "resumed": {resume}} {
		w := dialSuite(t, server, newSuite(t, append(opts, interceptors.WithMethodPolicy(helloServer, interceptors.Policy{}))...), beneath)
		for method, open := range map[string]func(context.Context) (grpc.ClientStream, error){
			helloServer: func(ctx context.Context) (grpc.ClientStream, error) {
				return w.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"})
			},
			helloBidi: func(ctx context.Context) (grpc.ClientStream, error) {
				st, err := w.SayHelloBidi(ctx)
				if err == nil {
					_ = st.Send(&greeterpb.HelloRequest{Name: "Ann"})
				}
				return st, err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			before := len(w.Attempts(method))
			st, err := open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err = w.Await(ctx, func() bool { return len(w.Attempts(method)) > before }); err != nil {
				t.Fatal(err)
			}
			if err = st.RecvMsg(new(greeterpb.HelloReply)); status.Code(err) != codes.Unavailable || ctx.Err() != nil {
				t.Errorf("%s, %s: %v, want the interceptor's UNAVAILABLE at once", name, method, err)
			}
			cancel()
			if n := len(w.Attempts(method)) - before; n != 1 {
				t.Errorf("%s, %s: the server has seen it %d times", name, method, n)
			}
		}
	}
}

// A stream that can be resumed, of a server that is ill, ends after MaxAttempts, with the
// default backoff too.
func TestResumedStreamGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := flakyserver.StartBuffer()
		resume := interceptors.WithResume(helloServer, func(context.Context, any, any) (any, bool) { return nil, false })
		w := dialSuite(t, server, newSuite(t, resume, interceptors.WithPolicy(interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}})))
		w.Always(helloServer, flakyserver.Fail(codes.Unavailable, "scripted").After(ms))
		st, err := w.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
		if err == nil {
			_, err = st.Recv()
		}
		if n := len(w.Attempts(helloServer)); status.Code(err) != codes.Unavailable || n != 3 {
			t.Errorf("%v after %d attempts, want UNAVAILABLE after 3", err, n)
		}
	})
}
