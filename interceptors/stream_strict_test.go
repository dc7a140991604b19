package interceptors_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// strict is a scripted inner stream that faults who uses it as grpc-go forbids.
type strict struct {
	t      *testing.T
	ctx    context.Context
	cancel context.CancelFunc
	n      int
	opts   []grpc.CallOption

	send    func() error // nil: takes what comes
	recv    func() error
	header  func() (metadata.MD, error) // nil: there is one
	trailer metadata.MD

	closed, received atomic.Int32
	ended            atomic.Bool
}

func (s *strict) SendMsg(any) error {
	if s.send == nil {
		return nil
	}
	return s.send()
}

func (s *strict) RecvMsg(any) error {
	s.received.Add(1)
	err := s.recv()
	if err != nil {
		s.ended.Store(true)
	}
	return err
}

// failsAfterOne has it deliver one message, and fail.
func (s *strict) failsAfterOne() {
	got := 0
	s.recv = func() error {
		if got++; got > 1 {
			return fails(codes.Unavailable).err
		}
		return nil
	}
}

func (s *strict) Header() (metadata.MD, error) {
	if s.header == nil {
		return metadata.Pairs("of", "inner"), nil
	}
	return s.header()
}

func (s *strict) Trailer() metadata.MD {
	if !s.ended.Load() {
		s.t.Errorf("attempt %d is asked for its trailer while it lives", s.n)
	}
	return s.trailer
}

func (s *strict) CloseSend() error         { s.closed.Add(1); return nil }
func (s *strict) Context() context.Context { return s.ctx }

// hang receives nothing until the attempt's context ends.
func (s *strict) hang() error {
	<-s.ctx.Done()
	return status.FromContextError(s.ctx.Err()).Err()
}

// dies has the attempt fail without a word.
func (s *strict) dies() {
	s.header = func() (metadata.MD, error) { return nil, nil }
	s.recv = func() error { return fails(codes.Unavailable).err }
}

var (
	download = &grpc.StreamDesc{ServerStreams: true}
	both     = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
)

// strictly opens a stream over strict ones, which open scripts. Each has written a
// header to its options.
func strictly(t *testing.T, ctx context.Context, s *interceptors.Suite, desc *grpc.StreamDesc, open func(in *strict) error, opts ...grpc.CallOption) grpc.ClientStream {
	t.Helper()
	n := 0
	var mu sync.Mutex // hedges are opened side by side
	stream, err := s.StreamClientInterceptor()(ctx, desc, nil, method,
		func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			mu.Lock()
			defer mu.Unlock()
			n++
			in := &strict{t: t, n: n, opts: opts}
			in.ctx, in.cancel = context.WithCancel(ctx)
			context.AfterFunc(ctx, in.cancel)
			for _, o := range opts {
				if o, ok := o.(grpc.HeaderCallOption); ok {
					*o.HeaderAddr = metadata.Pairs("of", "inner")
				}
			}
			in.recv = in.hang
			if err := open(in); err != nil {
				return nil, err
			}
			return in, nil
		}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func send(t *testing.T, s grpc.ClientStream) {
	t.Helper()
	if err := use(s, "send"); err != nil {
		t.Fatal(err)
	}
}

var tooLarge = status.Error(codes.ResourceExhausted, "too large")

// TestMessageThatAnInterceptorRefuses ends the stream; the one beneath may live on, so
// it is neither waited for nor asked what it left.
func TestMessageThatAnInterceptorRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var header metadata.MD
		stream := strictly(t, ctx, newSuite(t), both, func(in *strict) error {
			in.send = func() error { return tooLarge }
			return nil
		}, grpc.Header(&header))
		wantCode(t, use(stream, "send"), codes.ResourceExhausted)
		wantCode(t, use(stream, "recv"), codes.ResourceExhausted)
		if err := use(stream, "send"); !errors.Is(err, io.EOF) {
			t.Errorf("SendMsg after that: %v", err)
		}
		if header != nil {
			t.Errorf("header %v of an attempt that may write it still", header)
		}
		cancel()
		synctest.Wait()
	})
}

