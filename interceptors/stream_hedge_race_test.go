package interceptors_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
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
			md := stream.Trailer()
			delete(md, "content-type") // the server's own end may come at the same moment
			if len(md) > 0 {
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

// inner is a scripted inner stream.
type inner struct {
	grpc.ClientStream
	ctx  context.Context
	recv func(m any) error
}

func (s *inner) SendMsg(any) error { return nil }
func (s *inner) CloseSend() error  { return nil }
func (s *inner) Header() (metadata.MD, error) {
	return metadata.MD{}, nil
}
func (s *inner) Trailer() metadata.MD     { return nil }
func (s *inner) Context() context.Context { return s.ctx }
func (s *inner) RecvMsg(m any) error      { return s.recv(m) }

// innerStreams opens a hedged server stream over inner ones.
func innerStreams(ctx context.Context, s *interceptors.Suite, open func(n int, ctx context.Context) (grpc.ClientStream, error), opts ...grpc.CallOption) (grpc.ClientStream, error) {
	var n atomic.Int32
	return s.StreamClientInterceptor()(ctx, &grpc.StreamDesc{ServerStreams: true}, nil, method,
		func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(int(n.Add(1)), ctx)
		}, opts...)
}

// anyCodec encodes everything, nil too, as nothing.
type anyCodec struct{ encoding.CodecV2 }

func (anyCodec) Marshal(any) (mem.BufferSlice, error) { return nil, nil }
func (anyCodec) Unmarshal(mem.BufferSlice, any) error { return nil }
func (anyCodec) Name() string                         { return "any" }

// TestHedgedStreamOfNothing: a codec may have a nil for a message.
func TestHedgedStreamOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}), interceptors.WithObserver(events))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var opened atomic.Int32
		stream, err := innerStreams(ctx, s, func(n int, ctx context.Context) (grpc.ClientStream, error) {
			opened.Store(int32(n))
			return &inner{ctx: ctx, recv: func(any) error { return io.EOF }}, nil
		}, grpc.ForceCodecV2(anyCodec{}))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(nil); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(nil); !errors.Is(err, io.EOF) {
			t.Errorf("%v, want the end", err)
		}
		synctest.Wait()
		if want := []string{"attempt 1 first OK", "call 1 success_first"}; opened.Load() != 1 || !slices.Equal(events.lines(), want) {
			t.Errorf("%d attempts, got %v", opened.Load(), events.lines())
		}
		stream, err = innerStreams(ctx, s, func(int, context.Context) (grpc.ClientStream, error) {
			return &inner{recv: func(any) error { return io.EOF }}, nil
		}, grpc.ForceCodecV2(anyCodec{}))
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.SendMsg(nil)
		wantCode(t, stream.SendMsg(nil), codes.Internal)
	})
}

// TestHedgedStreamReceivedFromBeforeItIsSentTo: the request may come on another
// goroutine, while RecvMsg opens the stream.
func TestHedgedStreamReceivedFromBeforeItIsSentTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}), interceptors.WithObserver(events))
		var opened atomic.Int32
		stream, err := innerStreams(t.Context(), s, func(n int, ctx context.Context) (grpc.ClientStream, error) {
			opened.Store(int32(n))
			time.Sleep(5 * ms)
			return &inner{ctx: ctx, recv: func(any) error { time.Sleep(5 * ms); return io.EOF }}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		received := make(chan error, 1)
		go func() { received <- stream.RecvMsg(new(greeterpb.HelloReply)) }()
		synctest.Wait()
		if err := stream.SendMsg(&greeterpb.HelloRequest{}); err != nil {
			t.Error(err)
		}
		if err := <-received; !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		synctest.Wait()
		if want := []string{"attempt 1 first OK", "call 1 success_first"}; opened.Load() != 1 || !slices.Equal(events.lines(), want) {
			t.Errorf("%d attempts, got %v", opened.Load(), events.lines())
		}
	})
}

// TestPanicsUnderAHedgedStream settle it, whoever opens it.
func TestPanicsUnderAHedgedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, do := range map[string]func(grpc.ClientStream){
			"RecvMsg":   func(s grpc.ClientStream) { _ = s.RecvMsg(new(greeterpb.HelloReply)) },
			"CloseSend": func(s grpc.ClientStream) { _ = s.CloseSend() },
			"Header":    func(s grpc.ClientStream) { _, _ = s.Header() },
			"Context":   func(s grpc.ClientStream) { s.Context() },
		} {
			events := &hedgeEvents{}
			s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}), interceptors.WithObserver(events))
			finished := 0
			stream, err := innerStreams(t.Context(), s, func(int, context.Context) (grpc.ClientStream, error) { panic("boom") },
				grpc.OnFinish(func(error) { finished++ }))
			if err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if p := recover(); p != "boom" {
						t.Errorf("%s: recovered %v, want boom", name, p)
					}
				}()
				do(stream)
			}()
			if events.count(observe.CallEnd) != 1 || events.count(observe.AttemptEnd) != 1 || finished != 1 {
				t.Errorf("%s: got %v, finished %d times", name, events.lines(), finished)
			}
		}
	})
}

