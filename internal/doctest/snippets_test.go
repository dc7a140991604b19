package doctest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/state"
	"github.com/astra-grpc/astra/tracing"
)

// README's Go blocks, each within a function that gives it what it needs.
// snippets_run_test.go runs them.

func around(suite *interceptors.Suite, perCall, perAttempt grpc.UnaryClientInterceptor) []grpc.DialOption {
	opts := []grpc.DialOption{grpc.WithChainUnaryInterceptor(perCall)} // sees a call once, and what it came to
	opts = append(opts, suite.DialOptions()...)
	opts = append(opts, grpc.WithChainUnaryInterceptor(perAttempt)) // sees every attempt
	return opts
}

// retryAfter returns how long it takes until a call that a breaker refused may pass.
func retryAfter(err error) (wait time.Duration, refused bool) {
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

func methodPolicies() (*interceptors.Suite, error) {
	suite, err := interceptors.New(
		interceptors.WithPolicy(interceptors.Policy{Timeout: 5 * time.Second}),
		interceptors.WithMethodPolicy("/helloworld.Greeter/*", interceptors.Policy{
			Retry:          interceptors.Retry{Backoff: jitter.Backoff{Base: 50 * time.Millisecond}},
			Timeout:        time.Second,
			AttemptTimeout: 300 * time.Millisecond,
		}),
		interceptors.WithMethodPolicy("/bank.Ledger/Transfer", interceptors.Policy{
			Retry: interceptors.Retry{MaxAttempts: 1}, // may not run twice
		}),
	)
	return suite, err
}

func callOptions(ctx context.Context, greeter greeterpb.GreeterClient, request *greeterpb.HelloRequest) (*greeterpb.HelloReply, error) {
	once := interceptors.NoRetry()
	patient := interceptors.WithCallPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 5}})

	reply, err := greeter.SayHello(ctx, request, once)
	if err != nil {
		reply, err = greeter.SayHello(ctx, request, patient)
	}
	return reply, err
}

func reload(suite *interceptors.Suite, policy interceptors.Policy) {
	if err := suite.Reload(interceptors.WithPolicy(policy)); err != nil {
		slog.Error("policies not reloaded", "err", err) // every fault, a line each
	}
}

func fromFile(ctx context.Context, path string, m *metrics.Metrics) (*interceptors.Suite, error) {
	suite, err := interceptors.New(interceptors.WithObserver(m))
	if err != nil {
		return nil, err
	}
	if err := config.Watch(ctx, path, suite); err != nil {
		return nil, err // every fault of the file, a line each
	}
	return suite, nil
}

func fromCache(cache map[string]string) interceptors.Option {
	fallback := interceptors.WithFallback("/helloworld.Greeter/SayHello",
		func(_ context.Context, _ string, req, reply any, err error) error {
			greeting, ok := cache[req.(*greeterpb.HelloRequest).GetName()]
			if !ok {
				return err // nothing to offer
			}
			reply.(*greeterpb.HelloReply).Message = greeting
			return nil
		})
	return fallback
}

// retryLog logs every backoff.
type retryLog struct{ *slog.Logger }

func (l retryLog) Observe(e observe.Endpoint) observe.Hooks {
	log := l.With("method", e.Method(), "target", e.Target())
	return observe.Hooks{
		Want: func(e observe.Event) bool { return e.Kind == observe.BackoffStart },
		Event: func(ctx context.Context, e observe.Event) {
			log.WarnContext(ctx, "retrying", "attempt", e.Attempt, "code", e.Code, "delay", e.Delay)
		},
	}
}

// resuming continues a listing after the last entry that was delivered.
func resuming() (*interceptors.Suite, error) {
	return interceptors.New(interceptors.WithResume("/helloworld.Greeter/SayHelloServerStream",
		func(_ context.Context, sent, last any) (next any, ok bool) {
			asked, got := sent.(*greeterpb.HelloRequest), last.(*greeterpb.HelloReply)
			return &greeterpb.HelloRequest{Name: asked.GetName() + " after " + got.GetMessage()}, true
		}))
}

func keeping(path string) (*interceptors.Suite, error) {
	store, err := state.File(path)
	if err != nil {
		return nil, err // the path is no good, or another process has the file
	}
	suite, err := interceptors.New(interceptors.WithStore(store))
	return suite, err
}

func hedging() (*interceptors.Suite, error) {
	hedged, err := interceptors.New(interceptors.WithMethodPolicy("/helloworld.Greeter/SayHello",
		interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2}}))
	return hedged, err
}

func limiting() (*interceptors.Suite, error) {
	limited, err := interceptors.New(interceptors.WithMethodPolicy("/helloworld.Greeter/SayHello",
		interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 20, MaxQueue: 100, MaxWait: 200 * time.Millisecond, Rate: 500}}))
	return limited, err
}

// traced returns a suite that makes spans, histograms and log records.
func traced(spans trace.TracerProvider, meters metric.MeterProvider) (*interceptors.Suite, error) {
	meter, err := tracing.NewMeter(meters) // retries, hedges and delays of calls
	if err != nil {
		return nil, err
	}
	return interceptors.New(interceptors.WithObserver(
		tracing.New(spans),                // a span for each call, and for each of its attempts
		tracing.NewLogger(slog.Default()), // a record for each call that failed or was rescued
		meter,
	))
}
