package interceptors_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// TestHeaderClosesTheBreaker: a stream that probes is answered by its header, be
// anybody in RecvMsg or not; what is silent after that may be so by design.
func TestHeaderClosesTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s := newSuite(t, interceptors.WithObserver(events), interceptors.WithMethodPolicy(method, interceptors.Policy{
			Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Consecutive: 1},
		}))
		stream, err := innerStreams(t.Context(), s, func(int, context.Context) (grpc.ClientStream, error) {
			return nil, status.Error(codes.Unavailable, "scripted")
		})
		if err == nil {
			_ = stream.SendMsg(&greeterpb.HelloRequest{})
			err = stream.RecvMsg(&greeterpb.HelloReply{})
		}
		wantCode(t, err, codes.Unavailable)
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		if stream, err = innerStreams(ctx, s, func(_ int, ctx context.Context) (grpc.ClientStream, error) {
			return &inner{ctx: ctx, recv: func(any) error { <-ctx.Done(); return ctx.Err() }}, nil
		}); err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&greeterpb.HelloRequest{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // nobody receives
		var states []observe.BreakerState
		for _, e := range events.got {
			if e.Kind == observe.BreakerChange {
				states = append(states, e.To)
			}
		}
		if want := []observe.BreakerState{observe.BreakerOpen, observe.BreakerHalfOpen, observe.BreakerClosed}; !slices.Equal(states, want) {
			t.Errorf("%v, want %v", states, want)
		}
		cancel()
		if err := stream.RecvMsg(&greeterpb.HelloReply{}); err == nil {
			t.Error("a stream whose context has ended goes on")
		}
	})
}

// TestAttemptsOfAHedgedStreamThatIsCut: observers see them end as the stream did, not as
// lost to one another.
func TestAttemptsOfAHedgedStreamThatIsCut(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(cancel context.CancelFunc)
		code codes.Code
	}{
		"deadline":  {func(context.CancelFunc) { time.Sleep(time.Second) }, codes.DeadlineExceeded},
		"cancelled": {func(cancel context.CancelFunc) { time.Sleep(25 * ms); cancel(); time.Sleep(ms) }, codes.Canceled},
	} {
		hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, events *hedgeEvents) {
			s.Always(helloServer, flakyserver.Hang())
			ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
			defer cancel()
			stream, err := g.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"})
			if err != nil {
				t.Fatal(err)
			}
			c.end(cancel) // nobody receives meanwhile
			if _, err := stream.Recv(); status.Code(err) != c.code {
				t.Errorf("%s: %v", name, err)
			}
			synctest.Wait()
			events.mu.Lock()
			defer events.mu.Unlock()
			n := 0
			for _, e := range events.got {
				if e.Kind == observe.AttemptEnd {
					if n++; e.Code != c.code {
						t.Errorf("%s: attempt %d ended with %v", name, e.Attempt, e.Err)
					}
				}
			}
			if n == 0 {
				t.Errorf("%s: no attempt has ended", name)
			}
		})
	}
}

// TestLosersAreNotLogged: an attempt that was given up, and ends, has not panicked.
func TestLosersAreNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		answer, err := question(t.Context(), s, &script{steps: []step{take(time.Hour, "a"), take(5*ms, "b")}})
		synctest.Wait()
		if err != nil || answer != "b" || len(log.String()) > 0 {
			t.Errorf("%q, %v, logged %q", answer, err, log.String())
		}
	})
}

// TestReplayedMessagesAreEmitted: how many, for each attempt that was sent any again.
func TestReplayedMessagesAreEmitted(t *testing.T) {
	events := &hedgeEvents{}
	w := overTCP(t, interceptors.WithObserver(events))
	w.Script(helloServer, flakyserver.Fail(codes.Unavailable, ""), flakyserver.Fail(codes.Unavailable, ""), flakyserver.OK())
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	events.mu.Lock()
	defer events.mu.Unlock()
	var got [][2]int
	for _, e := range events.got {
		if e.Kind == observe.Replayed {
			got = append(got, [2]int{e.Attempt, e.Messages})
		}
	}
	if want := [][2]int{{2, 1}, {3, 1}}; !slices.Equal(got, want) {
		t.Errorf("attempts and messages %v, want %v", got, want)
	}
}

// TestHedgedStreamThatProbesIsASuccessOnceWon: by its first message, however long it
// lives after that.
func TestHedgedStreamThatProbesIsASuccessOnceWon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s := newSuite(t, interceptors.WithObserver(events), interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}, Breaker: interceptors.Breaker{Consecutive: 1},
		}))
		open := func(ctx context.Context, recv func(any) error) grpc.ClientStream {
			stream, err := innerStreams(ctx, s, func(_ int, ctx context.Context) (grpc.ClientStream, error) {
				return &inner{ctx: ctx, recv: recv}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(&greeterpb.HelloRequest{}); err != nil {
				t.Fatal(err)
			}
			return stream
		}
		ctx, cancel := context.WithCancel(t.Context())
		failed := open(ctx, func(any) error { return status.Error(codes.Internal, "scripted") })
		wantCode(t, failed.RecvMsg(&greeterpb.HelloReply{}), codes.Internal)
		time.Sleep(time.Minute)
		first := true
		lives := open(ctx, func(any) error {
			if first {
				first = false
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if err := lives.RecvMsg(&greeterpb.HelloReply{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var last observe.BreakerState
		for _, e := range events.got {
			if e.Kind == observe.BreakerChange {
				last = e.To
			}
		}
		if n := events.count(observe.BreakerChange); last != observe.BreakerClosed || n != 3 {
			t.Errorf("%v after %d changes, want it closed after three", last, n)
		}
		cancel()
		if err := lives.RecvMsg(&greeterpb.HelloReply{}); err == nil {
			t.Error("a stream whose context has ended goes on")
		}
	})
}
