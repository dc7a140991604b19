package interceptors_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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
