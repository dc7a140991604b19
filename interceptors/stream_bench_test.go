package interceptors_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
)

// contenders are a bare connection and one with the default suite, to the same
// kind of server.
func contenders(b *testing.B, run func(b *testing.B, server *flakyserver.Server, client greeterpb.GreeterClient)) {
	b.Helper()
	for name, opts := range map[string]func() []grpc.DialOption{
		"bare": func() []grpc.DialOption { return []grpc.DialOption{grpc.WithDisableRetry()} },
		"astra": func() []grpc.DialOption {
			return newSuite(b, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{
				Backoff: jitter.Backoff{Base: 1, Max: 1}, BufferBytes: 4 << 20,
			}})).DialOptions()
		},
	} {
		b.Run(name, func(b *testing.B) {
			server, err := flakyserver.Start(flakyserver.WithLog(0))
			if err != nil {
				b.Fatal(err)
			}
			defer server.Close()
			cc, err := server.Dial(opts()...)
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = cc.Close() }()
			b.ReportAllocs()
			run(b, server, greeterpb.NewGreeterClient(cc))
		})
	}
}

// BenchmarkStreamMessage is a message there and back on a committed stream.
func BenchmarkStreamMessage(b *testing.B) {
	contenders(b, func(b *testing.B, _ *flakyserver.Server, client greeterpb.GreeterClient) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream, err := client.SayHelloBidi(ctx)
		if err != nil {
			b.Fatal(err)
		}
		m := &greeterpb.HelloRequest{Name: "Ann"}
		for b.Loop() {
			if err := stream.Send(m); err != nil {
				b.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkStreamSetUp is a server stream from its request to its end.
func BenchmarkStreamSetUp(b *testing.B) {
	contenders(b, func(b *testing.B, _ *flakyserver.Server, client greeterpb.GreeterClient) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		m := &greeterpb.HelloRequest{Name: "Ann"}
		for b.Loop() {
			stream, err := client.SayHelloServerStream(ctx, m)
			for err == nil {
				_, err = stream.Recv()
			}
			if !errors.Is(err, io.EOF) {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkStreamReplay is a client stream of 1 MiB that fails at its end and
// is sent again: by hand on the bare connection, by replay on ours.
func BenchmarkStreamReplay(b *testing.B) {
	const messages = 64
	m := &greeterpb.HelloRequest{Name: strings.Repeat("x", 16<<10)}
	upload := func(client greeterpb.GreeterClient) error {
		stream, err := client.SayHelloClientStream(context.Background())
		for i := 0; err == nil && i < messages; i++ {
			err = stream.Send(m)
		}
		if err == nil || errors.Is(err, io.EOF) {
			_, err = stream.CloseAndRecv()
		}
		return err
	}
	contenders(b, func(b *testing.B, server *flakyserver.Server, client greeterpb.GreeterClient) {
		for b.Loop() {
			server.Script(helloClient, flakyserver.Fail(codes.Unavailable, "").AfterReceived(messages))
			if err := upload(client); err != nil {
				if err := upload(client); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
