package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// limitedGreeter runs f with a greeter whose methods have the policy, in virtual
// time.
func limitedGreeter(t *testing.T, p interceptors.Policy, f func(t *testing.T, s *flakyserver.Server, cc *grpc.ClientConn, l *limits)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := flakyserver.StartBuffer()
		defer s.Close()
		l := newLimits(t, p)
		cc, err := s.Dial(l.DialOptions()...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		f(t, s, cc, l)
		l.calls.Wait()
	})
}

func open(ctx context.Context, cc *grpc.ClientConn, k *streamKind) (grpc.ClientStream, error) {
	return cc.NewStream(ctx, &k.desc, k.method)
}

// request sends what a server stream needs.
func request(t *testing.T, s grpc.ClientStream) {
	t.Helper()
	if err := errors.Join(s.SendMsg(&greeterpb.HelloRequest{Name: "Ann"}), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
}

// TestStreamsHoldTheirSlots until they end, however that comes.
func TestStreamsHoldTheirSlots(t *testing.T) {
	hedged := interceptors.Hedge{MaxAttempts: 2, Delay: time.Second}
	read := func(_ *testing.T, _ context.CancelFunc, s grpc.ClientStream) {
		for {
			if err := s.RecvMsg(new(greeterpb.HelloReply)); err != nil {
				return
			}
		}
	}
	for _, tc := range []struct {
		name  string
		step  flakyserver.Step
		end   func(t *testing.T, cancel context.CancelFunc, s grpc.ClientStream)
		hedge interceptors.Hedge
	}{
		{"read to its end", flakyserver.OK(), func(t *testing.T, c context.CancelFunc, s grpc.ClientStream) { request(t, s); read(t, c, s) }, interceptors.Hedge{}},
		{"failed", flakyserver.Fail(codes.NotFound, ""), func(t *testing.T, c context.CancelFunc, s grpc.ClientStream) { request(t, s); read(t, c, s) }, interceptors.Hedge{}},
		{"failed later", flakyserver.Fail(codes.Unavailable, "").AfterReplies(2), func(t *testing.T, c context.CancelFunc, s grpc.ClientStream) { request(t, s); read(t, c, s) }, interceptors.Hedge{}},
		{"abandoned", flakyserver.OK(), func(_ *testing.T, c context.CancelFunc, _ grpc.ClientStream) { c() }, interceptors.Hedge{}},
		{"abandoned later", flakyserver.OK(), func(t *testing.T, c context.CancelFunc, s grpc.ClientStream) {
			request(t, s)
			_ = s.RecvMsg(new(greeterpb.HelloReply))
			c()
		}, interceptors.Hedge{}},
		{"out of time", flakyserver.Hang(), func(t *testing.T, _ context.CancelFunc, s grpc.ClientStream) {
			request(t, s)
			time.Sleep(30 * time.Second)
		}, interceptors.Hedge{}},
		{"hedged, read to its end", flakyserver.OK(), func(t *testing.T, c context.CancelFunc, s grpc.ClientStream) { request(t, s); read(t, c, s) }, hedged},
		{"hedged, abandoned", flakyserver.Hang(), func(t *testing.T, c context.CancelFunc, s grpc.ClientStream) { request(t, s); c(); read(t, c, s) }, hedged},
		{"hedged, never begun", flakyserver.OK(), func(_ *testing.T, c context.CancelFunc, _ grpc.ClientStream) { c() }, hedged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 1, MaxQueue: 1}, Timeout: time.Minute, Hedge: tc.hedge}
			synctest.Test(t, func(t *testing.T) {
				s := flakyserver.StartBuffer()
				defer s.Close()
				l := &limits{t: t, seen: &events{}}
				l.Suite = newSuite(t, interceptors.WithMethodPolicy(helloServer, p), interceptors.WithObserver(inline{l.seen}, ask(func(e observe.Endpoint) { l.endpoint = e })))
				cc, err := s.Dial(l.DialOptions()...)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = cc.Close() }()
				s.Script(helloServer, tc.step, flakyserver.OK())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				first, err := open(ctx, cc, onServer)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(30 * time.Second)
				var second grpc.ClientStream
				l.calls.Go(func() { // waits for the slot
					if second, err = open(t.Context(), cc, onServer); err != nil {
						t.Error(err)
					}
				})
				l.want(1, 1)
				time.Sleep(10 * time.Second) // it is not given up for that
				l.want(1, 1)
				if _, err := open(t.Context(), cc, onServer); !errors.Is(err, interceptors.ErrLimited) {
					t.Errorf("a third one: %v", err)
				}
				tc.end(t, cancel, first)
				l.calls.Wait()
				l.want(1, 0)
				request(t, second)
				read(t, nil, second)
				l.want(0, 0)
			})
		})
	}
}

