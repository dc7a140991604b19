package peers

import (
	"context"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc"
)

// Gobreaker returns sony/gobreaker as an interceptor: its defaults, more than 5
// failures in a row and no window to keep, which is also its cheapest, and
// Execute, which allocates nothing where its two-step form would.
func Gobreaker() grpc.UnaryClientInterceptor {
	cb := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{Name: "bench"})
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		_, err := cb.Execute(func() (struct{}, error) {
			return struct{}{}, invoker(ctx, method, req, reply, cc, opts...)
		})
		return err
	}
}
