package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/observe"
)

// flaky is a server that fails as an example needs it, and a connection to it.
type flaky struct {
	*flakyserver.Server
	conn *grpc.ClientConn
	greeterpb.GreeterClient
}

// connect returns a server and a connection that has the suite.
func connect(suite *interceptors.Suite) *flaky { return connectWith(suite.DialOptions()...) }

func connectWith(opts ...grpc.DialOption) *flaky {
	server := flakyserver.StartBuffer()
	conn, err := server.Dial(opts...)
	if err != nil {
		log.Fatal(err)
	}
	return &flaky{server, conn, greeterpb.NewGreeterClient(conn)}
}

func (f *flaky) close() {
	_ = f.conn.Close()
	f.Close()
}

// hello makes a call, and prints its result and the attempts made so far.
func (f *flaky) hello(opts ...grpc.CallOption) {
	reply, err := f.SayHello(context.Background(), &greeterpb.HelloRequest{Name: "Ada"}, opts...)
	fmt.Println(reply.GetMessage(), status.Code(err), f.Stats(greeterpb.Greeter_SayHello_FullMethodName).Attempts)
}

var unavailable = flakyserver.Fail(codes.Unavailable, "restarting")

// A program makes one suite, and uses it for all its connections.
func Example() {
	suite, err := interceptors.New()
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	opts := append(suite.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("dns:///orders.internal:443", opts...)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(conn.Target())
	// Output: dns:///orders.internal:443
}

// The error of New names every fault.
func ExampleNew() {
	_, err := interceptors.New(interceptors.WithPolicy(interceptors.Policy{
		Timeout:        time.Second,
		AttemptTimeout: 2 * time.Second,
		Retry:          interceptors.Retry{MaxAttempts: -1},
	}))
	fmt.Println(err)
	// Output:
	// policy *: Retry.MaxAttempts: -1 is out of range: want from 1 to 100, or 0 for the default
	// policy *: AttemptTimeout: 2s is out of range: want <= Timeout, which is 1s
}

// Interceptors before the suite see calls, those after it see attempts.
func ExampleSuite_DialOptions() {
	counter := func(n *int) grpc.UnaryClientInterceptor {
		return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			*n++
			return invoke(ctx, method, req, reply, cc, opts...)
		}
	}
	var calls, attempts int
	perCall, perAttempt := counter(&calls), counter(&attempts)

	suite, err := interceptors.New()
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	opts := []grpc.DialOption{grpc.WithChainUnaryInterceptor(perCall)} // sees a call once, and its result
	opts = append(opts, suite.DialOptions()...)
	opts = append(opts, grpc.WithChainUnaryInterceptor(perAttempt)) // sees every attempt

	server := connectWith(opts...)
	defer server.close()
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, unavailable.Pushback("1"), flakyserver.OK())
	server.hello()
	fmt.Println(calls, attempts)
	// Output:
	// Hello Ada OK 2
	// 1 2
}

