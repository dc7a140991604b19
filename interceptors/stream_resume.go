package interceptors

import (
	"context"
	"errors"
	"io"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/message"
	"google.golang.org/grpc/metadata"
)

// resumption is what a stream that can be resumed remembers; the clientStream's
// mu guards it.
type resumption struct {
	ask       Resume
	sent      message.Kept // what the caller asked for
	last      any          // a copy of what was delivered last
	delivered bool
	uncopied  bool        // what was delivered last could not be copied
	header    metadata.MD // the first attempt's, once there is another; nil: none came

	context context.Context // that the stream gave; nil: none
	cancel  context.CancelFunc
}

func (r *resumption) releaseLocked() {
	r.sent.Free()
	r.sent, r.last = message.Kept{}, nil
	if r.cancel != nil {
		r.cancel()
	}
}

// resumedContext ends with the stream, and has the values of an attempt's.
type resumedContext struct {
	context.Context
	values context.Context
}

func (c resumedContext) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// contextLocked returns the context that the stream gives.
func (r *resumption) contextLocked(call, attempt context.Context, over bool) context.Context {
	if r.context == nil {
		ctx, cancel := context.WithCancel(call)
		r.context, r.cancel = resumedContext{ctx, attempt}, cancel
		if over {
			cancel()
		}
	}
	return r.context
}

// resumeLocked opens an attempt that continues after the last message delivered,
// without mu. It returns nil if there is none; the error is then the stream's.
func (s *clientStream) resumeLocked(a *streamAttempt, err error) (*streamAttempt, error) {
	r := s.resume
	for {
		if r.header == nil {
			r.header = a.headers()
		}
		next, ok := s.askResumeLocked(a)
		if !ok {
			return nil, err
		}
		var again bool
		if again, err = s.retryLocked(a, err, false); !again {
			return nil, err
		}
		a = new(streamAttempt)
		s.call.Continue()
		if err = s.openLocked(a); err != nil {
			continue
		}
		s.drivingLocked(func() {
			err = next(a)
			if err == nil || errors.Is(err, io.EOF) { // its RecvMsg will say why
				err = a.CloseSend()
			}
		})
		if err != nil {
			s.end.unsendable.Store(true)
			s.end.refused, s.end.cut = err, err
			return nil, err
		}
		s.commitLocked(a) // as the one before was: it may idle
		return a, nil
	}
}

// deliver notes a message that is being delivered: as the caller has it, which
// may not be what was decoded.
func (s *clientStream) deliver(a *streamAttempt, m any) {
	last, err := message.Copy(m, s.theirs)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase == ended {
		return
	}
	a.endure()
	s.resume.last, s.resume.delivered, s.resume.uncopied = last, true, err != nil
	s.call.Delivered()
}

// askResumeLocked returns what sends the request that continues, for which it asks
// the caller's function, without mu.
func (s *clientStream) askResumeLocked(a *streamAttempt) (send func(*streamAttempt) error, ok bool) {
	r := s.resume
	if r.sent.Empty() || r.uncopied || engine.CallerOf(s.call.Ctx) != failure.Waiting {
		return nil, false
	}
	if !r.delivered {
		sent := r.sent
		return func(a *streamAttempt) error { return sent.Send(&a.codec, a.SendMsg) }, true
	}
	sent, err := r.sent.Copy(a.codec.Base)
	if err != nil {
		return nil, false
	}
	last := r.last
	var next any
	s.drivingLocked(func() { next, ok = r.ask(s.call.Ctx, sent, last) })
	return func(a *streamAttempt) error { return a.SendMsg(next) }, ok
}

// manyRetries is after how many a backoff has its full length.
const manyRetries = 100

// livedLong reports whether an attempt of a stream that can be resumed has run
// for longer than any backoff: what follows it is no burst of retries.
func (s *clientStream) livedLong(a *streamAttempt) bool {
	c := &s.call
	return s.resume != nil && a.ClientStream != nil && !a.late.Load() &&
		c.Host.Now()-a.opened > c.Policy.Retry.Backoff.Delay(manyRetries)
}
