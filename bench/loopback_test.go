package bench

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/astra-grpc/astra/bench/peers"
)

// serve starts gRPC's health service on a loopback port.
func serve(tb testing.TB) (addr string) {
	tb.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	service := health.NewServer()
	service.SetServingStatus(request().GetService(), healthpb.HealthCheckResponse_SERVING)
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, service)
	go func() { _ = server.Serve(lis) }()
	tb.Cleanup(server.Stop)
	return lis.Addr().String()
}

// client is a connection that is measured.
type client struct {
	name string
	cc   *grpc.ClientConn
}

// The clients, as rows of the table.
const (
	plainClient = iota
	astraClient
)

func clients(tb testing.TB, addr string) []client {
	s := peers.Astra()
	tb.Cleanup(func() { _ = s.Close() })
	return []client{
		plainClient: {"grpc-go", dial(tb, addr)},
		astraClient: {"grpc-go with astra", dial(tb, addr, s.DialOptions()...)},
	}
}

// endToEnd measures calls through a generated stub, TCP and a server. The
// server's allocations are counted too; they are the same for all.
func endToEnd(c client) func(*testing.B) {
	return func(b *testing.B) {
		stub, req := healthpb.NewHealthClient(c.cc), request()
		if _, err := stub.Check(context.Background(), req); err != nil { // connects
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := stub.Check(context.Background(), req); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkEndToEnd(b *testing.B) {
	for _, c := range clients(b, serve(b)) {
		b.Run(c.name, endToEnd(c))
	}
}
