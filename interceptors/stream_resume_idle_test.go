package interceptors_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/interceptors"
)

// idle is an inner stream that delivers a message, if it is the first, and is
// cut after an hour without another.
type idle struct {
	grpc.ClientStream
	ctx     context.Context
	deliver bool
}

func (i *idle) SendMsg(any) error { return nil }
func (i *idle) CloseSend() error  { return nil }
func (i *idle) RecvMsg(any) error {
	if i.deliver {
		i.deliver = false
		return nil
	}
	select {
	case <-time.After(time.Hour):
		return status.Error(codes.Unavailable, "cut")
	case <-i.ctx.Done():
		return status.FromContextError(i.ctx.Err()).Err()
	}
}
func (i *idle) Header() (metadata.MD, error) { return metadata.MD{}, nil }
func (i *idle) Trailer() metadata.MD         { return nil }
func (i *idle) Context() context.Context     { return i.ctx }

// TestResumeOfAWatchThatIdles: neither AttemptTimeout nor MaxAttempts ends a
// watch on which nothing happens for long.
func TestResumeOfAWatchThatIdles(t *testing.T) {
	for _, delivers := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Disabled: true}}
			if delivers {
				p.AttemptTimeout = time.Minute
			}
			s := newSuite(t, interceptors.WithPolicy(p), interceptors.WithResume(helloServer, func(_ context.Context, sent, _ any) (any, bool) { return sent, true }))
			attempts := 0
			open := func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
				attempts++
				return &idle{ctx: ctx, deliver: delivers && attempts == 1 || attempts == 20}, nil
			}
			stream, err := s.StreamClientInterceptor()(t.Context(), &grpc.StreamDesc{ServerStreams: true}, nil, helloServer, open)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(wrapperspb.String("watch")); err != nil {
				t.Fatal(err)
			}
			if delivers {
				if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil {
					t.Fatal(err)
				}
			}
			if err := stream.RecvMsg(new(wrapperspb.StringValue)); err != nil || attempts != 20 {
				t.Errorf("%v after %d attempts", err, attempts)
			}
		})
	}
}