// The defaults of all methods.
func ExampleWithPolicy() {
	suite, err := interceptors.New(interceptors.WithPolicy(interceptors.Policy{
		Timeout: 5 * time.Second,
		Retry:   interceptors.Retry{MaxAttempts: 4, Backoff: jitter.Backoff{Base: 10 * time.Millisecond}},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	server := connect(suite)
	defer server.close()
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, unavailable, unavailable, unavailable, flakyserver.OK())
	server.hello()
	// Output: Hello Ada OK 4
}

// The most specific pattern has the whole policy: nothing is merged.
func ExampleWithMethodPolicy() {
	suite, err := interceptors.New(
		interceptors.WithPolicy(interceptors.Policy{Timeout: 5 * time.Second}),
		interceptors.WithMethodPolicy("/helloworld.Greeter/*", interceptors.Policy{
			Retry:          interceptors.Retry{Backoff: jitter.Backoff{Base: 50 * time.Millisecond}},
			Timeout:        time.Second,
			AttemptTimeout: 300 * time.Millisecond,
		}),
		interceptors.WithMethodPolicy("/bank.Ledger/Transfer", interceptors.Policy{
			Retry: interceptors.Retry{MaxAttempts: 1}, // must not run twice
		}),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	server := connect(suite)
	defer server.close()
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.Hang(), flakyserver.OK())
	server.hello() // the attempt that hangs ends after 300 ms
	// Output: Hello Ada OK 2
}

// A call's own policy.
func ExampleWithCallPolicy() {
	suite, err := interceptors.New()
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	greeter := connect(suite)
	defer greeter.close()
	greeter.Script(greeterpb.Greeter_SayHello_FullMethodName, unavailable, unavailable, unavailable, unavailable, flakyserver.OK())
	ctx, request := context.Background(), &greeterpb.HelloRequest{Name: "Ada"}

	patient := interceptors.WithCallPolicy(interceptors.Policy{ // make it once, use it for many calls
		Retry: interceptors.Retry{MaxAttempts: 5, Backoff: jitter.Backoff{Base: time.Millisecond}},
	})
	reply, err := greeter.SayHello(ctx, request, patient)

	fmt.Println(reply.GetMessage(), err)
	// Output: Hello Ada <nil>
}

// A call that must not run twice.
func ExampleNoRetry() {
	suite, err := interceptors.New()
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	greeter := connect(suite)
	defer greeter.close()
	greeter.Always(greeterpb.Greeter_SayHello_FullMethodName, unavailable)
	ctx, request := context.Background(), &greeterpb.HelloRequest{Name: "Ada"}

	_, err = greeter.SayHello(ctx, request, interceptors.NoRetry())

	fmt.Println(err)
	// Output: rpc error: code = Unavailable desc = restarting
}

// A reload that has faults changes nothing.
func ExampleSuite_Reload() {
	suite, err := interceptors.New()
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	policy := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 101}}

	if err := suite.Reload(interceptors.WithPolicy(policy)); err != nil {
		fmt.Println("policies not reloaded:", err) // every fault, a line each
	}

	policy.Retry.MaxAttempts = 10
	if err := suite.Reload(interceptors.WithPolicy(policy)); err != nil {
		fmt.Println("policies not reloaded:", err)
	}
	fmt.Println("generation", suite.Revision().Generation)
	// Output:
	// policies not reloaded: policy *: Retry.MaxAttempts: 101 is out of range: want from 1 to 100, or 0 for the default
	// generation 2
}

