package interceptors

import (
	"errors"
	"io"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/engine"
)

// streamEnd is how a stream has ended, once it has; the stream's mu guards it.
type streamEnd struct {
	committed  bool        // it had been
	final      error       // what RecvMsg returns
	cut        error       // not nil: the inner stream did not end by itself
	refused    error       // not nil: a message could not be sent, which ended the stream
	filled     bool        // the caller's options have been
	unsendable atomic.Bool // as refused, and known before who settles the stream can know
}

// finishLocked settles how the stream ended, once, without mu. Later calls
// change nothing.
func (s *clientStream) finishLocked(err error) {
	if s.phase == ended {
		return
	}
	s.end.committed = s.phase == committed || s.recvTo.Load() != nil
	s.phase = ended
	s.end.final = err
	if err == nil {
		s.end.final = io.EOF
	}
	if s.current == nil { // refused, or hedged and no attempt has been the stream
		s.current = &s.held.first
		s.current.wrap(s.theirs, false)
	}
	if s.resume != nil {
		s.resume.releaseLocked()
	}
	if !s.marks.replaying {
		s.log.Release(s.ledger)
	}
	race := s.hedge.takeLocked()
	s.changed.Broadcast()
	s.outsideLocked(func() { s.settle(err, race) })
}

// settle closes the books and lets go of everything. A stream that we aborted
// may still write header, trailer and peer, so they are not read then. A race
// that has not been won is left.
func (s *clientStream) settle(err error, race *hedgedCall) {
	c, cut := &s.call, s.end.cut
	if s.held.forget != nil {
		s.held.forget()
	}
	if s.held.probe != nil {
		s.held.probe.Stop()
	}
	if race != nil {
		if cut != nil {
			race.abandonErr = cut
		}
		race.leave()
	}
	if s.held.release != nil {
		defer s.held.release()
	}
	if errors.Is(cut, engine.ErrPanicked) {
		defer c.Unwind()
	} else {
		defer c.Finish(err, false)
		c.EndStream(err, s.end.committed, func() engine.Evidence { return s.lastEvidence(err) })
		c.Settle(err)
	}
	a := s.current
	a.release()
	if cut == nil {
		s.fill(a)
	}
	a.onFinish(err)
}

// evidence is what an attempt left that has ended by itself.
func (s *clientStream) evidence(a *streamAttempt, err error) engine.Evidence {
	ev := engine.Evidence{Known: s.cc != nil, Sent: a.sent(), Header: a.headers() != nil, Trailer: a.trailers(), Local: s.end.unsendable.Load()}
	if a.goesOn.Load() { // grpc-go may write to the capture
		ev.Peer = a.from()
	} else {
		ev.Peer = a.capture.from()
	}
	unconnected(&ev, s.cc, s.method, s.theirs)
	if c := s.plan.classifier; c != nil && err != nil {
		ev.Ruling = c.rule(&s.call, a.seen(err))
	}
	return ev
}

// lastEvidence is what the last attempt left. Of one that was cut short nothing
// can be asked but, if the caller's time is up, whether a header came: its end
// would count against the server otherwise.
func (s *clientStream) lastEvidence(err error) engine.Evidence {
	switch cut := s.end.cut; {
	case s.end.unsendable.Load():
		return engine.Evidence{Local: true}
	case cut == nil:
		return s.evidence(s.current, err)
	case s.cc != nil && engine.CodeOf(cut) == codes.DeadlineExceeded:
		return engine.Evidence{Header: s.current.headers() != nil, Peer: s.current.from()}
	}
	return engine.Evidence{}
}

// fillCutLocked fills the caller's options for a stream that was cut, once the
// inner stream has ended too: its RecvMsg has returned an error, after which it
// writes no more.
func (s *clientStream) fillCutLocked(a *streamAttempt) {
	if s.end.cut != nil && !s.end.filled && !errors.Is(s.end.cut, engine.ErrPanicked) {
		s.end.filled = true
		s.fill(a)
	}
}

// receiveLocked is the inner RecvMsg, without mu.
func (s *clientStream) receiveLocked(a *streamAttempt, m any) (err error) {
	s.marks.receiving = true
	defer func() {
		s.marks.receiving = false
		s.changed.Broadcast()
	}()
	s.outsideLocked(func() {
		err = a.RecvMsg(m)
		s.noteEnd(a, err)
	})
	return err
}

// noteEnd notes whether an attempt of which RecvMsg has returned err is over. An
// interceptor beneath that fails it for its own reasons, silence say, need not end the
// stream beneath: then its Header would block, and what else it has be written still.
// grpc-go ends a stream's context, last of all. Without a connection, the error is taken
// for the end.
func (s *clientStream) noteEnd(a *streamAttempt, err error) {
	if err == nil || errors.Is(err, io.EOF) || s.cc == nil || a.ClientStream == nil {
		return
	}
	ctx := a.Context()
	a.goesOn.Store(ctx != nil && ctx.Err() == nil)
}

// lastWordLocked fills the caller's options for a stream that was cut: once the
// inner RecvMsg has returned, they are there.
func (s *clientStream) lastWordLocked(m any) {
	a, end := s.current, &s.end
	if end.cut == nil || end.filled || a.ClientStream == nil || !a.effects {
		return
	}
	if end.refused == nil || a.cancel != nil { // else it may live on
		if s.receiveLocked(a, m) != nil { // else it goes on, and may write to them still
			s.fillCutLocked(a)
		}
	}
}

// fill fills the caller's options.
func (s *clientStream) fill(a *streamAttempt) {
	if r := s.resume; r != nil && r.header != nil {
		a.header = r.header.Copy()
	}
	if !a.goesOn.Load() { // else grpc-go may write what is delivered
		a.deliver()
	}
	if a.effects {
		err := s.end.final
		if err == io.EOF { //nolint:errorlint // our own
			err = nil
		}
		fillReports(s.theirs, &s.call, err, false)
	}
}

// abandoned runs when the caller's context ends before the stream has.
func (s *clientStream) abandoned() {
	s.atRest(func() { s.cutLocked(status.FromContextError(s.call.Ctx.Err()).Err()) })
}

// panicked settles a stream under which something panicked.
func (s *clientStream) panicked() { s.atRest(func() { s.cutLocked(engine.ErrPanicked) }) }

// cutLocked ends a stream whose inner stream goes on.
func (s *clientStream) cutLocked(err error) {
	s.end.cut = err
	s.finishLocked(err)
}

// refuseLocked ends the stream with the error of a message that could not be
// sent, at once, or when whoever drives has come to the end of that.
func (s *clientStream) refuseLocked(err error) {
	s.end.unsendable.Store(true)
	switch {
	case s.phase == ended || s.end.refused != nil:
	case s.marks.driving:
		s.end.refused = err
		go s.atRest(func() { s.endRefusedLocked(err) })
	default:
		s.endRefusedLocked(err)
	}
}

// endRefusedLocked ends the stream. If grpc-go found the fault, the inner stream
// has ended too, and its context, last of all, while ours goes on. If an
// interceptor did, it has not.
func (s *clientStream) endRefusedLocked(err error) {
	s.end.refused = err
	a := s.current
	over := a != nil && a.ClientStream != nil && !a.late.Load() && a.Context().Err() != nil
	if !over || s.call.Ctx.Err() != nil {
		s.end.cut = err
	}
	s.finishLocked(err)
}
