package overhead

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// client is a connection that is measured.
type client struct {
	name string
	ours bool
	stub greeterpb.GreeterClient
}

// The clients, as rows of the table.
const (
	plainClient = iota
	astraClient
)

// clients are connections to one server.
func (o *Overhead) clients() ([]client, error) {
	server, err := flakyserver.Start(flakyserver.WithLog(0))
	if err != nil {
		return nil, err
	}
	o.onClose(server.Close)
	s := peers.Astra()
	o.onClose(func() { _ = s.Close() })
	all := []client{
		plainClient: {name: "grpc-go"},
		astraClient: {name: "grpc-go with astra", ours: true},
		{name: "grpc-go with go-grpc-middleware retry"},
	}
	for i, opts := range [][]grpc.DialOption{
		{grpc.WithDisableRetry()},
		s.DialOptions(),
		{
			grpc.WithDisableRetry(),
			grpc.WithChainUnaryInterceptor(peers.Middleware()),
			grpc.WithChainStreamInterceptor(retry.StreamClientInterceptor(retry.WithMax(peers.Attempts))),
		},
	} {
		cc, err := server.Dial(opts...)
		if err != nil {
			return nil, err
		}
		o.onClose(func() { _ = cc.Close() })
		all[i].stub = greeterpb.NewGreeterClient(cc)
	}
	return all, nil
}

// endToEnd measures calls through a generated stub, TCP and a server. The
// server's allocations are counted too; they are the same for all.
func endToEnd(c client) func(*testing.B) {
	return func(b *testing.B) {
		req := request()
		if _, err := c.stub.SayHello(context.Background(), req); err != nil { // connects
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.stub.SayHello(context.Background(), req); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// perMessage measures a message there and back on a bidirectional stream that
// has been answered. The middleware is not among them: it fails such streams.
func perMessage(c client) func(*testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream, err := c.stub.SayHelloBidi(ctx)
		if err != nil {
			b.Fatal(err)
		}
		req := request()
		exchange := func() {
			if err := stream.Send(req); err != nil {
				b.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				b.Fatal(err)
			}
		}
		exchange() // commits
		b.ReportAllocs()
		for b.Loop() {
			exchange()
		}
	}
}

// setUp measures a server stream from its request over three messages to its
// end.
func setUp(c client) func(*testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		req := request()
		b.ReportAllocs()
		for b.Loop() {
			stream, err := c.stub.SayHelloServerStream(ctx, req)
			for err == nil {
				_, err = stream.Recv()
			}
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		}
	}
}
