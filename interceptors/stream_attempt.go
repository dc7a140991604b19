package interceptors

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/message"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// streamAttempt is one inner stream.
type streamAttempt struct {
	grpc.ClientStream // nil: it could not be made
	capture

	number   int // among the stream's attempts
	codec    message.Tee
	force    grpc.ForceCodecV2CallOption // that it be used
	opts     [4]grpc.CallOption          // room for most
	cancel   context.CancelFunc          // nil: nothing to release
	deadline *time.Timer                 // of AttemptTimeout; nil: none
	late     atomic.Bool                 // it has fired
	opened   time.Duration               // when, if the stream can be resumed
	heard    bool                        // a message came, which committed the stream, whose mu guards it
	goesOn   atomic.Bool                 // it has failed, and the stream beneath lives
}

// Limit ends the attempt after d unless it is committed before. The context
// of a committed stream must live on, so this is a timer, not a deadline.
func (a *streamAttempt) Limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, a.cancel = context.WithCancel(ctx)
	a.deadline = time.AfterFunc(d, func() {
		a.late.Store(true)
		a.cancel()
	})
	return ctx, a.cancel
}

// remember adds the codec that sees how what is sent is encoded to the
// attempt's options.
func (a *streamAttempt) remember(opts []grpc.CallOption) []grpc.CallOption {
	if !a.codec.Use(opts) {
		return opts // grpc-go will say so
	}
	a.force.CodecV2 = &a.codec
	a.ours = append(a.ours, &a.force)
	return slices.Clip(a.ours)
}

// resend sends messages that an earlier attempt was sent, as they were then. An
// error is that of a message, and not the attempt's death: then a message more
// does no harm, and if grpc-go's transparent retry brings the stream back to
// life, with the message that found it dead, the others must be there too.
func (a *streamAttempt) resend(messages []message.Kept) (sent int, err error) {
	for i := range messages {
		switch err := messages[i].Send(&a.codec, a.SendMsg); {
		case err == nil:
			sent++
		case !errors.Is(err, io.EOF):
			return sent, err
		}
	}
	return sent, nil
}

// endure lets the attempt live on: it has been answered, or is the stream.
func (a *streamAttempt) endure() {
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

// shown returns the error as the caller is to see it: a cancellation by our
// timer is a deadline exceeded.
func (a *streamAttempt) shown(err error) error {
	if err != nil && a.late.Load() && engine.CodeOf(err) == codes.Canceled {
		return status.Error(codes.DeadlineExceeded, "astra: attempt timeout exceeded")
	}
	return err
}

// headers returns the header of an attempt that has ended; it does not block
// then, and is nil exactly if none came.
func (a *streamAttempt) headers() metadata.MD {
	if a.ClientStream == nil || a.goesOn.Load() {
		return nil
	}
	md, err := a.Header()
	if err != nil {
		return nil
	}
	return md
}

func (a *streamAttempt) trailers() metadata.MD {
	if a.ClientStream == nil || a.goesOn.Load() {
		return nil
	}
	return a.Trailer()
}

// sent is the capture's, which grpc-go may write to as long as the attempt goes on.
func (a *streamAttempt) sent() bool { return a.goesOn.Load() || a.capture.sent() }

// from returns whom the attempt got a stream to, be it over or not; nil: not known.
func (a *streamAttempt) from() net.Addr {
	if a.ClientStream == nil {
		return nil
	}
	ctx := a.Context()
	if ctx == nil {
		return nil
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	return p.Addr
}

// seen is what a classifier gets of the attempt, which has failed.
func (a *streamAttempt) seen(err error) Attempt {
	return Attempt{Number: a.number, Err: err, Header: a.headers(), Trailer: a.trailers(), Sent: a.sent()}
}

// outcome returns how an attempt ended that SendMsg or Header found dead and
// that has no headers, hence no message to be eaten: nil if it ended well.
// Interceptors beneath may not bear a nil, nor another type than the method's.
func (a *streamAttempt) outcome(method string) error {
	err := a.RecvMsg(message.ReplyOf(method))
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
