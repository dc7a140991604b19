package interceptors

import (
	"errors"
	"io"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/engine"
	"google.golang.org/grpc/status"
)

// finish settles how the stream ended, once, with mu held, which it lets go of
// meanwhile. Later calls change nothing.
func (s *clientStream) finish(err error) {
	if s.done {
		return
	}
	s.done = true
	s.final = err
	if err == nil {
		s.final = io.EOF
	}
	if s.current == nil { // refused, or hedged and no attempt has been the stream
		s.current = &s.first
		s.first.wrap(s.theirs, false)
	}
	if s.resume != nil {
		s.resume.releaseLocked()
	}
	if !s.replaying {
		s.log.Release(s.ledger)
	}
	s.changed.Broadcast()
	s.mu.Unlock()
	defer s.mu.Lock()
	s.conclude(err)
}

// conclude closes the books and lets go of everything. A stream that did not
// end by itself may still be writing its header, trailer and peer: these are
// not looked at then.
func (s *clientStream) conclude(err error) {
	c := &s.call
	if s.forget != nil {
		s.forget()
	}
	if s.lived != nil {
		s.lived.Stop()
	}
	if s.race != nil {
		if s.cut != nil {
			s.race.left = s.cut
		}
		s.race.leave()
		s.race = nil
	}
	if s.release != nil {
		defer s.release()
	}
	if errors.Is(s.cut, engine.ErrPanicked) {
		defer c.Unwind()
	} else {
		defer c.Finish(err, false)
		if c.Runs() {
			ev := s.lastEvidence()
			c.EndStream(err, s.recvTo.Load() != nil, ev)
		}
		c.Settle(err)
	}
	a := s.current
	a.release()
	if s.cut == nil {
		s.fill(a)
	}
	a.onFinish(err)
}

// evidence is what an attempt left that has ended by itself.
func (s *clientStream) evidence(a *streamAttempt) engine.Evidence {
	return engine.Evidence{Known: s.cc != nil, Sent: a.sent(), Header: a.headers() != nil, Trailer: a.trailers(), Local: s.unsendable.Load()}
}

// lastEvidence is what the last attempt left. Of one that was cut short nothing
// can be asked but, if the caller's time is up, whether a header came: its end
// would count against the server otherwise.
func (s *clientStream) lastEvidence() engine.Evidence {
	switch {
	case s.unsendable.Load():
		return engine.Evidence{Local: true}
	case s.cut == nil:
		return s.evidence(s.current)
	case s.cc != nil && engine.CodeOf(s.cut) == codes.DeadlineExceeded:
		return engine.Evidence{Header: s.current.headers() != nil}
	}
	return engine.Evidence{}
}

// awaitHeader notes that an attempt has been answered, be the receiver in
// RecvMsg or not: AttemptTimeout is over then, and the server is known to be
// back. It returns when the header comes, or the attempt ends.
func (s *clientStream) awaitHeader(a *streamAttempt) {
	defer func() { _ = recover() }() // an interceptor's: who uses the stream will meet it
	if a.headers() == nil {
		return
	}
	if a.deadline != nil {
		a.deadline.Stop()
	}
	s.noted(func() {
		if s.current == a {
			s.call.Answered()
		}
	})
}

// probeLived is for a stream that has held a probe's place for its time, and has
// not failed.
func (s *clientStream) probeLived() { s.noted(s.call.Lived) }

// noted does something to the call when nobody else does, unless the stream has
// ended.
func (s *clientStream) noted(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.driving && !s.done {
		s.changed.Wait()
	}
	if !s.done {
		do()
	}
}

// fillLocked fills the caller's options for a stream that was cut, once the
// inner stream has ended too: its RecvMsg has returned an error, after which it
// writes no more.
func (s *clientStream) fillLocked(a *streamAttempt) {
	if s.cut != nil && !s.filled && !errors.Is(s.cut, engine.ErrPanicked) {
		s.filled = true
		s.fill(a)
	}
}

// fill fills the caller's options.
func (s *clientStream) fill(a *streamAttempt) {
	if r := s.resume; r != nil && r.header != nil {
		a.header = r.header.Copy()
	}
	a.deliver()
	if a.effects {
		err := s.final
		if err == io.EOF { //nolint:errorlint // our own
			err = nil
		}
		fillReports(s.theirs, &s.call, err, false)
	}
}

// abandoned runs when the caller's context ends before the stream has.
func (s *clientStream) abandoned() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.driving && !s.done {
		s.changed.Wait()
	}
	if !s.done {
		s.cut = status.FromContextError(s.call.Ctx.Err()).Err()
		s.finish(s.cut)
	}
}

// panicked settles a stream under which something panicked.
func (s *clientStream) panicked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.driving && !s.done {
		s.changed.Wait()
	}
	if !s.done {
		s.cut = engine.ErrPanicked
		s.finish(s.cut)
	}
}
