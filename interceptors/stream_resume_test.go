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

// TestResumeRequestThatCannotBeSent says nothing about the server.
func TestResumeRequestThatCannotBeSent(t *testing.T) {
	w := overTCP(t, interceptors.WithMethodPolicy(helloServer, interceptors.Policy{Retry: quick.Retry, Breaker: interceptors.Breaker{Consecutive: 1, OpenFor: time.Minute}}),
		interceptors.WithResume(helloServer, func(context.Context, any, any) (any, bool) { return "no message", true }))
	w.Script(helloServer, flakyserver.Fail(codes.Unavailable, "cut").AfterReplies(1), flakyserver.OK(), flakyserver.OK())
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = all(stream)
	wantCode(t, err, codes.Internal)
	stream, err = w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
	if err != nil {
		t.Fatalf("the breaker counts a message that could not be sent: %v", err)
	}
	if got, err := all(stream); err != nil || len(got) != 3 {
		t.Errorf("%q, %v", got, err)
	}
}

// TestResumeOfAConnectionThatIsCut before the first message: who gives a Resume has said
// that the request may be sent again.
func TestResumeOfAConnectionThatIsCut(t *testing.T) {
	w := overTCP(t, interceptors.WithResume(helloServer, func(_ context.Context, sent, _ any) (any, bool) { return sent, true }))
	w.Script(helloServer, flakyserver.Reset(), flakyserver.OK())
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := all(stream); err != nil || len(got) != 3 {
		t.Errorf("%q, %v", got, err)
	}
}
