package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
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

// TestSentByAnyPartOfThePeer: whatever a transport fills of it, the attempt got a
// stream, and may have run.
func TestSentByAnyPartOfThePeer(t *testing.T) {
	for name, of := range map[string]peer.Peer{
		"nothing": {}, "address": {Addr: &net.TCPAddr{}}, "local address": {LocalAddr: &net.TCPAddr{}}, "credentials": {AuthInfo: authInfo{}},
	} {
		var sent []bool
		s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithClassifier(method, func(a interceptors.Attempt) interceptors.Verdict {
			sent = append(sent, a.Sent)
			return 0
		}))
		attempts := 0
		_ = s.UnaryClientInterceptor()(t.Context(), method, nil, nil, nil, func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
			if attempts++; attempts > 1 {
				return fails(codes.Unavailable).err // it got none
			}
			for _, o := range opts {
				if o, ok := o.(grpc.PeerCallOption); ok {
					*o.PeerAddr = of
				}
			}
			return fails(codes.Unavailable).err
		})
		if want := name != "nothing"; len(sent) < 2 || sent[0] != want || sent[1] {
			t.Errorf("%s: sent %v, want %v for the first alone", name, sent, want)
		}
	}
}

type authInfo struct{}

func (authInfo) AuthType() string { return "test" }

// TestAttemptsContextEndsWithIt, though the call goes on.
func TestAttemptsContextEndsWithIt(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: quick.Retry, AttemptTimeout: time.Hour}))
	var before []context.Context
	_ = s.UnaryClientInterceptor()(t.Context(), method, nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		before = append(before, ctx)
		return fails(codes.Unavailable).err
	})
	for i, ctx := range before {
		if ctx.Err() == nil {
			t.Errorf("that of attempt %d lives on", i+1)
		}
	}
	if len(before) != 3 {
		t.Errorf("%d attempts", len(before))
	}
}

// TestFallbackThatFails has not rescued the call: its error is the call's.
func TestFallbackThatFails(t *testing.T) {
	events, own := &hedgeEvents{}, errors.New("no cache")
	s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithObserver(events),
		interceptors.WithFallback(method, func(context.Context, string, any, any, error) error { return own }))
	if err := call(s, play(fails(codes.Unavailable))); !errors.Is(err, own) {
		t.Error(err)
	}
	for _, e := range events.got {
		if e.Kind == observe.CallEnd && (e.Outcome != observe.Failed || !errors.Is(e.Err, own)) {
			t.Errorf("%v, %v", e.Outcome, e.Err)
		}
	}
	if events.count(observe.CallEnd) != 1 {
		t.Error("no end of the call")
	}
}

// TestReplyIsAsItWas before an attempt that failed filled it, for the next and for the
// fallback.
func TestReplyIsAsItWas(t *testing.T) {
	type plain struct{ Value string }
	for attempts := 1; attempts <= 3; attempts++ {
		var seen []string
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: attempts, Backoff: quick.Retry.Backoff}}),
			interceptors.WithFallback(method, func(_ context.Context, _ string, _, reply any, err error) error {
				seen = append(seen, reply.(*plain).Value)
				return err
			}))
		_ = s.UnaryClientInterceptor()(t.Context(), method, new(plain), &plain{"given"}, nil, func(_ context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			seen = append(seen, reply.(*plain).Value)
			reply.(*plain).Value = "left by a failed attempt"
			return fails(codes.Unavailable).err
		})
		if want := slices.Repeat([]string{"given"}, attempts+1); !slices.Equal(seen, want) {
			t.Errorf("seen %q, want %q", seen, want)
		}
	}
}

// TestClassifierOfHedges sees each attempt's number and header.
func TestClassifierOfHedges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 2, Delay: 10 * ms}), interceptors.WithClassifier(method, func(a interceptors.Attempt) interceptors.Verdict {
			seen = append(seen, fmt.Sprint(a.Number, a.Header["of"]))
			return interceptors.VerdictRetry
		}))
		first := step{err: fails(codes.Unavailable).err, after: 20 * ms, header: metadata.Pairs("of", "first")}
		second := step{err: fails(codes.Unavailable).err, after: 20 * ms, header: metadata.Pairs("of", "second")}
		_, err := question(t.Context(), s, play(first, second))
		wantCode(t, err, codes.Unavailable)
		if want := []string{"1 [first]", "2 [second]"}; !slices.Equal(seen, want) {
			t.Errorf("seen %q, want %q", seen, want)
		}
	})
}

// TestPanicOfAnAttemptThatWasGivenUp is logged with where it was.
func TestPanicOfAnAttemptThatWasGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		s := newSuite(t, hedged(interceptors.Hedge{MaxAttempts: 3, Delay: 10 * ms}), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		loser := step{do: func(ctx context.Context, _ any) { <-ctx.Done(); time.Sleep(ms); panicHere() }}
		answer, err := question(t.Context(), s, play(step{err: fails(codes.Unavailable).err}, loser, take(5*ms, "c")))
		time.Sleep(time.Second)
		synctest.Wait()
		if err != nil || answer != "c" || strings.Count(log.String(), "attempt panicked after its call returned") != 1 || !strings.Contains(log.String(), "panicHere") {
			t.Errorf("%q, %v, logged %s", answer, err, log.String())
		}
	})
}

func panicHere() { panic("too late") }

// TestPlainStreamsWarnOfRetriesBeneath, once.
func TestPlainStreamsWarnOfRetriesBeneath(t *testing.T) {
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	warnOfRetriesBeneath(t, server)
}

// TestStreamsThatExpire count against a server only if it has sent no header.
func TestStreamsThatExpire(t *testing.T) {
	for _, header := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			server := flakyserver.StartBuffer()
			defer server.Close()
			s := newSuite(t, quiet(), interceptors.WithPolicy(interceptors.Policy{Breaker: interceptors.Breaker{Consecutive: 2}}))
			cc, err := server.Dial(s.DialOptions()...)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cc.Close() }()
			step := flakyserver.Hang()
			if header {
				step = step.Header("early", "yes")
			}
			server.Always(helloServer, step)
			refused := false
			for range 6 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				stream, err := greeterpb.NewGreeterClient(cc).SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: "Ann"})
				if err == nil {
					_, err = stream.Recv()
				}
				refused = refused || errors.Is(err, interceptors.ErrBreakerOpen)
				cancel()
				synctest.Wait()
			}
			if refused == header {
				t.Errorf("header %v: the breaker has opened: %v", header, refused)
			}
		})
	}
}
