package peers

import (
	"context"
	"time"

	"github.com/sony/gobreaker/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/bench/lab"
)

// Gobreaker returns sony/gobreaker as an interceptor: its defaults, more than 5
// failures in a row and no window to keep, which is also its cheapest, and
// Execute, which allocates nothing where its two-step form would.
func Gobreaker() grpc.UnaryClientInterceptor {
	return gobreakerWith(gobreaker.Settings{Name: "bench"})
}

func gobreakerWith(settings gobreaker.Settings) grpc.UnaryClientInterceptor {
	cb := gobreaker.NewCircuitBreaker[struct{}](settings)
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		_, err := cb.Execute(func() (struct{}, error) {
			return struct{}{}, invoker(ctx, method, req, reply, cc, opts...)
		})
		return err
	}
}

// gobreakerTuned probes a second after it has opened, as astra first does: the
// default's minute is far too long for a server that is back after seconds.
func gobreakerTuned() grpc.UnaryClientInterceptor {
	return gobreakerWith(gobreaker.Settings{
		Name:       "bench",
		Timeout:    time.Second,
		IsExcluded: func(err error) bool { return status.Code(err) == codes.Canceled },
	})
}

func gobreakerClients(t Tuning) []Client {
	return []Client{
		chainOf(lab.Contender{
			Name: "gobreaker + middleware retry (default)", Config: "gobreaker: more than 5 failures in a row, open for 60 s, 1 probe, around " + middlewareDefault,
			Why: "its defaults; around the retry, so that it judges calls, as ours",
		}, func() []grpc.UnaryClientInterceptor { return []grpc.UnaryClientInterceptor{Gobreaker(), Middleware()} }),
		chainOf(lab.Contender{
			Name: "gobreaker + middleware retry (tuned)", Config: "gobreaker: Timeout 1 s, CANCELLED excluded, around " + middlewareTunedConfig(t),
			Why: "open as long as ours at first; our attempts and backoff",
		}, func() []grpc.UnaryClientInterceptor {
			return []grpc.UnaryClientInterceptor{gobreakerTuned(), middlewareTuned(t)}
		}),
	}
}
