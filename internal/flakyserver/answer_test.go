package flakyserver

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

func TestGreeter(t *testing.T) {
	over(t, func(r *rig) {
		text, err := r.say()
		want(t, "unary", text, "Hello Ann")
		wantCode(t, err, codes.OK)

		server := must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
		for _, text := range []string{"Hello Ann #1", "Hello Ann #2", "Hello Ann #3"} {
			want(t, "server stream", must(server.Recv())(t).GetMessage(), text)
		}
		wantEOF(t, server)

		client := must(r.client.SayHelloClientStream(r.ctx))(t)
		bidi := must(r.client.SayHelloBidi(r.ctx))(t)
		for _, name := range []string{"Ann", "Bob"} {
			wantCode(t, client.Send(request(name)), codes.OK)
			wantCode(t, bidi.Send(request(name)), codes.OK)
			want(t, "bidi", must(bidi.Recv())(t).GetMessage(), "Hello "+name)
		}
		want(t, "client stream", must(client.CloseAndRecv())(t).GetMessage(), "Hello Ann, Bob")
		wantCode(t, bidi.CloseSend(), codes.OK)
		wantEOF(t, bidi)
	})
}

func TestUnknownMethodsEcho(t *testing.T) {
	over(t, func(r *rig) {
		var reply wrapperspb.StringValue
		wantCode(t, r.cc.Invoke(r.ctx, "/any.Service/Method", wrapperspb.String("x"), &reply), codes.OK)
		want(t, "reply", reply.GetValue(), "x")

		stream := must(r.cc.NewStream(r.ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/any.Service/Bidi"))(t)
		for _, v := range []string{"a", "b"} {
			wantCode(t, stream.SendMsg(wrapperspb.String(v)), codes.OK)
			wantCode(t, stream.RecvMsg(&reply), codes.OK)
			want(t, "reply", reply.GetValue(), v)
		}
		wantCode(t, stream.CloseSend(), codes.OK)
		if err := stream.RecvMsg(&reply); !errors.Is(err, io.EOF) {
			t.Errorf("end: %v", err)
		}

		r.Always("/any.Service/Method", Fail(codes.Aborted, ""))
		wantCode(t, r.cc.Invoke(r.ctx, "/any.Service/Method", wrapperspb.String("x"), &reply), codes.Aborted)
	})
}

func TestAfterReplies(t *testing.T) {
	over(t, func(r *rig) {
		for _, c := range []struct {
			step Step
			n    int
			code codes.Code
		}{
			{Fail(codes.Aborted, "").AfterReplies(2), 2, codes.Aborted},
			{Fail(codes.Aborted, "").AfterReplies(5), 5, codes.Aborted},
			{OK().AfterReplies(5), 5, codes.OK},
			{OK().AfterReplies(0), 0, codes.OK},
		} {
			r.Always(helloServer, c.step)
			stream := must(r.client.SayHelloServerStream(r.ctx, request("Ann")))(t)
			n, err := drain(stream)
			want(t, "replies", n, c.n)
			wantCode(t, err, c.code)
		}

		r.Always(hello, Fail(codes.Aborted, "").AfterReplies(1))
		var reply greeterpb.HelloReply // the generated client hides it
		err := r.cc.Invoke(r.ctx, hello, request("Ann"), &reply)
		want(t, "the reply before the failure", reply.GetMessage(), "Hello Ann")
		wantCode(t, err, codes.Aborted)

		r.Always(helloBidi, Fail(codes.Aborted, "").AfterReplies(1).AfterReceived(3))
		bidi := must(r.client.SayHelloBidi(r.ctx))(t)
		for range 3 {
			wantCode(t, bidi.Send(request("Ann")), codes.OK)
		}
		n, err := drain(bidi)
		want(t, "bidi replies", n, 1)
		wantCode(t, err, codes.Aborted)
		want(t, "bidi received", last(r, helloBidi).Received, 3)
	})
}

func TestAfterReceived(t *testing.T) {
	over(t, func(r *rig) {
		send := func(n int) (string, error) {
			stream := must(r.client.SayHelloClientStream(r.ctx))(t)
			for range n {
				if err := stream.Send(request("Ann")); err != nil {
					break // the attempt has ended; CloseAndRecv returns how
				}
			}
			reply, err := stream.CloseAndRecv()
			return reply.GetMessage(), err
		}
		for _, c := range []struct {
			step           Step
			send, received int
			code           codes.Code
		}{
			{Fail(codes.Aborted, ""), 3, 0, codes.Aborted},
			{Fail(codes.Aborted, "").AfterReceived(2), 3, 2, codes.Aborted},
			{Fail(codes.Aborted, "").AfterReceived(9), 3, 3, codes.Aborted},
			{OK().AfterReceived(1), 3, 1, codes.OK},
		} {
			r.Always(helloClient, c.step)
			_, err := send(c.send)
			wantCode(t, err, c.code)
			want(t, "received", last(r, helloClient).Received, c.received)
		}
	})
}

// drain receives to the end of a stream.
func drain[T any](stream interface{ Recv() (*T, error) }) (n int, err error) {
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

func wantEOF[T any](t *testing.T, stream interface{ Recv() (*T, error) }) {
	t.Helper()
	if n, err := drain(stream); n != 0 || err != nil {
		t.Errorf("at the end of a stream: %d more messages, %v", n, err)
	}
}

// last is the method's latest attempt, once that has ended.
func last(r *rig, method string) Attempt {
	r.t.Helper()
	r.await(func() bool { s := r.Stats(method); return s.Attempts == s.Ended })
	all := r.Attempts(method)
	return all[len(all)-1]
}
