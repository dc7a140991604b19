package interceptors

import (
	"context"
	"errors"
	"io"

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
			var over bool
			if a, over, err = s.recv(m); over {
				return err
			}
			a, err = s.received(a, m, err)
		}
		for a != nil { // committed, or resumed
			a, err = s.received(a, m, a.RecvMsg(m))
		}
		return err
	})
}

// recv receives from attempts until one is committed, which it returns with what
// its RecvMsg returned. over: that is not to be looked at, and RecvMsg returns
// err.
func (s *clientStream) recv(m any) (a *streamAttempt, over bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hedgerLocked(); h != nil {
		return h.receiveLocked(m)
	}
	for {
		s.restLocked()
		if s.phase == ended && !s.end.committed {
			s.lastWordLocked(m)
			return nil, true, s.end.final
		}
		a := s.current
		err := s.receiveLocked(a, m)
		switch {
		case s.phase == ended && !s.end.committed:
			return nil, true, s.cutMeanwhileLocked(a, err)
		case err == nil || errors.Is(err, io.EOF) || s.phase >= committed:
			a.heard = err == nil && s.desc.ServerStreams // else it was the end
			s.commitLocked(a)
			if err == nil {
				s.answeredLocked()
			}
			return a, false, err
		}
		if !s.driveLocked(a, a.shown(err)) {
			return nil, true, s.end.final
		}
		if s.marks.replaying {
			go s.replayAside(s.current)
		}
	}
}

// cutMeanwhileLocked returns what RecvMsg returns of a stream that was abandoned
// or refused a message while the attempt was received from.
func (s *clientStream) cutMeanwhileLocked(a *streamAttempt, err error) error {
	if err != nil {
		s.fillCutLocked(a)
	}
	if s.end.refused != nil {
		return s.end.refused
	}
	return a.shown(err)
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
	outcome := a.shown(err)
	if errors.Is(err, io.EOF) {
		outcome = nil
	}
	s.noteEnd(a, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if outcome != nil && s.resume != nil && s.phase != ended {
		next, last := s.resumeLocked(a, outcome)
		if next != nil {
			return next, nil
		}
		outcome = last
	}
	if s.phase == ended {
		s.fillCutLocked(a)
		if s.end.refused != nil {
			return nil, s.end.refused
		}
	}
	s.finishLocked(outcome)
	if outcome != nil {
		return nil, outcome
	}
	return nil, err
}

// Header implements grpc.ClientStream. It blocks until the stream is committed
// or has failed for good; then it returns nil, and RecvMsg returns why.
func (s *clientStream) Header() (metadata.MD, error) {
	if a := s.recvTo.Load(); a != nil && s.resume == nil {
		return a.Header()
	}
	s.race((*hedger).headerLocked)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.resume != nil && s.resume.header != nil {
		return s.resume.header.Copy(), nil
	}
	for {
		s.restLocked()
		a := s.current
		switch s.phase {
		case committed:
			return s.headerLocked(a)
		case ended:
			md, _ := s.headerLocked(a) // one that was given up may still block
			return md, nil
		}
		if md, err := s.headerLocked(a); s.headerIsLocked(a, md) {
			return md, err
		}
	}
}

// headerIsLocked reports whether an attempt's header is the stream's. If the
// attempt has none, it is dead: then another follows, or the end.
func (s *clientStream) headerIsLocked(a *streamAttempt, md metadata.MD) bool {
	switch {
	case s.phase == ended || s.marks.driving || s.current != a:
	case md != nil || s.phase == committed:
		s.commitLocked(a)
		if md != nil {
			s.answeredLocked()
		}
		return true
	case s.marks.receiving: // it will find out, and drive
		s.changed.Wait()
	default: // who waits for a header receives next, and must be able to
		if next := s.foundDeadLocked(a); next != nil {
			go s.replayAside(next)
		}
	}
	return false
}

// headerLocked is the inner Header, without mu.
func (s *clientStream) headerLocked(a *streamAttempt) (md metadata.MD, err error) {
	if a.ClientStream != nil {
		s.outsideLocked(func() { md, err = a.Header() })
	}
	return md, err
}

// Trailer implements grpc.ClientStream. It commits the stream.
func (s *clientStream) Trailer() metadata.MD {
	a := s.settled()
	if s.resume != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.phase == ended && s.current.ClientStream == nil {
			return nil // the last attempt could not be opened: an earlier one's trailer says nothing of its error
		}
	}
	if a.ClientStream == nil {
		return nil
	}
	return a.Trailer()
}

// Context implements grpc.ClientStream. It commits the stream: what the
// context holds is the attempt's.
func (s *clientStream) Context() context.Context {
	a := s.settled()
	switch {
	case a.ClientStream == nil:
		return s.call.Ctx
	case s.resume == nil:
		return a.Context()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.resume.contextLocked(s.call.Ctx, a.Context(), s.phase == ended)
}

// settled returns the attempt that is the stream from now on.
func (s *clientStream) settled() *streamAttempt {
	if a := s.recvTo.Load(); a != nil {
		return a
	}
	s.race((*hedger).adoptLocked)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restLocked()
	if s.phase == trying {
		s.commitLocked(s.current)
	}
	return s.current
}

// race has the attempts of a hedged stream race until one is the stream; a stream
// that is not hedged, or no more, has nothing to do.
func (s *clientStream) race(how func(*hedger)) {
	_ = s.guarded(func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if h := s.hedgerLocked(); h != nil && s.phase == opening {
			how(h)
		}
		return nil
	})
}
