package interceptors_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// revived is an inner stream whose connection breaks under the first message:
// grpc-go has kept that, returns io.EOF, and makes the stream anew by itself, so
// that the receiver notices nothing.
type revived struct {
	grpc.ClientStream
	ctx     context.Context
	broken  chan struct{} // closed when SendMsg has returned io.EOF
	sent    int
	closed  bool
	deliver bool
}

func (r *revived) SendMsg(any) error {
	if r.sent++; r.sent == 1 {
		defer close(r.broken)
		return io.EOF
	}
	return nil
}

func (r *revived) RecvMsg(any) error {
	<-r.broken
	if r.deliver {
		r.deliver = false
		return nil
	}
	<-r.ctx.Done()
	return r.ctx.Err()
}

func (r *revived) CloseSend() error             { r.closed = true; return nil }
func (r *revived) Header() (metadata.MD, error) { return metadata.MD{}, nil }
func (r *revived) Trailer() metadata.MD         { return nil }
func (r *revived) Context() context.Context     { return r.ctx }

// TestRevivedStreamIsSentOn: a sender that gets io.EOF gives up, without
// CloseSend, and a server that waits for the rest would wait for ever. Seen once
// in some 200,000 streams whose connections were reset.
func TestRevivedStreamIsSentOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		ctx, cancel := context.WithCancel(t.Context())
		inner := &revived{broken: make(chan struct{}), deliver: true}
		open := func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			inner.ctx = ctx
			return inner, nil
		}
		stream, err := s.StreamClientInterceptor()(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, nil, helloBidi, open)
		if err != nil {
			t.Fatal(err)
		}
		received := make(chan error, 1)
		go func() { received <- stream.RecvMsg(new(wrapperspb.StringValue)) }()
		synctest.Wait() // it is inside the inner RecvMsg
		if err := stream.SendMsg(wrapperspb.String("first")); err != nil {
			t.Errorf("%v from a stream that lives", err)
		}
		if err := <-received; err != nil {
			t.Error(err)
		}
		if err := errors.Join(stream.SendMsg(wrapperspb.String("second")), stream.CloseSend()); err != nil || inner.sent != 2 || !inner.closed {
			t.Errorf("%v; %d messages sent, closed %v, want 2 and true", err, inner.sent, inner.closed)
		}
		cancel()
		synctest.Wait()
	})
}