// TestMessageThatGRPCRefuses has ended the stream beneath: what that left is given.
func TestMessageThatGRPCRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var header metadata.MD
		finished := 0
		stream := strictly(t, t.Context(), newSuite(t), both, func(in *strict) error {
			in.send = func() error {
				in.ended.Store(true)
				in.cancel()
				return tooLarge
			}
			return nil
		}, grpc.Header(&header), grpc.OnFinish(func(error) { finished++ }))
		wantCode(t, use(stream, "send"), codes.ResourceExhausted)
		if header == nil || finished != 1 {
			t.Errorf("header %v, finished %d times", header, finished)
		}
	})
}

// TestMessageRefusedWhileItsAttemptIsReplaced: the stream ends all the same, as
// without that message it would be another.
func TestMessageRefusedWhileItsAttemptIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}}
		refuse := make(chan struct{})
		stream := strictly(t, t.Context(), newSuite(t, interceptors.WithPolicy(p)), both, func(in *strict) error {
			if in.n == 1 {
				in.send = func() error { <-refuse; return tooLarge }
				in.dies()
			}
			return nil
		})
		sent, received := make(chan error, 1), make(chan error, 1)
		go func() { sent <- use(stream, "send") }()
		synctest.Wait()
		go func() { received <- use(stream, "recv") }()
		synctest.Wait() // it backs off
		close(refuse)
		wantCode(t, <-sent, codes.ResourceExhausted)
		wantCode(t, <-received, codes.ResourceExhausted)
	})
}

// TestMessageRefusedAfterTheEnd changes nothing about how the stream ended.
func TestMessageRefusedAfterTheEnd(t *testing.T) {
	for _, commits := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			refuse := make(chan struct{})
			stream := strictly(t, ctx, newSuite(t), both, func(in *strict) error {
				in.send = func() error { <-refuse; return tooLarge }
				return nil
			})
			if commits {
				stream.Context()
			}
			sent := make(chan error, 1)
			go func() { sent <- use(stream, "send") }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			close(refuse)
			<-sent
			wantCode(t, use(stream, "recv"), codes.Canceled)
		})
	}
}

// TestRefusedMessageIsNoFailure of the server's, be the stream committed or not, and
// received from to its end, as grpc-go ends it, or given up.
func TestRefusedMessageIsNoFailure(t *testing.T) {
	for _, commits := range []bool{false, true} {
		for _, received := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				s := newSuite(t, quiet(), interceptors.WithPolicy(interceptors.Policy{Breaker: interceptors.Breaker{Consecutive: 1}}))
				for range 2 { // a breaker that is open would not let the second begin
					ctx, cancel := context.WithCancel(t.Context())
					stream := strictly(t, ctx, s, both, func(in *strict) error {
						refused := status.Error(codes.Internal, "by an interceptor")
						in.send = func() error { return refused }
						in.recv = func() error { return refused }
						return nil
					})
					if commits {
						stream.Context()
					}
					wantCode(t, use(stream, "send"), codes.Internal)
					if received {
						wantCode(t, use(stream, "recv"), codes.Internal)
					}
					cancel()
					synctest.Wait()
				}
			})
		}
	}
}

// TestMessageRefusedOnAReplay by the sender, who finds its attempt dead, is the
// sender's error.
func TestMessageRefusedOnAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := strictly(t, t.Context(), newSuite(t), both, func(in *strict) error {
			sent := 0
			in.dies()
			in.send = func() error {
				switch sent++; {
				case in.n == 2:
					return tooLarge
				case sent == 2:
					return io.EOF
				}
				return nil
			}
			return nil
		})
		send(t, stream)
		wantCode(t, use(stream, "send"), codes.ResourceExhausted)
	})
}

