package interceptors_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// TestHedgedStreamThatNobodyWon: its trailer and context can be asked for, as
// those of any stream that has ended.
func TestHedgedStreamThatNobodyWon(t *testing.T) {
	hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
		s.Always(helloServer, flakyserver.Hang())
		for _, waits := range []bool{true, false} {
			ctx, cancel := context.WithTimeout(t.Context(), 25*ms)
			stream, err := g.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"})
			if err != nil {
				t.Fatal(err)
			}
			if !waits {
				time.Sleep(time.Second) // the stream ends meanwhile
			}
			_, err = stream.Recv()
			wantCode(t, err, codes.DeadlineExceeded)
			if md := stream.Trailer(); len(md) > 0 {
				t.Errorf("trailer %v", md)
			}
			if stream.Context().Err() == nil {
				t.Error("its context lives")
			}
			if md, err := stream.Header(); md != nil || err != nil {
				t.Errorf("header %v, %v", md, err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Error(err)
			}
			cancel()
		}
	})
}
