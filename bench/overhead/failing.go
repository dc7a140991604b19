package overhead

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/bench/peers"
)

// Those of astra among the losers, as rows of the table.
const (
	astraRetry = iota
	astraPatient
)

// failers are the contenders of the failing path, without backoffs. The chain
// is not among them: its breaker would open.
func (o *Overhead) failers() []Contender {
	return []Contender{
		astraRetry:   {"astra: retry", true, o.suite(peers.AstraBare(peers.AstraRetryOnly()))},
		astraPatient: {"astra: retry, budget, breaker, metrics", true, o.suite(peers.Astra(peers.AstraPatient()))},
		{"go-grpc-middleware retry", false, peers.MiddlewareAtOnce()},
		{"failsafegrpc: retry", false, peers.FailsafeRetry()},
	}
}

// failing measures a call whose attempts all end with UNAVAILABLE. The
// invoker's error is made once, so all allocations are the contender's.
func failing(c Contender, cc *grpc.ClientConn) func(*testing.B) {
	down := status.Error(codes.Unavailable, "connection refused")
	return func(b *testing.B) {
		req, reply := request(), reply()
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