// TestOptionsOfAStreamThatIsCut are filled once the stream beneath has ended too, and
// once: what the caller does with them after that is its own.
func TestOptionsOfAStreamThatIsCut(t *testing.T) {
	for name, cut := range map[string]func(cancel func(), stream grpc.ClientStream) error{
		"before it is received from": func(cancel func(), stream grpc.ClientStream) error {
			cancel()
			synctest.Wait()
			return use(stream, "recv")
		},
		"while it is": func(cancel func(), stream grpc.ClientStream) error {
			received := make(chan error, 1)
			go func() { received <- use(stream, "recv") }()
			synctest.Wait()
			cancel()
			return <-received
		},
		"after its header came": func(cancel func(), stream grpc.ClientStream) error {
			_ = use(stream, "header")
			cancel()
			synctest.Wait()
			return use(stream, "recv")
		},
	} {
		for kind, opt := range map[string]interceptors.Option{"retried": interceptors.WithPolicy(quick), "hedged": hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour})} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var header metadata.MD
				var in *strict
				stream := strictly(t, ctx, newSuite(t, opt), download, func(made *strict) error {
					in = made
					in.recv = func() error {
						<-in.ctx.Done()
						time.Sleep(lastWord / 2) // some take their time
						return in.hang()
					}
					return nil
				}, grpc.Header(&header))
				send(t, stream)
				synctest.Wait()
				wantCode(t, cut(cancel, stream), codes.Canceled)
				if hedgedEarly := kind == "hedged" && name == "before it is received from"; header == nil != hedgedEarly {
					t.Errorf("%s, %s: header %v", kind, name, header)
				}
				if header != nil && !in.ended.Load() {
					t.Errorf("%s, %s: filled while the stream beneath may write", kind, name)
				}
				header = nil
				wantCode(t, use(stream, "recv"), codes.Canceled)
				if header != nil {
					t.Errorf("%s, %s: header %v is filled again", kind, name, header)
				}
				synctest.Wait()
			})
		}
	}
}

const lastWord = 100 * ms

// TestOptionsOfAStreamThatHasEnded are filled once.
func TestOptionsOfAStreamThatHasEnded(t *testing.T) {
	for _, end := range []error{io.EOF, fails(codes.NotFound).err} {
		for _, opt := range []interceptors.Option{interceptors.WithPolicy(quick), hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour})} {
			synctest.Test(t, func(t *testing.T) {
				var header metadata.MD
				var in *strict
				stream := strictly(t, t.Context(), newSuite(t, opt), download, func(made *strict) error {
					in = made
					in.recv = func() error { return end }
					return nil
				}, grpc.Header(&header))
				send(t, stream)
				if err := use(stream, "recv"); !errors.Is(err, end) || header == nil {
					t.Errorf("%v, header %v", err, header)
				}
				header = nil
				if err := use(stream, "recv"); !errors.Is(err, end) || header != nil {
					t.Errorf("%v, header %v", err, header)
				}
				if n := in.received.Load(); n != 1 && !errors.Is(end, io.EOF) {
					t.Errorf("received %d times from what has failed", n)
				}
			})
		}
	}
}

// TestSendMsgOfAStreamThatIsCutUnderAReplay returns at once, however long the replay
// takes.
func TestSendMsgOfAStreamThatIsCutUnderAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		release := make(chan struct{})
		stream := strictly(t, ctx, newSuite(t, interceptors.WithPolicy(quick)), both, func(in *strict) error {
			if in.n == 1 {
				in.dies()
			} else {
				in.send = func() error { <-release; return nil }
				in.recv = func() error { <-release; return in.hang() }
			}
			return nil
		})
		send(t, stream)
		received, sent := make(chan error, 1), make(chan error, 1)
		go func() { received <- use(stream, "recv") }()
		time.Sleep(time.Second) // it is being sent again
		go func() { sent <- use(stream, "send") }()
		synctest.Wait()
		cancel()
		synctest.Wait()
		select {
		case err := <-sent:
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		default:
			t.Error("SendMsg waits for a replay that is nobody's any more")
		}
		close(release)
		wantCode(t, <-received, codes.Canceled)
		synctest.Wait()
	})
}

// TestAttemptThatDiesUnderItsReplay: the next one waits until the log is nobody's, and
// one goroutine makes it.
func TestAttemptThatDiesUnderItsReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		attempts := 0
		stream := strictly(t, t.Context(), newSuite(t, interceptors.WithPolicy(quick)), both, func(in *strict) error {
			attempts++
			if in.n < 3 {
				in.dies()
			} else {
				in.recv = func() error { return nil }
			}
			if in.n == 2 {
				in.send = func() error { <-release; return io.EOF }
			}
			return nil
		})
		send(t, stream)
		received, asked := make(chan error, 1), make(chan error, 1)
		go func() { received <- use(stream, "recv") }()
		time.Sleep(time.Second)
		go func() { asked <- use(stream, "header") }()
		synctest.Wait()
		close(release)
		if err := errors.Join(<-received, <-asked); err != nil || attempts != 3 {
			t.Errorf("%v after %d attempts, want success after three", err, attempts)
		}
	})
}