// A fallback fills the reply and returns nil, or returns the error that the
// caller is to see.
func ExampleWithFallback() {
	cache := map[string]string{"Ada": "Hello from the cache"}

	suite, err := interceptors.New(interceptors.WithFallback("/helloworld.Greeter/SayHello",
		func(_ context.Context, _ string, req, reply any, err error) error {
			greeting, ok := cache[req.(*greeterpb.HelloRequest).GetName()]
			if !ok {
				return err // nothing to offer
			}
			reply.(*greeterpb.HelloReply).Message = greeting
			return nil
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	server := connect(suite)
	defer server.close()
	server.Always(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.Fail(codes.Internal, "no database"))
	server.hello()
	// Output: Hello from the cache OK 1
}

// A listing that is cut goes on after the last entry that was delivered.
func ExampleWithResume() {
	resume := interceptors.WithResume("/helloworld.Greeter/SayHelloServerStream",
		func(_ context.Context, sent, last any) (next any, ok bool) {
			asked, got := sent.(*greeterpb.HelloRequest), last.(*greeterpb.HelloReply)
			return &greeterpb.HelloRequest{Name: asked.GetName() + " after " + got.GetMessage()}, true
		})

	suite, err := interceptors.New(resume, interceptors.WithPolicy(interceptors.Policy{
		Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: time.Millisecond}},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	server := connect(suite)
	defer server.close()
	server.Script(greeterpb.Greeter_SayHelloServerStream_FullMethodName, unavailable.AfterReplies(2), flakyserver.OK().AfterReplies(1))
	stream, err := server.SayHelloServerStream(context.Background(), &greeterpb.HelloRequest{Name: "Ada"})
	for err == nil {
		var reply *greeterpb.HelloReply
		if reply, err = stream.Recv(); err == nil {
			fmt.Println(reply.GetMessage())
		}
	}
	fmt.Println(err)
	// Output:
	// Hello Ada #1
	// Hello Ada #2
	// Hello Ada after Hello Ada #2 #1
	// EOF
}

// A server that says in an error's details that it has lost its leader may be
// asked again, though its code is not retried.
func ExampleWithClassifier() {
	classify := func(a interceptors.Attempt) interceptors.Verdict {
		for _, detail := range status.Convert(a.Err).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetReason() == "NO_LEADER" {
				return interceptors.VerdictRetry | interceptors.VerdictFailure
			}
		}
		return 0 // the status code decides
	}
	classifier := interceptors.WithClassifier("/helloworld.Greeter/*", classify)

	suite, err := interceptors.New(classifier, interceptors.WithPolicy(interceptors.Policy{
		Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: time.Millisecond}},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	server := connect(suite)
	defer server.close()
	noLeader := flakyserver.Fail(codes.FailedPrecondition, "try again").Detail(&errdetails.ErrorInfo{Reason: "NO_LEADER"})
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, noLeader, flakyserver.OK())
	server.hello()
	// Output: Hello Ada OK 2
}

// retryLog logs every backoff.
type retryLog struct{ *slog.Logger }

func (l retryLog) Observe(e observe.Endpoint) observe.Hooks {
	log := l.With("method", e.Method(), "target", e.Target())
	return observe.Hooks{
		Want: func(e observe.Event) bool { return e.Kind == observe.BackoffStart },
		Event: func(ctx context.Context, e observe.Event) {
			log.WarnContext(ctx, "retrying", "attempt", e.Attempt, "code", e.Code)
		},
	}
}

// stdout returns a logger to the example's output, without times.
func stdout() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// An observer that logs every backoff. Close delivers what is queued for it.
func ExampleWithObserver() {
	suite, err := interceptors.New(
		interceptors.WithObserver(retryLog{stdout()}),
		interceptors.WithTargetName(func(string) string { return "greeter" }),
	)
	if err != nil {
		log.Fatal(err)
	}

	server := connect(suite)
	defer server.close()
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, unavailable.Pushback("1"), flakyserver.OK())
	_, err = server.SayHello(context.Background(), &greeterpb.HelloRequest{Name: "Ada"})
	_ = suite.Close()
	fmt.Println(err)
	// Output:
	// level=WARN msg=retrying method=/helloworld.Greeter/SayHello target=greeter attempt=1 code=Unavailable
	// <nil>
}

// Each client of etcd has a target of its own, which is another after a restart.
// One name for all of them keeps labels, state and budgets together.
func ExampleWithTargetName() {
	name := func(target string) string {
		if strings.HasPrefix(target, "etcd-endpoints://") {
			return "etcd"
		}
		return target
	}
	suite, err := interceptors.New(interceptors.WithTargetName(name))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	fmt.Println(name("etcd-endpoints://0xc000123456/host"))
	// Output: etcd
}

// The suite itself warns here of what it notices.
func ExampleWithLogger() {
	suite, err := interceptors.New(
		interceptors.WithLogger(stdout().With("component", "grpc-client")),
		interceptors.WithMethodPolicy("/helloworld.Greeter/SayHallo", interceptors.Policy{}),
	)
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	server := connect(suite)
	defer server.close()
	server.hello()
	// Output:
	// level=WARN msg="astra: method not found in its service's descriptor: what is given for it applies to no call" component=grpc-client what=policy method=/helloworld.Greeter/SayHallo has="[SayHello SayHelloServerStream SayHelloClientStream SayHelloBidi]"
	// Hello Ada OK 1
}

// A server that reports an overload in an OK reply, as some do.
func ExampleClassifyReplies() {
	overloaded := interceptors.WithClassifier("/helloworld.Greeter/SayHello",
		func(a interceptors.Attempt) interceptors.Verdict {
			if reply, ok := a.Reply.(*greeterpb.HelloReply); ok && reply.GetMessage() == "" {
				return interceptors.VerdictRetry
			}
			return 0
		}, interceptors.ClassifyReplies())

	suite, err := interceptors.New(overloaded, interceptors.WithPolicy(interceptors.Policy{
		Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: time.Millisecond}},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	server := connect(suite)
	defer server.close()
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.OK().Reply(&greeterpb.HelloReply{}), flakyserver.OK())
	server.hello()
	// Output: Hello Ada OK 2
}

// Retries of more codes, and more patience where a quota is used up.
func ExampleRetry() {
	policy := interceptors.Policy{Retry: interceptors.Retry{
		MaxAttempts: 4,
		Repeat:      interceptors.RepeatAnswered, // not requests that may have run
		Backoff:     jitter.Backoff{Base: 50 * time.Millisecond, Max: time.Second},
		PerCode: map[codes.Code]jitter.Backoff{
			codes.ResourceExhausted: {Base: 2 * time.Second, Max: time.Minute},
		},
	}}
	fmt.Println(policy.Validate())
	// Output: <nil>
}

// A method that may run twice at the same time asks a second server when the
// first is slower than usual.
func ExampleHedge() {
	hedged, err := interceptors.New(interceptors.WithMethodPolicy("/helloworld.Greeter/SayHello",
		interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 20 * time.Millisecond}}))
	if err != nil {
		log.Fatal(err)
	}
	defer hedged.Close()

	server := connect(hedged)
	defer server.close()
	server.Script(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.Hang(), flakyserver.OK())
	server.hello() // the first attempt hangs
	// Output: Hello Ada OK 2
}