// TestHedgedStreamNobodyWaitsForAReceiver: while RecvMsg waits for the first
// message, CloseSend returns at once and Header when there is one.
func TestHedgedStreamNobodyWaitsForAReceiver(t *testing.T) {
	hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, _ *hedgeEvents) {
		s.Script(helloServer, flakyserver.Hang(), flakyserver.OK().Header("from", "second").AfterReplies(0).Stall(time.Hour))
		stream, err := g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
		if err != nil {
			t.Fatal(err)
		}
		began, received := time.Now(), make(chan []string)
		go func() {
			got, err := all(stream)
			if err != nil {
				t.Error(err)
			}
			received <- got
		}()
		synctest.Wait()
		if err := stream.CloseSend(); err != nil || time.Since(began) != 0 {
			t.Errorf("CloseSend: %v after %v", err, time.Since(began))
		}
		md, err := stream.Header()
		if err != nil || len(md.Get("from")) != 1 || time.Since(began) != 10*ms {
			t.Errorf("%v, %v after %v, want the second's header after 10 ms", md, err, time.Since(began))
		}
		if got := <-received; len(got) > 0 || time.Since(began) != time.Hour+10*ms {
			t.Errorf("received %q", got)
		}
	})
}

// TestAttemptTimeoutBeforeAnybodyReceives: of an attempt that has not ended by
// itself header, trailer and peer are not looked at: it may still write them.
func TestAttemptTimeoutBeforeAnybodyReceives(t *testing.T) {
	server, err := flakyserver.Start(flakyserver.WithLog(0))
	if err != nil {
		t.Fatal(err)
	}
	w := dialSuite(t, server, newSuite(t, interceptors.WithMethodPolicy(helloServer, interceptors.Policy{
		Hedge:          interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour},
		AttemptTimeout: 2 * ms,
		Breaker:        interceptors.Breaker{Disabled: true},
		Budget:         interceptors.Budget{Burst: 1, MinPerSecond: 1e-9},
	})))
	w.Always(helloServer, flakyserver.Hang())
	for range 50 {
		var header, trailer metadata.MD
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := greeterpb.NewGreeterClient(w.cc).SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"}, grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(3 * ms)
		_, err = stream.Recv()
		wantCode(t, err, codes.DeadlineExceeded)
		_ = len(header) + len(trailer) + len(stream.Trailer())
		cancel()
	}
}

// TestWhoReceivesLateIsNotSlow: the time that the caller lets pass before it
// asks for the first message is none that the server took.
func TestWhoReceivesLateIsNotSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := flakyserver.StartBuffer()
		defer server.Close()
		suite := newSuite(t, interceptors.WithMethodPolicy(helloServer, interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2}}))
		cc, err := server.Dial(suite.DialOptions()...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		g := greeterpb.NewGreeterClient(cc)
		receive := func(late time.Duration) (took time.Duration) {
			stream, err := g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(late)
			began := time.Now()
			if _, err := all(stream); err != nil {
				t.Fatal(err)
			}
			return time.Since(began)
		}
		server.Always(helloServer, flakyserver.OK().After(5*ms))
		for range 110 {
			receive(200 * ms)
		}
		server.Script(helloServer, flakyserver.Hang(), flakyserver.OK())
		if took := receive(0); took > 10*ms {
			t.Errorf("hedged after %v, want about 5 ms, what the server takes", took)
		}
	})
}

// TestHedgedStreamsWarnOfRetriesBeneath, as other calls do.
func TestHedgedStreamsWarnOfRetriesBeneath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		warnOfRetriesBeneath(t, flakyserver.StartBuffer(),
			interceptors.WithMethodPolicy(helloServer, interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: time.Second}}))
	})
}