// TestHeaderOfAnAttemptThatIsCommittedMeanwhile: one without a header may have a
// message, which is the receiver's.
func TestHeaderOfAnAttemptThatIsCommittedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var in *strict
		stream := strictly(t, t.Context(), newSuite(t), both, func(made *strict) error {
			in = made
			in.header = func() (metadata.MD, error) { <-release; return nil, nil }
			in.recv = func() error { return io.EOF }
			return nil
		})
		asked := make(chan error, 1)
		go func() { asked <- use(stream, "header") }()
		synctest.Wait()
		stream.Context()
		close(release)
		if err := <-asked; err != nil || in.received.Load() != 0 {
			t.Errorf("%v, received %d times", err, in.received.Load())
		}
		if err := use(stream, "recv"); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// TestAttemptTimeoutEndsWithTheHeader, whoever waits for it; and what panics where
// nobody asked is met by who does.
func TestAttemptTimeoutEndsWithTheHeader(t *testing.T) {
	for _, panics := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{AttemptTimeout: 20 * ms}))
			stream := strictly(t, t.Context(), s, download, func(in *strict) error {
				in.header = func() (metadata.MD, error) {
					time.Sleep(5 * ms)
					if panics {
						panic("no header")
					}
					return metadata.MD{}, nil
				}
				in.recv = func() error { return in.ctx.Err() }
				return nil
			})
			send(t, stream)
			time.Sleep(15 * ms)
			if panics {
				if err := use(stream, "recv"); err != nil {
					t.Error(err)
				}
				return
			}
			time.Sleep(time.Hour)
			if err := use(stream, "recv"); err != nil {
				t.Errorf("%v of an attempt that was answered in time", err)
			}
		})
	}
}

// TestStreamThatTheServerCancels did not run out of time.
func TestStreamThatTheServerCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for code, took := range map[codes.Code]time.Duration{codes.Canceled: 0, codes.NotFound: 30 * ms} {
			s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{AttemptTimeout: 20 * ms}))
			stream := strictly(t, t.Context(), s, download, func(in *strict) error {
				in.header = func() (metadata.MD, error) { <-in.ctx.Done(); return nil, nil }
				in.recv = func() error { time.Sleep(took); return fails(code).err }
				return nil
			})
			send(t, stream)
			wantCode(t, use(stream, "recv"), code)
		}
	})
}

// TestLogIsLetGoOfOnceThereIsAHeader: nothing is sent again after that.
func TestLogIsLetGoOfOnceThereIsAHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		ctx, cancel := context.WithCancel(t.Context())
		sent := 0
		stream := strictly(t, ctx, s, both, func(in *strict) error {
			in.send = func() error {
				if sent++; sent > 1 {
					return io.EOF
				}
				return nil
			}
			return nil
		})
		send(t, stream)
		if s.ReplayBytes() == 0 {
			t.Error("nothing is kept of a message that may have to be sent again")
		}
		if err := use(stream, "send"); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if n := s.ReplayBytes(); n != 0 || sent != 2 {
			t.Errorf("%d bytes are kept, %d messages sent of two", n, sent)
		}
		cancel()
		synctest.Wait()
	})
}

// TestStreamsOfASuiteThatIsOld are retried no more often.
func TestStreamsOfASuiteThatIsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(quick))
		time.Sleep(time.Hour)
		attempts := 0
		stream := strictly(t, t.Context(), s, download, func(in *strict) error {
			attempts++
			in.dies()
			return nil
		})
		send(t, stream)
		wantCode(t, use(stream, "recv"), codes.Unavailable)
		if attempts != 3 {
			t.Errorf("%d attempts, want 3", attempts)
		}
	})
}