// A bound on calls in flight, on calls that wait, and on how long they wait.
func ExampleLimit() {
	limited, err := interceptors.New(interceptors.WithMethodPolicy("/helloworld.Greeter/SayHello",
		interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 20, MaxQueue: 100, MaxWait: 200 * time.Millisecond, Rate: 500}}))
	if err != nil {
		log.Fatal(err)
	}
	defer limited.Close()

	server := connect(limited)
	defer server.close()
	server.hello()
	// Output: Hello Ada OK 1
}

// The error of a refused call says how long the breaker will stay open.
func ExampleBreaker() {
	retryAfter := func(err error) (wait time.Duration, refused bool) {
		if !errors.Is(err, interceptors.ErrBreakerOpen) {
			return 0, false
		}
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.RetryInfo); ok {
				wait = info.GetRetryDelay().AsDuration()
			}
		}
		return wait, true
	}

	suite, err := interceptors.New(interceptors.WithPolicy(interceptors.Policy{
		Breaker: interceptors.Breaker{Consecutive: 2, OpenFor: time.Minute},
	}))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()
	server := connect(suite)
	defer server.close()
	server.Always(greeterpb.Greeter_SayHello_FullMethodName, flakyserver.Fail(codes.Internal, "no database"))
	for range 3 {
		_, err = server.SayHello(context.Background(), &greeterpb.HelloRequest{})
	}
	wait, refused := retryAfter(err)
	fmt.Println(refused, wait > 40*time.Second)
	// Output: true true
}

// What is allowed and still worth a look.
func ExamplePolicy_Warnings() {
	policy := interceptors.Policy{
		Timeout: time.Second,
		Retry:   interceptors.Retry{MaxAttempts: 4, Backoff: jitter.Backoff{Base: 2 * time.Second}},
	}
	for _, w := range policy.Warnings() {
		fmt.Println(w.Field)
	}
	// Output:
	// Retry.MaxAttempts
	// Breaker.OpenFor
}

// A target with several backends: retries and hedges go to another one, and a
// backend that fails is left alone.
func Example_severalBackends() {
	suite, err := interceptors.New(interceptors.WithBalancing(interceptors.Balancing{}))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	opts := append(suite.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	conn, err := grpc.NewClient("dns:///orders.internal:443", opts...) // connects to all of them
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	fmt.Println(conn.Target())
	// Output: dns:///orders.internal:443
}
