package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"

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

// TestResumeOfAMethodOfTooMany: a method that nothing is kept for is resumed all the same.
func TestResumeOfAMethodOfTooMany(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(quick),
		interceptors.WithResume("/late.Svc/*", func(_ context.Context, sent, _ any) (any, bool) { return sent, true }))
	for i := range bound {
		_ = s.UnaryClientInterceptor()(t.Context(), fmt.Sprintf("/a.B/M%d", i), nil, nil, nil, play(step{}).invoke)
	}
	attempts := 0
	stream, err := s.StreamClientInterceptor()(t.Context(), &grpc.StreamDesc{ServerStreams: true}, nil, "/late.Svc/Watch",
		func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			attempts++
			ends := []error{nil, fails(codes.Unavailable).err}
			if attempts > 1 {
				ends = []error{nil, io.EOF}
			}
			return &inner{ctx: ctx, recv: func(any) error {
				err := ends[0]
				ends = ends[1:]
				return err
			}}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(use(stream, "send"), use(stream, "recv"), use(stream, "recv")); err != nil || attempts != 2 {
		t.Errorf("%v in %d attempts, want it resumed", err, attempts)
	}
	if err := use(stream, "recv"); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// encodes is an inner stream that encodes what it is sent, with the codec it is given.
type encodes struct {
	inner
	codec encoding.CodecV2
}

func (e *encodes) SendMsg(m any) error {
	data, err := e.codec.Marshal(m)
	data.Free()
	return err
}

// TestResumeGivesBuffersBack: the request is kept encoded, as long as the stream lasts.
func TestResumeGivesBuffersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithResume(method, func(_ context.Context, sent, _ any) (any, bool) { return sent, true }))
		codec, attempts := &noteCodec{}, 0
		stream, err := s.StreamClientInterceptor()(t.Context(), &grpc.StreamDesc{ServerStreams: true}, nil, method,
			func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				attempts++
				in := &encodes{inner: inner{ctx: ctx, recv: func(any) error { return io.EOF }}}
				if attempts == 1 {
					in.recv = func(any) error { return fails(codes.Unavailable).err }
				}
				for _, o := range opts {
					if o, ok := o.(*grpc.ForceCodecV2CallOption); ok { // the suite's
						in.codec = o.CodecV2
					}
				}
				return in, nil
			}, grpc.ForceCodecV2(codec))
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&note{"since yesterday"}); err != nil {
			t.Fatal(err)
		}
		if n := codec.out.Load(); n != 1 {
			t.Errorf("%d buffers kept, want the request's", n)
		}
		if err := stream.RecvMsg(new(note)); !errors.Is(err, io.EOF) || attempts != 2 {
			t.Errorf("%v after %d attempts", err, attempts)
		}
		synctest.Wait() // the goroutine that sends the request again may be about to
		if n := codec.out.Load(); n != 0 {
			t.Errorf("%d buffers kept after the end", n)
		}
	})
}