// TestResumedStreamIsItsLastAttempt: what ended an earlier one is forgotten, and the
// request that continues is the only message.
func TestResumedStreamIsItsLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type key string
		s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithResume(method, func(_ context.Context, sent, _ any) (any, bool) { return sent, true }))
		var made []*strict
		fatal := false
		ctx := context.WithValue(t.Context(), key("caller's"), 1)
		run := func() grpc.ClientStream {
			made = nil
			stream := strictly(t, ctx, s, download, func(in *strict) error {
				if made = append(made, in); in.n == 2 && fatal {
					return fails(codes.NotFound).err
				}
				in.ctx = context.WithValue(in.ctx, key("attempt's"), in.n)
				got := 0
				in.trailer = metadata.Pairs("of", "inner")
				in.recv = func() error {
					if got++; got == 1 {
						return nil
					} else if in.n == 1 {
						return fails(codes.Unavailable).err
					}
					return io.EOF
				}
				return nil
			})
			send(t, stream)
			if err := stream.CloseSend(); err != nil {
				t.Error(err)
			}
			return stream
		}
		stream := run()
		seen := stream.Context()
		if err := errors.Join(use(stream, "recv"), use(stream, "recv")); err != nil || len(made) != 2 || made[1].closed.Load() != 1 {
			t.Errorf("%v after %d attempts, the last closed %d times, want two and once", err, len(made), made[len(made)-1].closed.Load())
		}
		if seen.Value(key("caller's")) != 1 || seen.Value(key("attempt's")) != 1 {
			t.Error("the context has not the values of the caller's and the attempt's")
		}
		if err := use(stream, "recv"); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		fatal = true
		stream = run()
		if err := use(stream, "recv"); err != nil {
			t.Error(err)
		}
		wantCode(t, use(stream, "recv"), codes.NotFound)
		if md := stream.Trailer(); len(md) > 0 {
			t.Errorf("trailer %v of an attempt that was not the last", md)
		}
	})
}

// TestResumedStreamMayIdle: an attempt that continues has no AttemptTimeout, as the one before
// had none once it had delivered.
func TestResumedStreamMayIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := quick
		p.AttemptTimeout = 20 * ms
		s := newSuite(t, interceptors.WithPolicy(p), interceptors.WithResume(method, func(_ context.Context, sent, _ any) (any, bool) { return sent, true }))
		attempts := 0
		stream := strictly(t, t.Context(), s, download, func(in *strict) error {
			if attempts = in.n; in.n == 1 {
				in.failsAfterOne()
				return nil
			}
			answers := make(chan struct{})
			time.AfterFunc(time.Minute, func() { close(answers) })
			in.header = func() (metadata.MD, error) {
				select {
				case <-in.ctx.Done():
					return nil, in.hang()
				case <-answers:
					return metadata.MD{}, nil
				}
			}
			in.recv = func() error {
				if _, err := in.header(); err != nil || in.received.Load() > 1 {
					return cmp.Or(err, io.EOF)
				}
				return nil
			}
			return nil
		})
		send(t, stream)
		err := errors.Join(use(stream, "recv"), use(stream, "recv"))
		if err != nil || attempts != 2 {
			t.Errorf("%v after %d attempts, want the message of the second", err, attempts)
		}
		if err := use(stream, "recv"); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// TestHedgedStreamIsClosed: its request is the only message.
func TestHedgedStreamIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made []*strict
		stream := strictly(t, t.Context(), newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms})), download, func(in *strict) error {
			if made = append(made, in); in.n == 2 {
				in.recv = func() error { return nil }
			}
			return nil
		})
		send(t, stream)
		if err := use(stream, "recv"); err != nil || len(made) != 2 || made[0].closed.Load() != 1 || made[1].closed.Load() != 1 {
			t.Errorf("%v after %d attempts, want two that are closed once", err, len(made))
		}
	})
}

// TestHedgedStreamReceivedIntoWhatCannotBeMade ends, and its attempts.
func TestHedgedStreamReceivedIntoWhatCannotBeMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var in *strict
		stream := strictly(t, t.Context(), newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour})), download, func(made *strict) error {
			in = made
			return nil
		})
		send(t, stream)
		if err := stream.RecvMsg(struct{}{}); err == nil {
			t.Error("received into nothing that can be received into")
		}
		synctest.Wait()
		if in.ctx.Err() == nil {
			t.Error("an attempt lives on")
		}
		if err := stream.RecvMsg(new(wrapperspb.StringValue)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("then: %v", err)
		}
	})
}

// TestContextWhileAHedgedStreamRaces is that of who wins; or none, if nobody does.
func TestContextWhileAHedgedStreamRaces(t *testing.T) {
	for _, wins := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			type key struct{}
			stream := strictly(t, ctx, newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms})), download, func(in *strict) error {
				in.ctx = context.WithValue(in.ctx, key{}, in.n)
				if in.n == 2 && wins {
					in.recv = func() error { time.Sleep(20 * ms); return nil }
				}
				return nil
			})
			send(t, stream)
			received := make(chan error, 1)
			go func() { received <- use(stream, "recv") }()
			time.Sleep(5 * ms)
			asked := make(chan context.Context, 1)
			go func() { asked <- stream.Context() }()
			time.Sleep(50 * ms)
			if !wins {
				cancel()
			}
			of := <-asked
			if err := <-received; (err == nil) != wins {
				t.Error(err)
			}
			if n := of.Value(key{}); wins && n != 2 || !wins && of.Err() == nil {
				t.Errorf("wins %v: the context is attempt %v's, and has ended: %v", wins, n, of.Err())
			}
		})
	}
}

