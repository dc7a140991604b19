package bench

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/interceptors"
)

// contender is an interceptor that is measured.
type contender struct {
	name string
	call grpc.UnaryClientInterceptor
}

// The contenders of the success path, as rows of the table.
const (
	astraFull = iota
	astraBare
	middleware
	gobreaker
	grpcprom
	chain
	failsafe
	failsafeRetry
)

func contenders(tb testing.TB) []contender {
	return []contender{
		astraFull:     {"astra: retry, budget, breaker, metrics", suite(tb, peers.Astra())},
		astraBare:     {"astra: the same without metrics", suite(tb, peers.AstraBare())},
		middleware:    {"go-grpc-middleware retry", peers.Middleware()},
		gobreaker:     {"gobreaker", peers.Gobreaker()},
		grpcprom:      {"grpcprom", peers.Grpcprom()},
		chain:         {"chain: grpcprom, gobreaker, middleware retry", peers.Chain()},
		failsafe:      {"failsafegrpc: retry, breaker", peers.Failsafe()},
		failsafeRetry: {"failsafegrpc: retry", peers.FailsafeRetry()},
	}
}

// suite returns a suite's interceptor; the suite is closed with the test.
func suite(tb testing.TB, s *interceptors.Suite) grpc.UnaryClientInterceptor {
	tb.Cleanup(func() { _ = s.Close() })
	return s.UnaryClientInterceptor()
}

// method is what is called, on the no-op invoker and on the real server.
const method = healthpb.Health_Check_FullMethodName

// newConn returns a connection that is never used: interceptors read its
// target.
func newConn(tb testing.TB) *grpc.ClientConn {
	return dial(tb, "passthrough:///bench")
}

func dial(tb testing.TB, target string, opts ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	cc, err := grpc.NewClient(target, append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = cc.Close() })
	return cc
}

func request() *healthpb.HealthCheckRequest {
	return &healthpb.HealthCheckRequest{Service: "helloworld.Greeter"}
}

// succeed is the no-op invoker: what is measured around it is all overhead.
func succeed(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}
