package interceptors

import (
	"context"
	"errors"
	"io"

	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/metadata"
)

// RecvMsg implements grpc.ClientStream.
func (s *clientStream) RecvMsg(m any) error {
	a := s.recvTo.Load()
	if a != nil && s.resume == nil {
		err := a.RecvMsg(m)
		if err != nil || !s.desc.ServerStreams {
			_, err = s.received(a, m, err)
		}
		return err
	}
	return s.guarded(func() (err error) {
		if a == nil {
			if a, err = s.recv(m); a != nil {
				a, err = s.received(a, m, err)
			}
		}
		for a != nil { // committed, or resumed
			a, err = s.received(a, m, a.RecvMsg(m))
		}
		return err
	})
}

// recv receives from attempts until one is committed, which it returns, or the
// stream ends.
func (s *clientStream) recv(m any) (*streamAttempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for s.driving && !s.done {
			s.changed.Wait()
		}
		if a := s.recvTo.Load(); s.done && a == nil {
			return nil, s.final
		}
		a := s.current
		err := s.receive(a, m)
		switch {
		case s.done && s.recvTo.Load() == nil: // abandoned meanwhile
			return nil, a.told(err)
		case err == nil || errors.Is(err, io.EOF) || s.recvTo.Load() == a:
			s.heard = err == nil && s.desc.ServerStreams // else it was the end
			s.commit(a)
			if err == nil {
				s.answered()
			}
			return a, err
		}
		if !s.drive(a, a.told(err)) {
			return nil, s.final
		}
		if s.replaying {
			go s.replay(s.current)
		}
	}
}

// answered is for a stream whose server has answered, with mu held. One that
// has ended meanwhile is being settled by another goroutine.
func (s *clientStream) answered() {
	if !s.done {
		s.call.Answered()
	}
}

// receive is the inner RecvMsg, with mu held before and after.
func (s *clientStream) receive(a *streamAttempt, m any) (err error) {
	s.receiving = true
	defer func() {
		s.receiving = false
		s.changed.Broadcast()
	}()
	s.outside(func() { err = a.RecvMsg(m) })
	return err
}

// received looks at what a committed attempt's RecvMsg returned. At the end of
// the stream it is settled, unless another attempt, which is returned, can
// continue it.
func (s *clientStream) received(a *streamAttempt, m any, err error) (*streamAttempt, error) {
	if err == nil && s.desc.ServerStreams {
		if s.resume != nil {
			s.deliver(a, m)
		}
		return nil, nil
	}
	outcome := a.told(err)
	if errors.Is(err, io.EOF) {
		outcome = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if outcome != nil && s.resume != nil && !s.done {
		next, last := s.resumed(a, outcome)
		if next != nil {
			return next, nil
		}
		outcome = last
	}
	s.finish(outcome)
	if outcome != nil {
		return nil, outcome
	}
	return nil, err
}

// Header implements grpc.ClientStream. It blocks until the stream is committed
// or has failed for good; then it returns nil, and RecvMsg tells why.
func (s *clientStream) Header() (metadata.MD, error) {
	if a := s.recvTo.Load(); a != nil {
		return a.Header()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for s.driving && !s.done {
			s.changed.Wait()
		}
		a := s.current
		var md metadata.MD
		var err error
		if s.done {
			s.outside(func() { md = a.headers() }) // one that was given up may still block
			return md, nil
		}
		s.outside(func() { md, err = a.Header() })
		switch {
		case s.done || s.driving || s.current != a:
		case md != nil || s.recvTo.Load() == a:
			s.commit(a)
			s.answered()
			return md, err
		case s.receiving: // it will find out, and drive
			s.changed.Wait()
		default: // who waits for a header receives next, and must be able to
			if next := s.foundDead(a); next != nil {
				go s.replay(next)
			}
		}
	}
}

// Trailer implements grpc.ClientStream. It commits the stream.
func (s *clientStream) Trailer() metadata.MD { return s.settled().trailers() }

// Context implements grpc.ClientStream. It commits the stream: what the
// context holds is the attempt's.
func (s *clientStream) Context() context.Context {
	if a := s.settled(); a.ClientStream != nil {
		return a.Context()
	}
	return s.call.Ctx
}

// settled returns the attempt that is the stream from now on.
func (s *clientStream) settled() *streamAttempt {
	if a := s.recvTo.Load(); a != nil {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.driving && !s.done {
		s.changed.Wait()
	}
	if !s.done {
		s.commit(s.current)
	}
	return s.current
}

// commit makes the attempt the stream, with mu held.
func (s *clientStream) commit(a *streamAttempt) {
	if s.recvTo.Load() != nil {
		return
	}
	a.commit()
	s.recvTo.Store(a)
	if !s.replaying {
		s.sendTo.Store(a)
		s.log.release(s.ledger)
	}
	s.changed.Broadcast()
}

// replay sends the log to the attempt, without mu. If that dies under it,
// whoever comes next finds it dead.
func (s *clientStream) replay(a *streamAttempt) {
	s.mu.Lock()
	log := s.log
	s.mu.Unlock()
	resent, whole := a.resend(log.messages)
	if whole && log.closed {
		_ = a.CloseSend()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replaying = false
	if s.recvTo.Load() == a { // committed meanwhile
		s.sendTo.Store(a)
	}
	if s.done || s.recvTo.Load() == a {
		s.log.release(s.ledger)
	}
	if resent > 0 { // told even if the stream has ended meanwhile
		s.call.Emit(observe.Event{Kind: observe.Replayed, Attempt: a.number, Messages: resent})
	}
	s.changed.Broadcast()
}
