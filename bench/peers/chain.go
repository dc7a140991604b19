package peers

import (
	"context"

	"google.golang.org/grpc"
)

// Chain returns what a service puts together by hand to have what [Astra] has:
// metrics of calls, around a breaker that judges calls, around the retry. Each
// as it is when measured alone.
func Chain() grpc.UnaryClientInterceptor {
	return chained(Grpcprom(), Gobreaker(), Middleware())
}

// chained composes interceptors, the first outermost, with the same closures
// that grpc.WithChainUnaryInterceptor makes for each call.
func chained(all ...grpc.UnaryClientInterceptor) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return all[0](ctx, method, req, reply, cc, next(all, 0, invoker), opts...)
	}
}

func next(all []grpc.UnaryClientInterceptor, at int, final grpc.UnaryInvoker) grpc.UnaryInvoker {
	if at == len(all)-1 {
		return final
	}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
		return all[at+1](ctx, method, req, reply, cc, next(all, at+1, final), opts...)
	}
}