// TestHeaderThatCameBeforeItWasAskedFor decides at once, though somebody receives.
func TestHeaderThatCameBeforeItWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stream := strictly(t, ctx, newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour})), download, func(in *strict) error {
			in.recv = func() error { time.Sleep(10 * ms); return in.ctx.Err() }
			return nil
		})
		send(t, stream)
		received := make(chan error, 1)
		go func() { received <- use(stream, "recv") }()
		time.Sleep(5 * ms)
		began := time.Now()
		if err := use(stream, "header"); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := <-received; err != nil {
			t.Error(err)
		}
		cancel()
		synctest.Wait()
	})
}

// TestLastWordOfAHedgedStream is waited for, not for long, and only if somebody asks.
func TestLastWordOfAHedgedStream(t *testing.T) {
	for _, tc := range []struct {
		takes, want time.Duration
		asks        bool
	}{{lastWord / 2, lastWord / 2, true}, {time.Hour, lastWord, true}, {lastWord / 2, 0, false}} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			var header metadata.MD
			var opts []grpc.CallOption
			if tc.asks {
				opts = append(opts, grpc.Header(&header))
			}
			stream := strictly(t, ctx, newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour})), download, func(in *strict) error {
				in.recv = func() error { <-in.ctx.Done(); time.Sleep(tc.takes); return in.ctx.Err() }
				return nil
			}, opts...)
			send(t, stream)
			began := time.Now()
			wantCode(t, use(stream, "recv"), codes.DeadlineExceeded)
			if took := time.Since(began) - time.Second; took != tc.want || (header != nil) != (tc.asks && tc.takes < lastWord) {
				t.Errorf("%v after its time, header %v; want %v", took, header, tc.want)
			}
			time.Sleep(2 * time.Hour)
		})
	}
}

// TestFatalFailureBesideAnAttemptThatHangs is the call's at once, options or none.
func TestFatalFailureBesideAnAttemptThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var header metadata.MD
		stream := strictly(t, t.Context(), newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms})), download, func(in *strict) error {
			in.recv = func() error { return fails(codes.NotFound).err }
			if in.n == 1 {
				in.recv = func() error { time.Sleep(time.Minute); return in.ctx.Err() }
			}
			return nil
		}, grpc.Header(&header))
		send(t, stream)
		began := time.Now()
		wantCode(t, use(stream, "recv"), codes.NotFound)
		if took := time.Since(began); took != 10*ms || header == nil {
			t.Errorf("after %v, header %v", took, header)
		}
		time.Sleep(time.Hour)
	})
}

// TestReasonOfACommittedStream that fails with a code that is retried otherwise: it was
// too late, also where a resumption could not be opened.
func TestReasonOfACommittedStream(t *testing.T) {
	for _, resumes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			events := &hedgeEvents{}
			opts := []interceptors.Option{interceptors.WithPolicy(quick), interceptors.WithObserver(events)}
			asked := 0
			if resumes {
				opts = append(opts, interceptors.WithResume(method, func(_ context.Context, sent, _ any) (any, bool) { asked++; return sent, asked < 2 }))
			}
			stream := strictly(t, t.Context(), newSuite(t, opts...), download, func(in *strict) error {
				if in.n == 2 {
					return fails(codes.Unavailable).err
				}
				in.failsAfterOne()
				return nil
			})
			send(t, stream)
			if err := use(stream, "recv"); err != nil {
				t.Error(err)
			}
			wantCode(t, use(stream, "recv"), codes.Unavailable)
			last := events.got[len(events.got)-1]
			if last.Kind != observe.CallEnd || last.Reason != observe.ReasonCommitted || resumes != (asked == 2) {
				t.Errorf("resumes %v: %v, reason %v, asked %d times", resumes, last.Kind, last.Reason, asked)
			}
		})
	}
}