// A caller that gives up a stream while it waits to be opened leaves at once.
func TestStreamsLeaveTheQueue(t *testing.T) {
	p := interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 1, MaxQueue: 1}}
	limitedGreeter(t, p, func(t *testing.T, _ *flakyserver.Server, cc *grpc.ClientConn, l *limits) {
		for _, k := range each {
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := open(ctx, cc, k); err != nil {
				t.Fatal(err)
			}
			short, done := context.WithTimeout(t.Context(), time.Second)
			began := time.Now()
			_, err := open(short, cc, k)
			wantCode(t, err, codes.DeadlineExceeded)
			if took := time.Since(began); took != time.Second {
				t.Errorf("%s: left after %v", k.name, took)
			}
			done()
			l.want(1, 0)
			cancel()
			l.want(0, 0)
		}
	})
}

// A stream that the breaker refuses, and one under which something panics,
// gives its slot back.
func TestStreamsGiveSlotsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := onlyLimit(interceptors.Limit{MaxConcurrent: 1})
		p.Breaker = interceptors.Breaker{Consecutive: 1}
		l := newLimits(t, p)
		streamer := func(end func()) func() {
			return func() {
				_, err := l.StreamClientInterceptor()(t.Context(), &onBidi.desc, nil, method, func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
					end()
					return nil, fails(codes.Unavailable).err
				})
				if !errors.Is(err, interceptors.ErrBreakerOpen) {
					wantCode(t, err, codes.Unavailable)
				}
			}
		}
		for range 3 {
			ends(streamer(func() { panic("beneath") }))
			l.want(0, 0)
		}
		for range 3 { // the first opens the breaker
			ends(streamer(func() {}))
			l.want(0, 0)
		}
	})
}

// How long a stream lives teaches an adaptive limit nothing; that it was refused
// for overload does.
func TestStreamsTeachTheLimit(t *testing.T) {
	for code, shrinks := range map[codes.Code]bool{codes.OK: false, codes.ResourceExhausted: true} {
		p := onlyLimit(interceptors.Limit{MaxConcurrent: 10, Adaptive: true})
		limitedGreeter(t, p, func(t *testing.T, s *flakyserver.Server, cc *grpc.ClientConn, l *limits) {
			greeter := greeterpb.NewGreeterClient(cc)
			many := func(step flakyserver.Step) {
				s.Always(helloServer, step)
				for range 10 {
					l.calls.Go(func() {
						for range 30 {
							if stream, err := greeter.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"}); err == nil {
								_, _ = all(stream)
							}
						}
					})
				}
				l.calls.Wait()
			}
			many(flakyserver.OK().After(10 * ms))
			if many(flakyserver.OK().After(time.Second)); code != codes.OK {
				many(flakyserver.Fail(code, "").After(10 * ms))
			}
			if got, ok := l.endpoint.LimitState(); !ok || (got.Max < 10) != shrinks {
				t.Errorf("%v: %+v, want it to shrink: %v", code, got, shrinks)
			}
		})
	}
}

// TestServerNeverSeesMore: the server can do five at a time and turns others
// away; none is, though 40 callers crowd.
func TestServerNeverSeesMore(t *testing.T) {
	server, err := flakyserver.Start(flakyserver.WithCapacity(flakyserver.Capacity{Workers: 5, Service: flakyserver.Fixed(ms)}))
	if err != nil {
		t.Fatal(err)
	}
	w := dialSuite(t, server, newSuite(t, interceptors.WithPolicy(onlyLimit(interceptors.Limit{MaxConcurrent: 5, MaxQueue: 40}))))
	ctx := within(t)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			for range 20 {
				if _, err := w.say(ctx); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if seen := w.Stats(method); seen.Attempts != 800 || seen.Served != 800 || seen.Rejected != 0 {
		t.Errorf("the server saw %+v, want 800 attempts and none turned away", seen)
	}

	for _, k := range each {
		for range 3 { // their slots come back over a real connection, too
			ctx, cancel := context.WithCancel(ctx)
			var streams []grpc.ClientStream
			for range 5 {
				s, err := open(ctx, w.cc, k)
				if err != nil {
					t.Fatal(err)
				}
				streams = append(streams, s)
			}
			cancel()
			for _, s := range streams {
				if err := s.RecvMsg(new(greeterpb.HelloReply)); err == nil || errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", k.name, fmt.Sprint(err))
				}
			}
		}
	}
}
