package interceptors

import (
	"errors"
	"io"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/message"
	"github.com/astra-grpc/astra/observe"
)

// SendMsg implements grpc.ClientStream. io.EOF means that the stream has ended;
// RecvMsg returns how.
func (s *clientStream) SendMsg(m any) error {
	if a := s.sendTo.Load(); a != nil {
		return s.sent(a.SendMsg(m))
	}
	err := s.guarded(func() error { return s.send(m) })
	if !s.desc.ClientStreams && errors.Is(err, io.EOF) {
		return nil // as grpc-go has it: RecvMsg is what comes next
	}
	return err
}

func (s *clientStream) send(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restLocked()
	if s.hedge != nil {
		return s.hedge.sendLocked(m)
	}
	return s.sendLocked(m)
}

// sendLocked sends a message to one attempt after another, until one has taken
// it.
func (s *clientStream) sendLocked(m any) error {
	for {
		a, ok := s.toSendLocked()
		if !ok {
			return io.EOF
		}
		encoded, own, err := s.sendToLocked(a, m)
		if err == nil && s.current == a && s.phase != ended {
			s.keepLocked(a, m, encoded, own)
			return nil
		}
		if own {
			encoded.Free()
		}
		if refused(err) { // whatever becomes of the attempt, it is the message's fault
			s.refuseLocked(err)
			return err
		}
		if over, err := s.unsentLocked(a); over {
			return err
		}
	}
}

// sendToLocked sends a message to an attempt, and waits until nobody is finding
// out what became of that. io.EOF alone does not say: grpc-go's transparent
// retry can bring a stream back to life that has returned it, with the message.
func (s *clientStream) sendToLocked(a *streamAttempt, m any) (encoded mem.BufferSlice, own bool, err error) {
	s.outsideLocked(func() { encoded, own, err = a.codec.Send(m, a.SendMsg) })
	if refused(err) {
		s.end.unsendable.Store(true)
		return encoded, own, err
	}
	for s.current == a && s.phase < committed && (s.marks.driving || s.marks.receiving && err != nil) {
		s.changed.Wait()
	}
	return encoded, own, err
}

// refused reports whether an error of SendMsg is that of a message.
func refused(err error) bool { return err != nil && !errors.Is(err, io.EOF) }

// unsentLocked is for a message that an attempt has not taken, as far as is
// known. over: it is not to be sent to another, and err is what SendMsg returns.
func (s *clientStream) unsentLocked(a *streamAttempt) (over bool, err error) {
	switch {
	case s.phase == ended:
		return true, io.EOF
	case s.current != a: // the next has not got this message
		return false, nil
	case s.phase == committed && a.heard:
		// It lives: grpc-go's transparent retry has brought it back, and
		// the message with it. If it has ended since, the next message meets that.
		return true, nil
	case s.phase == committed:
		return true, io.EOF
	}
	if next := s.foundDeadLocked(a); next != nil {
		if err := s.replayLocked(next); err != nil {
			return true, err
		}
	}
	if s.current == a {
		return true, io.EOF
	}
	return false, nil
}

// sent looks at what a committed attempt's SendMsg returned: the caller's own
// fault ends the stream, as grpc-go has it.
func (s *clientStream) sent(err error) error {
	if refused(err) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refuseLocked(err)
	}
	return err
}

// toSendLocked waits until there is an attempt to send to; ok is false if the
// stream has ended.
func (s *clientStream) toSendLocked() (a *streamAttempt, ok bool) {
	for (s.marks.driving || s.marks.replaying) && s.phase != ended {
		s.changed.Wait()
	}
	return s.current, s.phase != ended
}