// TestHedgedStreamThatEndsWithoutAWordIsAnswered, when its header is asked for.
func TestHedgedStreamThatEndsWithoutAWordIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var endpoint observe.Endpoint
		s := newSuite(t, quiet(), interceptors.WithObserver(ask(func(e observe.Endpoint) { endpoint = e })), interceptors.WithMethodPolicy(method, interceptors.Policy{
			Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}, Breaker: interceptors.Breaker{Consecutive: 1},
		}))
		_, err := question(t.Context(), s, play(failAfter(0, codes.Unavailable, nil)))
		wantCode(t, err, codes.Unavailable)
		time.Sleep(2 * time.Second)
		stream := strictly(t, t.Context(), s, download, func(in *strict) error {
			in.dies()
			in.recv = func() error { return io.EOF }
			return nil
		})
		send(t, stream)
		if err := use(stream, "header"); err != nil {
			t.Error(err)
		}
		if state, _ := endpoint.BreakerState(); state != observe.BreakerClosed {
			t.Errorf("%v, want the breaker closed", state)
		}
		if err := use(stream, "recv"); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// TestPanicBesideAReceiver surfaces where the stream is received from.
func TestPanicBesideAReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, do := range []string{"recv", "header"} {
			var panicked, other *strict
			stream := strictly(t, t.Context(), newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms})), download, func(in *strict) error {
				if in.n == 1 {
					other = in
					in.header = func() (metadata.MD, error) { <-in.ctx.Done(); return nil, nil }
					return nil
				}
				panicked = in
				in.header = func() (metadata.MD, error) { panic("no header") }
				return nil
			})
			send(t, stream)
			func() {
				defer func() {
					if p := recover(); p != "no header" {
						t.Errorf("%s: recovered %v", do, p)
					}
				}()
				_ = use(stream, do)
			}()
			synctest.Wait()
			if panicked.ctx.Err() == nil || other.ctx.Err() == nil {
				t.Error("an attempt's context lives on")
			}
		}
	})
}

// TestSendMsgOfAStreamThatHasEnded reports so, once it has been answered, though nobody
// has received the end.
func TestSendMsgOfAStreamThatHasEnded(t *testing.T) {
	for _, replays := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			answered := make(chan struct{})
			stream := strictly(t, ctx, newSuite(t, interceptors.WithPolicy(quick)), both, func(in *strict) error {
				if replays && in.n == 1 {
					in.dies()
					return nil
				}
				sent := 0
				in.recv = func() error { return nil }
				in.send = func() error {
					if sent++; sent > 1 {
						return io.EOF
					}
					if replays {
						<-answered
					}
					return nil
				}
				return nil
			})
			send(t, stream)
			if err := use(stream, "recv"); err != nil {
				t.Error(err)
			}
			close(answered)
			synctest.Wait()
			if err := use(stream, "send"); !errors.Is(err, io.EOF) {
				t.Errorf("replays %v: %v", replays, err)
			}
			cancel()
			synctest.Wait()
		})
	}
}

// TestSendMsgWhileItsStreamIsCommitted: the end of that is the sender's to hear of at
// once, be anybody receiving or not.
func TestSendMsgWhileItsStreamIsCommitted(t *testing.T) {
	for _, receives := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			end := make(chan struct{})
			stream := strictly(t, ctx, newSuite(t), both, func(in *strict) error {
				in.send = func() error { <-end; return io.EOF }
				return nil
			})
			sent, received := make(chan error, 1), make(chan error, 1)
			go func() { sent <- use(stream, "send") }()
			synctest.Wait()
			stream.Context()
			if receives {
				go func() { received <- use(stream, "recv") }()
				synctest.Wait()
			}
			close(end)
			if err := <-sent; !errors.Is(err, io.EOF) {
				t.Errorf("receives %v: %v", receives, err)
			}
			cancel()
			if receives {
				wantCode(t, <-received, codes.Canceled)
			}
			synctest.Wait()
		})
	}
}

// TestHeaderEarnsBudget, as an answer does.
func TestHeaderEarnsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var endpoint observe.Endpoint
		s := newSuite(t, quiet(), interceptors.WithObserver(ask(func(e observe.Endpoint) { endpoint = e })),
			interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}, Budget: interceptors.Budget{Burst: 5, Ratio: 0.5, MinPerSecond: 1e-9}}))
		_ = call(s, play(fails(codes.Unavailable)))
		before, _ := endpoint.BudgetTokens()
		ctx, cancel := context.WithCancel(t.Context())
		stream := strictly(t, ctx, s, both, func(*strict) error { return nil })
		if err := use(stream, "header"); err != nil {
			t.Error(err)
		}
		if now, _ := endpoint.BudgetTokens(); now < before+0.49 {
			t.Errorf("%v tokens before and %v after, want half a token more", before, now)
		}
		cancel()
		synctest.Wait()
	})
}

