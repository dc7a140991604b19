package interceptors_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

const benchMethod = "/helloworld.Greeter/SayHello"

func benchSuite(b *testing.B, opts ...interceptors.Option) grpc.UnaryClientInterceptor {
	b.Helper()
	s, err := interceptors.New(opts...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s.UnaryClientInterceptor()
}

func noop(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }

func BenchmarkUnarySuccess(b *testing.B) {
	call := benchSuite(b)
	b.ReportAllocs()
	for b.Loop() {
		_ = call(context.Background(), benchMethod, nil, nil, nil, noop)
	}
}

func BenchmarkUnarySuccessParallel(b *testing.B) {
	call := benchSuite(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = call(context.Background(), benchMethod, nil, nil, nil, noop)
		}
	})
}

func BenchmarkUnaryTwoRetries(b *testing.B) {
	call := benchSuite(b, interceptors.WithPolicy(interceptors.Policy{
		Retry:   interceptors.Retry{Backoff: jitter.Backoff{Base: time.Nanosecond, Max: time.Nanosecond}},
		Breaker: interceptors.Breaker{Disabled: true},
		Budget:  interceptors.Budget{Disabled: true},
	}))
	unavailable := status.Error(codes.Unavailable, "down")
	fail := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		return unavailable
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = call(context.Background(), benchMethod, nil, nil, nil, fail)
	}
}

// BenchmarkUnaryRefused is a call that an open breaker refuses, and whose caller looks at
// no more than that.
func BenchmarkUnaryRefused(b *testing.B) {
	call := benchSuite(b, interceptors.WithPolicy(interceptors.Policy{
		Breaker: interceptors.Breaker{Consecutive: 1, OpenFor: time.Hour, MaxOpenFor: time.Hour, ProbeShare: 1e-9},
	}))
	fail := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		return status.Error(codes.Internal, "ill")
	}
	_ = call(context.Background(), benchMethod, nil, nil, nil, fail)
	b.ReportAllocs()
	for b.Loop() {
		if err := call(context.Background(), benchMethod, nil, nil, nil, noop); !errors.Is(err, interceptors.ErrBreakerOpen) {
			b.Fatal(err)
		}
	}
}

// hedgedCalls returns a function that makes a hedged call, with messages of its
// own each time it is asked for one.
func hedgedCalls(b *testing.B, h interceptors.Hedge) func() func() {
	call := benchSuite(b, interceptors.WithMethodPolicy(benchMethod, interceptors.Policy{Hedge: h}))
	return func() func() {
		req, reply := &greeterpb.HelloRequest{Name: "Ada"}, new(greeterpb.HelloReply)
		return func() { _ = call(context.Background(), benchMethod, req, reply, nil, noop) }
	}
}

// BenchmarkHedgeArmed is a call that might have been hedged, and was not.
func BenchmarkHedgeArmed(b *testing.B) {
	for name, h := range map[string]interceptors.Hedge{
		"delay": {MaxAttempts: 2, Delay: time.Second},
		"p95":   {MaxAttempts: 2},
	} {
		b.Run(name, func(b *testing.B) {
			call := hedgedCalls(b, h)()
			b.ReportAllocs()
			for b.Loop() {
				call()
			}
		})
	}
}

func BenchmarkHedgeArmedParallel(b *testing.B) {
	calls := hedgedCalls(b, interceptors.Hedge{MaxAttempts: 2, Delay: time.Second})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		call := calls()
		for pb.Next() {
			call()
		}
	})
}

// TestArmedHedgeAllocations: a call that is not hedged in the end allocates 12
// times at most.
func TestArmedHedgeAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Second}))
	call, req, reply := s.UnaryClientInterceptor(), &greeterpb.HelloRequest{Name: "Ada"}, new(greeterpb.HelloReply)
	ctx, cancel := context.WithCancel(context.Background()) // as callers have
	defer cancel()
	got := testing.AllocsPerRun(1000, func() { _ = call(ctx, method, req, reply, nil, noop) })
	if got > 12 {
		t.Errorf("%v allocations, want at most 12", got)
	}
}
