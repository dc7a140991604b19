package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

func ann() *greeterpb.HelloRequest { return &greeterpb.HelloRequest{Name: "Ann"} }

// all receives to the end.
func all(s grpc.ClientStream) error {
	for {
		switch err := s.RecvMsg(new(greeterpb.HelloReply)); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func serverStream(ctx context.Context, w *world) error {
	s, err := w.SayHelloServerStream(ctx, ann())
	if err != nil {
		return err
	}
	return all(s)
}

func clientStream(ctx context.Context, w *world) error {
	s, err := w.SayHelloClientStream(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := s.Send(ann()); err != nil {
			break
		}
		synctest.Wait() // the server may fail it now
	}
	_, err = s.CloseAndRecv()
	return err
}

func bidi(ctx context.Context, w *world) error {
	s, err := w.SayHelloBidi(ctx)
	if err != nil {
		return err
	}
	for range 2 {
		if err := s.Send(ann()); err != nil {
			return err
		}
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return all(s)
}

func TestStreamTrees(t *testing.T) {
	again := interceptors.WithResume(helloServer, func(_ context.Context, sent, _ any) (any, bool) { return sent, true })
	panics := func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, grpc.Streamer, ...grpc.CallOption) (grpc.ClientStream, error) {
		panic("beneath")
	}
	for _, tc := range []struct {
		name string
		setting
		method string
		script []flakyserver.Step
		run    func(ctx context.Context, w *world) error
		cancel time.Duration
		want   string
	}{
		{name: "server stream", method: helloServer, run: serverStream, want: `
Sent.helloworld.Greeter.SayHelloServerStream ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHelloServerStream ok previous-rpc-attempts=0 attempt_kind=first code=0
`},
		{name: "server stream, saved", method: helloServer, run: serverStream, script: []flakyserver.Step{down, flakyserver.OK().After(time.Second)}, want: `
Sent.helloworld.Greeter.SayHelloServerStream ok outcome=success_after_retry attempts=2 code=0
  - backoff attempt=1 backoff_ms=500 code=14
  - replay attempt=2 replayed_messages=1
  Attempt.helloworld.Greeter.SayHelloServerStream error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHelloServerStream ok previous-rpc-attempts=1 attempt_kind=retry code=0
`},
		{name: "server stream, cut", method: helloServer, run: serverStream, script: []flakyserver.Step{down.AfterReplies(1)}, want: `
Sent.helloworld.Greeter.SayHelloServerStream error (UNAVAILABLE) outcome=failed attempts=1 code=14
  - retry suppressed attempt=1 suppress_reason=committed code=14
  Attempt.helloworld.Greeter.SayHelloServerStream error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
`},
		{name: "server stream, resumed", method: helloServer, run: serverStream, script: []flakyserver.Step{down.AfterReplies(1), down.AfterReplies(1)}, setting: setting{suite: []interceptors.Option{again}}, want: `
Sent.helloworld.Greeter.SayHelloServerStream ok outcome=success_after_retry attempts=3 code=0
  - backoff attempt=1 backoff_ms=500 code=14
  - backoff attempt=2 backoff_ms=500 code=14
  Attempt.helloworld.Greeter.SayHelloServerStream error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHelloServerStream error (UNAVAILABLE) previous-rpc-attempts=1 attempt_kind=resume code=14
  Attempt.helloworld.Greeter.SayHelloServerStream ok previous-rpc-attempts=2 attempt_kind=resume code=0
`},
		{name: "client stream, replayed", method: helloClient, run: clientStream, script: []flakyserver.Step{down.AfterReceived(2)}, want: `
Sent.helloworld.Greeter.SayHelloClientStream ok outcome=success_after_retry attempts=2 code=0
  - backoff attempt=1 backoff_ms=500 code=14
  - replay attempt=2 replayed_messages=2
  Attempt.helloworld.Greeter.SayHelloClientStream error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHelloClientStream ok previous-rpc-attempts=1 attempt_kind=retry code=0
`},
		{name: "client stream, too much to keep", method: helloClient, run: clientStream, script: []flakyserver.Step{down.AfterReceived(2)}, setting: setting{policy: interceptors.Policy{Retry: interceptors.Retry{BufferBytes: 1}}}, want: `
Sent.helloworld.Greeter.SayHelloClientStream error (UNAVAILABLE) outcome=failed attempts=1 code=14
  - retry suppressed attempt=1 suppress_reason=buffer code=0
  - retry suppressed attempt=1 suppress_reason=committed code=14
  Attempt.helloworld.Greeter.SayHelloClientStream error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
`},
		{name: "bidi, exhausted", method: helloBidi, run: bidi, script: []flakyserver.Step{down.AfterReceived(1), down.AfterReceived(1)}, setting: setting{policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 2}}}, want: `
Sent.helloworld.Greeter.SayHelloBidi error (UNAVAILABLE) outcome=failed attempts=2 code=14
  - backoff attempt=1 backoff_ms=500 code=14
  - replay attempt=2 replayed_messages=1
  Attempt.helloworld.Greeter.SayHelloBidi error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHelloBidi error (UNAVAILABLE) previous-rpc-attempts=1 attempt_kind=retry code=14
`},
		{name: "bidi", method: helloBidi, run: bidi, want: `
Sent.helloworld.Greeter.SayHelloBidi ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHelloBidi ok previous-rpc-attempts=0 attempt_kind=first code=0
`},
		{name: "abandoned after a message", method: helloServer, script: []flakyserver.Step{flakyserver.Hang().AfterReplies(1)}, cancel: time.Second,
			run: func(ctx context.Context, w *world) error {
				s, err := w.SayHelloServerStream(ctx, ann())
				if err == nil {
					_, err = s.Recv()
				}
				return err // and never looks at it again
			}, want: `
Sent.helloworld.Greeter.SayHelloServerStream error (CANCELLED) outcome=failed attempts=1 code=1
  Attempt.helloworld.Greeter.SayHelloServerStream error (CANCELLED) previous-rpc-attempts=0 attempt_kind=first code=1
`},
		{name: "abandoned before one", method: helloBidi, script: []flakyserver.Step{flakyserver.Hang()}, cancel: time.Second,
			run: func(ctx context.Context, w *world) error {
				_, err := w.SayHelloBidi(ctx)
				return err
			}, want: `
Sent.helloworld.Greeter.SayHelloBidi error (CANCELLED) outcome=failed attempts=1 code=1
  Attempt.helloworld.Greeter.SayHelloBidi error (CANCELLED) previous-rpc-attempts=0 attempt_kind=first code=1
`},
		{name: "cancelled in the backoff", method: helloServer, run: serverStream, script: []flakyserver.Step{down}, cancel: 100 * time.Millisecond, want: `
Sent.helloworld.Greeter.SayHelloServerStream error (CANCELLED) outcome=failed attempts=1 code=1
  - backoff attempt=1 backoff_ms=500 code=14
  Attempt.helloworld.Greeter.SayHelloServerStream error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
`},
		{name: "panic", method: helloServer, run: serverStream, setting: setting{dial: []grpc.DialOption{grpc.WithChainStreamInterceptor(panics)}}, want: `
Sent.helloworld.Greeter.SayHelloServerStream error (UNKNOWN) outcome=failed attempts=1 code=2
  Attempt.helloworld.Greeter.SayHelloServerStream error (UNKNOWN) previous-rpc-attempts=0 attempt_kind=first code=2
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, tc.setting, func(t *testing.T, w *world) {
				w.Script(tc.method, tc.script...)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.cancel > 0 {
					time.AfterFunc(tc.cancel, cancel)
				}
				func() {
					defer func() {
						if p := recover(); p != nil && tc.name != "panic" {
							t.Error(p)
						}
					}()
					_ = tc.run(ctx, w)
				}()
				time.Sleep(time.Minute) // an abandoned one ends by itself
				w.spans.wantTrees(t, tc.want)
			})
		})
	}
}

// TestStreamIsTracedToItsEnd: a stream's spans end when it does, not when it is
// open.
func TestStreamIsTracedToItsEnd(t *testing.T) {
	bubble(t, setting{}, func(t *testing.T, w *world) {
		w.Script(helloServer, flakyserver.OK().Stall(time.Hour))
		began := time.Now()
		s, err := w.SayHelloServerStream(t.Context(), ann())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); err != nil {
			t.Fatal(err)
		}
		if n := len(w.spans.GetSpans()); n != 0 {
			t.Fatalf("%d spans have ended while the stream lives", n)
		}
		if err := all(s); err != nil {
			t.Fatal(err)
		}
		for _, span := range w.spans.GetSpans() {
			if got := fmt.Sprint(span.EndTime.Sub(began)); got != "1h0m0s" {
				t.Errorf("%s ended after %s, want an hour", span.Name, got)
			}
		}
		if n := len(w.spans.GetSpans()); n != 2 {
			t.Errorf("%d spans have ended, want 2", n)
		}
	})
}