// TestHeaderAndReceiverOfAHedgedStream wait for one race.
func TestHeaderAndReceiverOfAHedgedStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		stream := strictly(t, t.Context(), newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 4, Delay: 10 * ms})), download, func(in *strict) error {
			attempts++
			if in.n == 1 {
				in.header = func() (metadata.MD, error) { <-in.ctx.Done(); return nil, nil }
				return nil
			}
			in.header = func() (metadata.MD, error) { time.Sleep(5 * ms); return metadata.MD{}, nil }
			in.recv = func() error { return nil }
			return nil
		})
		send(t, stream)
		asked, received := make(chan error, 1), make(chan error, 1)
		go func() { asked <- use(stream, "header") }()
		synctest.Wait()
		go func() { received <- use(stream, "recv") }()
		err := errors.Join(<-asked, <-received)
		if synctest.Wait(); err != nil || attempts != 2 {
			t.Errorf("%v after %d attempts, want two", err, attempts)
		}
	})
}

// TestResumeOfWhatCannotBeCopied: without the request, or what was delivered last, there
// is nothing to go on with.
func TestResumeOfWhatCannotBeCopied(t *testing.T) {
	type plain struct{ Name chan int }
	for name, tc := range map[string]struct{ request, reply any }{
		"request": {&plain{}, new(wrapperspb.StringValue)}, "reply": {wrapperspb.String("q"), &plain{}},
	} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithResume(method, func(_ context.Context, sent, _ any) (any, bool) {
				t.Errorf("%s: asked with %T", name, sent)
				return sent, true
			}))
			stream := strictly(t, t.Context(), s, download, func(in *strict) error {
				attempts++
				in.failsAfterOne()
				return nil
			})
			if err := stream.SendMsg(tc.request); err != nil {
				t.Fatal(err)
			}
			if err := stream.RecvMsg(tc.reply); err != nil {
				t.Error(err)
			}
			wantCode(t, stream.RecvMsg(tc.reply), codes.Unavailable)
			if attempts != 1 {
				t.Errorf("%s: %d attempts", name, attempts)
			}
		})
	}
}

// TestStreamOfACallerWhoHasGone is not opened.
func TestStreamOfACallerWhoHasGone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, opt := range []interceptors.Option{interceptors.WithPolicy(quick), hedged(interceptors.Hedge{MaxAttempts: 2, Delay: time.Hour})} {
		_, err := newSuite(t, opt).StreamClientInterceptor()(ctx, download, nil, method,
			func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
				t.Error("an attempt is made")
				return nil, context.Canceled
			})
		wantCode(t, err, codes.Canceled)
	}
}

// TestProbeThatLives: a stream that has been a probe for ten seconds without failing closes
// the breaker, though its server has not said a word, and says nothing where it is no probe.
func TestProbeThatLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, quiet(), interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Consecutive: 2, OpenFor: time.Second, MaxOpenFor: time.Second})))
		ctx, cancel := context.WithCancel(t.Context())
		silent := func() {
			send(t, strictly(t, ctx, s, download, func(in *strict) error {
				in.header = func() (metadata.MD, error) { return nil, in.hang() }
				return nil
			}))
		}
		failure := play(fails(codes.Unavailable))
		_ = call(s, failure)
		silent()
		time.Sleep(11 * time.Second)
		_ = call(s, failure) // the second in a row
		if !refused(s, failure) {
			t.Error("a silent stream that is no probe counts as a success")
		}
		time.Sleep(2 * time.Second)
		silent()
		time.Sleep(10*time.Second - ms)
		if b := theMethod(t, s).Breaker; b.State != "half-open" {
			t.Errorf("%+v before the probe has lived for its time", b)
		}
		time.Sleep(2 * ms)
		if b := theMethod(t, s).Breaker; b.State != "closed" {
			t.Errorf("%+v after the probe has lived for its time", b)
		}
		cancel()
		synctest.Wait()
	})
}
