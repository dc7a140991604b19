package peers

import (
	"context"

	"github.com/go-kratos/aegis/circuitbreaker/sre"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/bench/lab"
)

// aegisBreaker is the breaker of kratos, which throttles by chance as the SRE
// book has it, with the same rules as kratos' own client middleware: a refusal
// counts as a failure, and so do what HTTP calls 500, 503 and 504.
func aegisBreaker() grpc.UnaryClientInterceptor {
	cb := sre.NewBreaker()
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if err := cb.Allow(); err != nil {
			cb.MarkFailed()
			return err
		}
		err := invoker(ctx, method, req, reply, cc, opts...)
		switch status.Code(err) {
		case codes.Internal, codes.Unavailable, codes.DeadlineExceeded:
			cb.MarkFailed()
		default:
			cb.MarkSuccess()
		}
		return err
	}
}

const aegisDefault = "aegis sre: success 0.6, at least 100 requests in 3 s, around "

func aegisClients(t Tuning) []Client {
	return []Client{
		chainOf(lab.Contender{
			Name: "aegis + middleware retry (default)", Config: aegisDefault + middlewareDefault,
			Why: "its defaults; marked as kratos' own middleware does",
		}, func() []grpc.UnaryClientInterceptor {
			return []grpc.UnaryClientInterceptor{aegisBreaker(), Middleware()}
		}),
		chainOf(lab.Contender{
			Name: "aegis + middleware retry (tuned)", Config: aegisDefault + middlewareTunedConfig(t),
			Why: "our attempts and backoff; its own settings suit 280 calls a second",
		}, func() []grpc.UnaryClientInterceptor {
			return []grpc.UnaryClientInterceptor{aegisBreaker(), middlewareTuned(t)}
		}),
	}
}
