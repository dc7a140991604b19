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

// Resume makes of a server stream that was cut after it delivered messages the
// request that continues it. sent is what the caller asked for, last the last
// message delivered, and next what to ask for now: from that offset, revision
// or page token on. ok false means that this cannot be continued: the caller
// gets the error.
//
// It is asked after a failure while the caller waits; what the policy does not
// retry is not resumed. Backoff, budget, breaker and deadline hold as for any
// retry, but MaxAttempts and the backoff count from the last message delivered,
// or from an attempt that lived for longer than the longest backoff: a watch may
// idle. A stream that was cut before its first message is sent its request
// again, and the function is not asked.
//
// The caller sees one stream: the first attempt's header, the last one's
// trailer, and a context that lasts as long as the stream, with the values of
// the attempt that it was asked of. sent and last are copies of what the caller
// sent and received, of the caller's types, which the function may keep and
// change; next may be sent itself. A stream whose messages cannot be copied,
// since their codec decodes no requests, or encodes no replies, is not resumed.
// The function is called by the stream's receiver, one call at a time for a
// stream.
type Resume func(ctx context.Context, sent, last any) (next any, ok bool)

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
func (r *resumption) contextLocked(call, attempt context.Context, done bool) context.Context {
	if r.context == nil {
		ctx, cancel := context.WithCancel(call)
		r.context, r.cancel = resumedContext{ctx, attempt}, cancel
		if done {
			cancel()
		}
	}
	return r.context
}

// resumed opens an attempt that continues after the last message delivered,
// with mu held, which it lets go of meanwhile. It returns nil if there is none;
// the error is then the stream's.
func (s *clientStream) resumed(a *streamAttempt, err error) (*streamAttempt, error) {
	r := s.resume
	for {
		if r.header == nil {
			r.header = a.headers()
		}
		next, ok := s.askResume(a)
		if !ok {
			return nil, err
		}
		var again bool
		if again, err = s.retry(a, err, false); !again {
			return nil, err
		}
		a = new(streamAttempt)
		s.call.Continue()
		if err = s.open(a); err != nil {
			continue
		}
		s.drives(func() {
			err = next(a)
			if err == nil || errors.Is(err, io.EOF) { // its RecvMsg will say why
				err = a.CloseSend()
			}
		})
		if err != nil {
			s.refused, s.cut = err, err
			return nil, err
		}
		// The stream has been committed before: it may idle.
		a.commit()
		s.recvTo.Store(a)
		s.sendTo.Store(a)
		return a, nil
	}
}

// deliver notes a message that is being delivered: as the caller has it, which
// may not be what was decoded.
func (s *clientStream) deliver(a *streamAttempt, m any) {
	last, err := message.Copy(m, s.theirs)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	a.commit()
	s.resume.last, s.resume.delivered, s.resume.uncopied = last, true, err != nil
	s.call.Delivered()
}

// askResume returns what sends the request that continues, for which it asks
// the caller's function, without mu.
func (s *clientStream) askResume(a *streamAttempt) (send func(*streamAttempt) error, ok bool) {
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
	s.drives(func() { next, ok = r.ask(s.call.Ctx, sent, last) })
	return func(a *streamAttempt) error { return a.SendMsg(next) }, ok
}

// livedLong reports whether an attempt of a stream that can be resumed has run
// for longer than any backoff: what follows it is no burst of retries.
func (s *clientStream) livedLong(a *streamAttempt) bool {
	c := &s.call
	return s.resume != nil && a.ClientStream != nil && !a.late.Load() &&
		c.Host.Now()-a.opened > max(c.Policy.Retry.Backoff.Max, c.Policy.Retry.Backoff.Base)
}
