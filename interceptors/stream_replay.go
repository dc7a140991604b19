package interceptors

import (
	"runtime/debug"

	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/message"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// keep remembers a message that the attempt has accepted, with mu held. If that
// is one too many, or cannot be kept as it was, the stream is committed.
func (s *clientStream) keep(a *streamAttempt, m any, encoded mem.BufferSlice, own bool) {
	c := &s.call
	replays := !s.done && s.recvTo.Load() == nil && c.Policy.Retry.MaxAttempts > 1
	resumes := !s.done && s.resume != nil && s.resume.sent.Empty()
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
		s.commit(a)
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
		s.replaying = false
		if s.recvTo.Load() == a { // committed meanwhile
			s.sendTo.Store(a)
		}
		if s.done || s.recvTo.Load() == a {
			s.log.Release(s.ledger)
		}
		if resent > 0 { // told even if the stream has ended meanwhile
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
	s.outside(func() { err = s.replay(a) })
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
		s.call.Host.Log().Error("astra: sending messages of a stream again panicked", "panic", p, "stack", string(debug.Stack()))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.refuseLocked(status.Errorf(codes.Internal, "astra: sending messages of the stream again panicked: %v", p))
	}()
	_ = s.replay(a)
	returned = true
}

// refuseLocked ends the stream with the error of a message that could not be
// sent, at once, or when whoever drives has come to the end of that.
func (s *clientStream) refuseLocked(err error) {
	s.unsendable.Store(true)
	switch {
	case s.done || s.refused != nil:
	case s.driving:
		s.refused = err
		go s.refuse()
	default:
		s.endRefusedLocked(err)
	}
}

// refuse is what remains of refuseLocked.
func (s *clientStream) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.driving && !s.done {
		s.changed.Wait()
	}
	if !s.done {
		s.endRefusedLocked(s.refused)
	}
}

// endRefusedLocked ends the stream. If grpc-go found the fault, the inner stream
// has ended too, and its context, last of all, while ours goes on. If an
// interceptor did, it has not.
func (s *clientStream) endRefusedLocked(err error) {
	s.refused = err
	a := s.current
	ended := a != nil && a.ClientStream != nil && !a.late.Load() && a.Context().Err() != nil
	if !ended || s.call.Ctx.Err() != nil {
		s.cut = err
	}
	s.finish(err)
}
