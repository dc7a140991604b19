package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

const (
	helloServer = greeterpb.Greeter_SayHelloServerStream_FullMethodName
	helloClient = greeterpb.Greeter_SayHelloClientStream_FullMethodName
	helloBidi   = greeterpb.Greeter_SayHelloBidi_FullMethodName
)

func TestServerStreamRetriedBeforeItsFirstMessage(t *testing.T) {
	seen := &events{}
	w := overTCP(t, interceptors.WithObserver(inline{seen}))
	w.Script(helloServer, flakyserver.Fail(codes.Unavailable, ""), flakyserver.Fail(codes.Unavailable, ""), flakyserver.OK())
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.GetMessage())
	}
	if fmt.Sprint(got) != "[Hello Ann #1 Hello Ann #2 Hello Ann #3]" {
		t.Errorf("got %v", got)
	}
	t.Log(seen.story())
}

func TestClientStreamReplayed(t *testing.T) {
	w := overTCP(t)
	w.Script(helloClient, flakyserver.Fail(codes.Unavailable, "").AfterReceived(2), flakyserver.Reset().AfterReceived(1), flakyserver.OK())
	stream, err := w.SayHelloClientStream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	m := &greeterpb.HelloRequest{}
	for i := range 5 {
		m.Name = fmt.Sprint(i) // changed after it was sent: replayed as it was
		if err := stream.Send(m); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_ = w.Await(ctx, func() bool { return w.Stats(helloClient).Ended == 1 })
			cancel()
		}
	}
	reply, err := stream.CloseAndRecv()
	if err != nil || reply.GetMessage() != "Hello 0, 1, 2, 3, 4" {
		t.Errorf("%q, %v", reply.GetMessage(), err)
	}
	wantSeen := w.Attempts(helloClient)
	t.Log(len(wantSeen))
}

func TestBidi(t *testing.T) {
	w := overTCP(t)
	w.Script(helloBidi, flakyserver.Fail(codes.Unavailable, "").AfterReceived(1), flakyserver.OK())
	stream, err := w.SayHelloBidi(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		name := fmt.Sprint(i)
		if err := stream.Send(&greeterpb.HelloRequest{Name: name}); err != nil {
			t.Fatal(err)
		}
		reply, err := stream.Recv()
		if err != nil || reply.GetMessage() != "Hello "+name {
			t.Fatalf("%d: %v, %v", i, reply, err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestResume: a server stream cut after messages goes on where it was.
func TestResume(t *testing.T) {
	seen := &events{}
	w := overTCP(t, interceptors.WithObserver(inline{seen}),
		interceptors.WithResume(helloServer, func(_ context.Context, sent, last any) (any, bool) {
			req, ok := sent.(*greeterpb.HelloRequest)
			reply, ok2 := last.(*greeterpb.HelloReply)
			if !ok || !ok2 {
				t.Errorf("asked with %T and %T", sent, last)
			}
			return &greeterpb.HelloRequest{Name: req.GetName() + " after " + reply.GetMessage()}, true
		}))
	cut := flakyserver.Fail(codes.Unavailable, "cut")
	w.Script(helloServer, cut.AfterReplies(2), cut, cut.AfterReplies(1), cut, flakyserver.OK())
	req := &greeterpb.HelloRequest{Name: "Ann"}
	stream, err := w.SayHelloServerStream(within(t), req)
	if err != nil {
		t.Fatal(err)
	}
	req.Name = "changed since"
	var got []string
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.GetMessage())
		m.Message = "changed since"
	}
	want := []string{
		"Hello Ann #1", "Hello Ann #2",
		"Hello Ann after Hello Ann #2 #1",
		"Hello Ann after Hello Ann after Hello Ann #2 #1 #1",
		"Hello Ann after Hello Ann after Hello Ann #2 #1 #2",
		"Hello Ann after Hello Ann after Hello Ann #2 #1 #3",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q", got)
	}
	t.Log(seen.story())
}
