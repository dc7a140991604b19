package interceptors

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// streamAttempt is one inner stream.
type streamAttempt struct {
	grpc.ClientStream // nil: it could not be made
	capture

	number   int // among the stream's attempts
	codec    teeCodec
	force    grpc.ForceCodecV2CallOption // that it be used
	opts     [4]grpc.CallOption          // room for most
	cancel   context.CancelFunc          // nil: nothing to release
	deadline *time.Timer                 // of AttemptTimeout; nil: none
	late     atomic.Bool                 // it has fired
}

// limit ends the attempt after d unless it is committed before. The context
// of a committed stream must live on, so this is a timer, not a deadline.
func (a *streamAttempt) Limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, a.cancel = context.WithCancel(ctx)
	a.deadline = time.AfterFunc(d, func() {
		a.late.Store(true)
		a.cancel()
	})
	return ctx, a.cancel
}

// remember adds the codec that keeps what is sent, and received, to the
// attempt's options.
func (a *streamAttempt) remember(opts []grpc.CallOption, received bool) []grpc.CallOption {
	if a.codec.base, a.codec.name = codecOf(opts); a.codec.base == nil {
		return opts // grpc-go will say so
	}
	a.codec.listens = received
	a.force.CodecV2 = &a.codec
	a.ours = append(a.ours, &a.force)
	return slices.Clip(a.ours)
}

// resend sends messages that an earlier attempt was sent, as they were then.
// whole is false if the attempt died meanwhile.
func (a *streamAttempt) resend(messages []sentMessage) (sent int, whole bool) {
	defer func() { a.codec.known, a.codec.encoded = nil, nil }()
	for _, m := range messages {
		like, err := a.codec.copyOf(m.like, m.encoded)
		if err == nil {
			a.codec.known, a.codec.encoded = like, m.encoded
			err = a.SendMsg(like)
		}
		if err != nil {
			return sent, false
		}
		sent++
	}
	return sent, true
}

// commit lets the attempt live on.
func (a *streamAttempt) commit() {
	a.codec.off.Store(true)
	if a.deadline != nil {
		a.deadline.Stop()
	}
}

// release lets go of what the attempt holds, once it is over.
func (a *streamAttempt) release() {
	if a.deadline != nil {
		a.deadline.Stop()
	}
	if a.cancel != nil {
		a.cancel()
	}
}

// told returns the error as the caller is to see it: a cancellation by our
// timer is a deadline exceeded.
func (a *streamAttempt) told(err error) error {
	if err != nil && a.late.Load() && engine.CodeOf(err) == codes.Canceled {
		return status.Error(codes.DeadlineExceeded, "astra: attempt timeout exceeded")
	}
	return err
}

// headers returns the header of an attempt that has ended; it does not block
// then, and is nil exactly if none came.
func (a *streamAttempt) headers() metadata.MD {
	if a.ClientStream == nil {
		return nil
	}
	md, err := a.Header()
	if err != nil {
		return nil
	}
	return md
}

func (a *streamAttempt) trailers() metadata.MD {
	if a.ClientStream == nil {
		return nil
	}
	return a.Trailer()
}

// verdict returns how an attempt ended that SendMsg or Header found dead and
// that has no headers, hence no message to be eaten: nil if it ended well.
func (a *streamAttempt) verdict() error {
	err := a.RecvMsg(new(emptypb.Empty)) // interceptors beneath may not bear a nil
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
