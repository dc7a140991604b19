package interceptors

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/message"
)

// wanted is what attempts receive into, once the caller has said so.
type wanted struct {
	reply message.Type
	known chan struct{} // closed then
}

// streamWork is the work of one of the attempts: up to its first message.
type streamWork struct {
	attempt hedgeAttempt
	streamAttempt
	s       *clientStream // what it is made with; nothing that changes is read
	opts    []grpc.CallOption
	request any
	wanted  *wanted
	opened  chan struct{}        // closed once the inner stream is there, or will not be
	headers chan<- *hedgeAttempt // gets it when its header has come

	reply any
	ended bool // it ended well, without a message
	cut   bool // its inner stream may not have ended: what that writes is not looked at
}

func (w *streamWork) Limit(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		ctx, _ = w.streamAttempt.Limit(ctx, timeout)
	} else {
		ctx, w.cancel = context.WithCancel(ctx)
	}
	return ctx, w.release
}

func (w *streamWork) of() *hedgeAttempt { return &w.attempt }

func (w *streamWork) do(a *hedgeAttempt) error { return w.shown(w.untilMessage(a)) }

func (w *streamWork) untilMessage(a *hedgeAttempt) error {
	if err := w.open(a.Ctx); err != nil {
		return err
	}
	err := w.SendMsg(w.request)
	if err == nil || errors.Is(err, io.EOF) { // its end will say why
		err = w.CloseSend()
	}
	if err != nil {
		return err
	}
	if md, _ := w.Header(); md == nil {
		err := w.outcome(w.s.method)
		w.ended = err == nil
		return err
	}
	w.endure()
	w.headers <- a
	came := time.Now()
	select {
	case <-w.wanted.known:
		a.idle = time.Since(came)
	case <-a.Ctx.Done():
		w.cut = true
		return status.FromContextError(a.Ctx.Err()).Err()
	}
	w.reply = w.wanted.reply.New()
	if err = w.RecvMsg(w.reply); errors.Is(err, io.EOF) {
		w.ended = true
		return nil
	}
	return err
}

func (w *streamWork) open(ctx context.Context) error {
	defer close(w.opened)
	inner, err := w.s.streamer(ctx, w.s.desc, w.s.cc, w.s.method, w.opts...)
	if err == nil {
		w.ClientStream = inner
	}
	return err
}

func (w *streamWork) trailers() metadata.MD {
	if w.cut {
		return nil
	}
	return w.streamAttempt.trailers()
}

func (w *streamWork) evidence() engine.Evidence {
	if w.cut {
		return engine.Evidence{}
	}
	return w.s.evidence(&w.streamAttempt, nil) // the race asks the classifier
}

func (w *streamWork) recycle() {}

func (w *streamWork) seen(err error) Attempt {
	if w.cut {
		return Attempt{Err: err}
	}
	return w.streamAttempt.seen(err)
}