// foundDeadLocked is for who finds that an attempt takes no more messages or has
// no header: it asks for the reason and drives, without mu. If headers came, the
// stream is committed: there may be messages to receive, so this is not the end.
// An attempt that it returns is to be sent the log.
func (s *clientStream) foundDeadLocked(a *streamAttempt) *streamAttempt {
	var err error
	var md metadata.MD
	s.drivingLocked(func() {
		if md = a.headers(); md == nil {
			err = a.shown(a.outcome(s.method))
		}
	})
	switch {
	case s.phase == ended:
	case md != nil:
		s.commitLocked(a)
	case err == nil: // it ended well without a word
		s.commitLocked(a)
		s.finishLocked(nil)
	case s.driveLocked(a, err) && s.marks.replaying:
		return s.current
	}
	return nil
}

// CloseSend implements grpc.ClientStream.
func (s *clientStream) CloseSend() error {
	if a := s.sendTo.Load(); a != nil {
		return a.CloseSend()
	}
	var a *streamAttempt
	_ = s.guarded(func() error { a = s.closeLog(); return nil })
	if a == nil {
		return nil
	}
	return a.CloseSend()
}

// closeLog returns the attempt to be closed; nil: none is, any more.
func (s *clientStream) closeLog() *streamAttempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hedgerLocked() != nil {
		return nil // the request has closed it
	}
	a, ok := s.toSendLocked()
	s.log.Closed = true
	if !ok {
		return nil
	}
	return a
}

// keepLocked remembers a message that the attempt has taken. If that is one too
// many, or cannot be kept as it was, the stream is committed.
func (s *clientStream) keepLocked(a *streamAttempt, m any, encoded mem.BufferSlice, own bool) {
	c := &s.call
	replays := s.phase < committed && c.Policy.Retry.MaxAttempts > 1
	resumes := s.phase != ended && s.resume != nil && s.resume.sent.Empty()
	if !replays && !resumes {
		if own {
			encoded.Free()
		}
		return
	}
	k, ok := message.Keep(m, a.codec.Base, encoded, own)
	if ok && resumes {
		k.Ref()
		s.resume.sent = k
	}
	if ok && replays && s.log.Add(k, c.Policy.BufferBytes, s.ledger) {
		return
	}
	k.Free()
	if replays {
		c.Stop(failure.Buffer)
		s.commitLocked(a)
	}
}

// replay sends the log to the attempt, without mu. If that dies under it,
// whoever comes next finds it dead. The error is that of a message that could
// not be sent, which has ended the stream.
func (s *clientStream) replay(a *streamAttempt) (err error) {
	s.mu.Lock()
	log := s.log
	s.mu.Unlock()
	resent := 0
	defer func() { // a codec may panic
		s.mu.Lock()
		defer s.mu.Unlock()
		s.marks.replaying = false
		if s.recvTo.Load() == a { // committed meanwhile
			s.sendTo.Store(a)
		}
		if s.phase == ended || s.recvTo.Load() == a {
			s.log.Release(s.ledger)
		}
		if resent > 0 { // even if the stream has ended meanwhile
			s.call.Emit(observe.Event{Kind: observe.Replayed, Attempt: a.number, Messages: resent})
		}
		s.changed.Broadcast()
		if err != nil {
			s.refuseLocked(err)
		}
	}()
	if resent, err = a.resend(log.Messages); err == nil && log.Closed {
		_ = a.CloseSend()
	}
	return err
}

// replayLocked is replay on the sender's own goroutine, where its panics
// surface.
func (s *clientStream) replayLocked(a *streamAttempt) (err error) {
	s.outsideLocked(func() { err = s.replay(a) })
	return err
}

// replayAside is replay on a goroutine of ours, beside the receiver. A panic
// must not end the process: it ends the stream.
func (s *clientStream) replayAside(a *streamAttempt) {
	returned := false
	defer func() {
		if returned {
			return
		}
		p := recover() // nil: runtime.Goexit
		s.call.Host.Log().Error("astra: replaying a stream's messages panicked", "method", s.method, "panic", p, "stack", string(debug.Stack()))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refuseLocked(status.Errorf(codes.Internal, "astra: replaying the stream's messages panicked: %v", p))
	}()
	_ = s.replay(a)
	returned = true
}
