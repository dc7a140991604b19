package interceptors_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// slowEnds is an observer that takes its time at the end of attempts.
type slowEnds struct{}

func (slowEnds) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: func(_ context.Context, e observe.Event) {
		if e.Kind == observe.AttemptEnd {
			time.Sleep(4 * ms)
		}
	}}
}

// TestHeaderOfAHedgedStreamThatIsBeingWon: it may be asked for while those that
// lost are given up. The race detector sees if that is not guarded.
func TestHeaderOfAHedgedStreamThatIsBeingWon(t *testing.T) {
	s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: ms}), interceptors.WithObserver(slowEnds{}))
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		won := make(chan struct{})
		stream, err := innerStreams(ctx, s, func(n int, ctx context.Context) (grpc.ClientStream, error) {
			return &inner{ctx: ctx, recv: func(any) error {
				if n == 1 {
					<-ctx.Done()
					return ctx.Err()
				}
				close(won)
				return nil
			}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&greeterpb.HelloRequest{}); err != nil {
			t.Fatal(err)
		}
		var asked sync.WaitGroup
		asked.Go(func() {
			<-won
			time.Sleep(2 * ms) // the loser is being given up: nothing else may order the two
			if md, err := stream.Header(); md == nil || err != nil {
				t.Errorf("header %v, %v", md, err)
			}
		})
		if err := stream.RecvMsg(new(greeterpb.HelloReply)); err != nil {
			t.Error(err)
		}
		asked.Wait()
		cancel()
	}
}

// TestHedgedStreamThatEndsAsItIsReceivedFrom: its context may end between its
// header and its first message. The race detector sees if that is not guarded.
func TestHedgedStreamThatEndsAsItIsReceivedFrom(t *testing.T) {
	s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour}))
	for range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := innerStreams(ctx, s, func(_ int, ctx context.Context) (grpc.ClientStream, error) {
			return &inner{ctx: ctx, recv: func(any) error {
				<-ctx.Done()
				return ctx.Err()
			}}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&greeterpb.HelloRequest{}); err != nil {
			t.Fatal(err)
		}
		if md, err := stream.Header(); md == nil || err != nil {
			t.Fatalf("header %v, %v", md, err)
		}
		go cancel()
		if err := stream.RecvMsg(new(greeterpb.HelloReply)); err == nil || errors.Is(err, io.EOF) {
			t.Error(err)
		}
		cancel()
	}
}

// TestOptionsOfAHedgedStreamThatIsCut before or while it is received from are filled as
// grpc-go fills them: once RecvMsg has returned the end.
func TestOptionsOfAHedgedStreamThatIsCut(t *testing.T) {
	for name, cut := range map[string]func(cancel func()){
		"before": func(cancel func()) { cancel() },
		"while":  func(cancel func()) { time.AfterFunc(5*ms, cancel) },
	} {
		hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
			s.Script(helloServer, flakyserver.Hang().Header("early", "yes"))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var header metadata.MD
			var from peer.Peer
			finished := 0
			stream, err := g.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"},
				grpc.Header(&header), grpc.Peer(&from), grpc.OnFinish(func(error) { finished++ }))
			if err != nil {
				t.Fatal(err)
			}
			if md, err := stream.Header(); len(md.Get("early")) != 1 || err != nil {
				t.Fatalf("header %v, %v", md, err)
			}
			cut(cancel)
			_, err = stream.Recv()
			wantCode(t, err, codes.Canceled)
			if len(header.Get("early")) != 1 || from.Addr == nil {
				t.Errorf("%s: header %v, peer %v", name, header, from.Addr)
			}
			synctest.Wait() // OnFinish may run beside, as grpc-go's
			if finished != 1 {
				t.Errorf("%s: finished %d times", name, finished)
			}
		})
	}
}