// warnOfRetriesBeneath makes three streams over a connection whose service config has
// grpc-go retry: the suite warns once.
func warnOfRetriesBeneath(t *testing.T, server *flakyserver.Server, opts ...interceptors.Option) {
	t.Helper()
	const config = `{"methodConfig":[{"name":[{"service":"helloworld.Greeter"}],"retryPolicy":
		{"maxAttempts":2,"initialBackoff":"0.001s","maxBackoff":"0.01s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
	var log logBuffer
	s := newSuite(t, append(opts, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
	w := dialServer(t, server, grpc.WithChainStreamInterceptor(s.StreamClientInterceptor()), grpc.WithDefaultServiceConfig(config))
	for range 3 {
		stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all(stream); err != nil {
			t.Error(err)
		}
	}
	if got := strings.Count(log.String(), "retry policy"); got != 1 {
		t.Errorf("%d warnings, want one:\n%s", got, log.String())
	}
}

// TestHedgedProbe: a stream is known to be answered once it has a header or a
// message, whichever of its methods finds out.
func TestHedgedProbe(t *testing.T) {
	for _, calls := range [][]string{{"recv"}, {"header"}, {"context", "recv"}} {
		synctest.Test(t, func(t *testing.T) {
			var endpoint observe.Endpoint
			s := newSuite(t, interceptors.WithObserver(ask(func(e observe.Endpoint) { endpoint = e })), interceptors.WithMethodPolicy(method, interceptors.Policy{
				Hedge:   interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms},
				Breaker: interceptors.Breaker{Consecutive: 1},
			}))
			_, err := question(t.Context(), s, play(failAfter(0, codes.Unavailable, nil)))
			wantCode(t, err, codes.Unavailable)
			time.Sleep(2 * time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := innerStreams(ctx, s, func(_ int, ctx context.Context) (grpc.ClientStream, error) {
				return &inner{ctx: ctx, recv: func(any) error { return nil }}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := use(stream, "send"); err != nil {
				t.Fatal(err)
			}
			for _, do := range calls {
				if state, _ := endpoint.BreakerState(); state != observe.BreakerHalfOpen {
					t.Errorf("%s: %v before there is an answer", calls, state)
				}
				if err := use(stream, do); err != nil {
					t.Error(err)
				}
			}
			if state, _ := endpoint.BreakerState(); state != observe.BreakerClosed {
				t.Errorf("%s: %v, want the breaker closed", calls, state)
			}
		})
	}
}

// TestWhoseHeaderIsAskedFor is what the call is reported to have succeeded by.
func TestWhoseHeaderIsAskedFor(t *testing.T) {
	for _, tc := range []struct{ steps, want []string }{
		{[]string{"hang", "ok"}, []string{"2 won", "attempt 1 first Canceled", "attempt 2 hedge OK", "call 2 success_hedge"}},
		{[]string{"late", "hang"}, []string{"attempt 2 hedge Canceled", "2 lost", "attempt 1 first OK", "call 2 success_first"}},
	} {
		hedgedStreams(t, interceptors.Policy{}, func(t *testing.T, s *flakyserver.Server, g greeterpb.GreeterClient, events *hedgeEvents) {
			steps := map[string]flakyserver.Step{"hang": flakyserver.Hang(), "ok": flakyserver.OK(), "late": flakyserver.OK().After(15 * ms)}
			s.Script(helloServer, steps[tc.steps[0]], steps[tc.steps[1]])
			stream, err := g.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Header(); err != nil {
				t.Error(err)
			}
			if _, err := all(stream); err != nil {
				t.Error(err)
			}
			if got := events.lines(); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// unsendable is an inner stream that has ended before it is sent to.
type unsendable struct{ silent }

func (*unsendable) SendMsg(any) error { return io.EOF }

// TestHedgedStreamThatDiesAtOnce: how it ended is what RecvMsg says.
func TestHedgedStreamThatDiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Second}))
		began := time.Now()
		stream, err := innerStreams(t.Context(), s, func(n int, ctx context.Context) (grpc.ClientStream, error) {
			if n == 1 {
				return &unsendable{silent{inner{ctx: ctx, recv: func(any) error { return fails(codes.Unavailable).err }}}}, nil
			}
			return &inner{ctx: ctx, recv: func(any) error { return nil }}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(use(stream, "send"), use(stream, "recv")); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v, want the second's message at once", err, time.Since(began))
		}
	})
}

// TestContextOfAStreamThatCannotBeOpened: an attempt that has failed is not made
// the stream.
func TestContextOfAStreamThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Second}))
		type mark struct{}
		stream, err := innerStreams(t.Context(), s, func(n int, ctx context.Context) (grpc.ClientStream, error) {
			if n == 1 {
				time.Sleep(5 * ms)
				return nil, fails(codes.Unavailable).err
			}
			return &inner{ctx: context.WithValue(ctx, mark{}, n), recv: func(any) error { return nil }}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := use(stream, "send"); err != nil {
			t.Fatal(err)
		}
		if n := stream.Context().Value(mark{}); n != 2 {
			t.Errorf("the context is that of attempt %v, want 2", n)
		}
		if err := use(stream, "recv"); err != nil {
			t.Error(err)
		}
	})
}
