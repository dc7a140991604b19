package interceptors_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// TestPeerOfAStreamThatTimedOut: which server hung is what one wants to know.
func TestPeerOfAStreamThatTimedOut(t *testing.T) {
	for name, p := range map[string]interceptors.Policy{
		"retried": quick,
		"hedged":  {Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour}},
	} {
		t.Run(name, func(t *testing.T) {
			w := overTCP(t, interceptors.WithMethodPolicy(helloServer, p))
			if _, err := w.SayHello(within(t), &greeterpb.HelloRequest{}); err != nil { // there is a connection now
				t.Fatal(err)
			}
			w.Always(helloServer, flakyserver.Hang())
			for range 5 {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
				var p peer.Peer
				stream, err := w.SayHelloServerStream(ctx, &greeterpb.HelloRequest{}, grpc.Peer(&p))
				for err == nil {
					_, err = stream.Recv()
				}
				cancel()
				wantCode(t, err, codes.DeadlineExceeded)
				if p.Addr == nil {
					t.Error("no peer")
				}
			}
		})
	}
}
