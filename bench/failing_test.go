package bench

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/bench/peers"
)

// Those of astra among the losers, as rows of the table.
const (
	astraRetry = iota
	astraPatient
)

// losers are the contenders of the failing path, without backoffs. The chain
// is not among them: its breaker would open.
func losers(tb testing.TB) []contender {
	return []contender{
		astraRetry:   {"astra: retry", suite(tb, peers.AstraBare(peers.AstraRetryOnly()))},
		astraPatient: {"astra: retry, budget, breaker, metrics", suite(tb, peers.Astra(peers.AstraPatient()))},
		{"go-grpc-middleware retry", peers.MiddlewareAtOnce()},
		{"failsafegrpc: retry", peers.FailsafeRetry()},
	}
}

// failing measures a call whose attempts all end with UNAVAILABLE. The
// invoker's error is made once, so all allocations are the contender's.
func failing(c contender, cc *grpc.ClientConn) func(*testing.B) {
	down := status.Error(codes.Unavailable, "connection refused")
	return func(b *testing.B) {
		req, reply := request(), new(healthpb.HealthCheckResponse)
		attempts, calls := 0, 0
		fail := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			attempts++
			return down
		}
		b.ReportAllocs()
		for b.Loop() {
			calls++
			if err := c.call(context.Background(), method, req, reply, cc, fail); status.Code(err) != codes.Unavailable {
				b.Fatal(err)
			}
		}
		if attempts != peers.Attempts*calls {
			b.Fatalf("%d attempts of %d calls: want %d each", attempts, calls, peers.Attempts)
		}
	}
}

func BenchmarkFailing(b *testing.B) {
	cc := newConn(b)
	for _, c := range losers(b) {
		b.Run(c.name, failing(c, cc))
	}
}
