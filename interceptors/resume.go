package interceptors

import (
	"context"
	"errors"
	"io"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/retry"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/mem"
)

// Resume makes of a server stream that was cut after it delivered messages the
// request that continues it. sent is what the caller asked for, last the last
// message delivered, and next what to ask for now: from that offset, revision
// or page token on. ok false means that this cannot be continued: the caller
// gets the error.
//
// It is asked after a failure while the caller waits; what the policy does not
// retry is not resumed. Backoff, budget, breaker
// and deadline hold as for any retry, but MaxAttempts and the backoff count
// from the last message delivered. The caller sees one stream: the first
// attempt's header, the last one's trailer. sent and last are copies, of the
// caller's types, which the function may keep and change; next may be sent
// itself. It is called by the stream's receiver, one call at a time for a
// stream.
type Resume func(ctx context.Context, sent, last any) (next any, ok bool)

// resumption is what a stream that can be resumed remembers.
type resumption struct {
	ask       Resume
	sent      sentMessage // what the caller asked for
	last      sentMessage // what was delivered last
	delivered bool
}

func (r *resumption) release() {
	r.sent.encoded.Free()
	r.last.encoded.Free()
	r.sent.encoded, r.last.encoded = nil, nil
}

// keepSent remembers the request; the stream has one.
func (r *resumption) keepSent(m any, encoded mem.BufferSlice) {
	encoded.Ref()
	r.sent = sentMessage{m, encoded}
}

// keepLast remembers a message that is being delivered.
func (r *resumption) keepLast(m any, encoded mem.BufferSlice) {
	r.last.encoded.Free()
	r.last = sentMessage{m, encoded}
	r.delivered = true
}

// resumed opens an attempt that continues after the last message delivered,
// with mu held, which it lets go of meanwhile. It returns nil if there is none;
// the error is then the stream's.
func (s *clientStream) resumed(a *streamAttempt, err error) (*streamAttempt, error) {
	for {
		next, ok := s.askResume(a)
		if !ok {
			return nil, err
		}
		var again bool
		if again, err = s.retry(a, err, false); !again {
			return nil, err
		}
		a = new(streamAttempt)
		s.call.Kind = observe.ResumeAttempt
		if err = s.open(a); err != nil {
			continue
		}
		s.drives(func() {
			err = a.SendMsg(next)
			if err == nil || errors.Is(err, io.EOF) { // its RecvMsg will say why
				err = a.CloseSend()
			}
		})
		if err != nil {
			return nil, a.told(err)
		}
		s.recvTo.Store(a)
		s.sendTo.Store(a)
		return a, nil
	}
}

// deliver notes a message that is being delivered.
func (s *clientStream) deliver(a *streamAttempt, m any) {
	encoded, ok := a.codec.takeReceived()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.done:
		encoded.Free()
	case ok:
		a.commit()
		s.resume.keepLast(m, encoded)
		s.call.Loop.Delivered()
	default: // an interceptor beneath made it up
		s.resume.delivered = false
	}
}

// askResume asks the caller's function, without mu, for the request that
// continues.
func (s *clientStream) askResume(a *streamAttempt) (next any, ok bool) {
	r := s.resume
	if !r.delivered || r.sent.like == nil || engine.CallerOf(s.call.Ctx) != retry.Waiting {
		return nil, false
	}
	sent, err := a.codec.copyOf(r.sent.like, r.sent.encoded)
	if err != nil {
		return nil, false
	}
	last, err := a.codec.copyOf(r.last.like, r.last.encoded)
	if err != nil {
		return nil, false
	}
	s.drives(func() { next, ok = r.ask(s.call.Ctx, sent, last) })
	return next, ok
}
