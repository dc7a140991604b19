package interceptors

import (
	"io"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/message"
)

// hedger opens a server stream by attempts side by side: they race until one has
// a message, has ended well, or is asked for its header or context. That one is
// the stream then, an ordinary one.
//
// The first attempt starts with the request. Others start while somebody waits,
// in RecvMsg or Header, who drives the race; who does not wait needs no hedge.
// The stream's mu guards its fields.
type hedger struct {
	s       *clientStream
	race    *hedgedCall // nil: it has not begun, or is over
	sent    bool        // SendMsg has been called
	asked   bool        // RecvMsg has been
	request any
	won     *hedgeAttempt
	wanted  wanted
	headers chan *hedgeAttempt

	check func() // called once there is an answer
}

func newHedger(s *clientStream, check func()) *hedger {
	return &hedger{
		s:       s,
		wanted:  wanted{known: make(chan struct{})},
		headers: make(chan *hedgeAttempt, maxHedgeAttempts),
		check:   check,
	}
}

// work makes another attempt's.
func (h *hedger) work() (work, error) {
	request, err := message.Copy(h.request, h.s.theirs)
	if err != nil {
		return nil, err
	}
	w := &streamWork{s: h.s, request: request, wanted: &h.wanted, opened: make(chan struct{}), headers: h.headers}
	w.attempt.over = make(chan struct{})
	w.ours = w.streamAttempt.opts[:0]
	w.opts = w.wrap(h.s.theirs, false)
	return w, nil
}

// hedgerLocked returns what opens the stream by attempts side by side; nil:
// nothing does, any more. If something comes before the request, which would
// start the first of them, an ordinary attempt is opened.
func (s *clientStream) hedgerLocked() *hedger {
	for s.hedge != nil && !s.hedge.sent && s.marks.driving && s.phase != ended {
		s.changed.Wait()
	}
	if s.hedge != nil && !s.hedge.sent && s.phase == opening {
		check := s.hedge.check
		s.hedge = nil
		if s.openFirstLocked() == nil { // else RecvMsg returns why not
			s.outsideLocked(check)
		}
	}
	return s.hedge
}

// sendLocked takes the request, a copy of it, and starts the first attempt.
func (h *hedger) sendLocked(m any) error {
	if h.s.phase == ended {
		return nil // RecvMsg returns how
	}
	err := h.startLocked(m)
	if err != nil {
		h.s.finishLocked(err)
	}
	return err
}

func (h *hedger) startLocked(m any) (err error) {
	if h.sent {
		return status.Error(codes.Internal, "astra: SendMsg called after CloseSend")
	}
	if h.request, err = message.Copy(m, h.s.theirs); err != nil {
		return err
	}
	first, err := h.work()
	if err != nil {
		return err
	}
	h.sent = true // not before: a codec may panic
	h.race = newHedgedCall(&h.s.call, h.s.plan, h.s.late, h)
	h.race.streaming, h.race.headers = true, h.headers
	h.s.drivingLocked(func() { h.race.start(first) })
	return nil
}

// receiveLocked has the attempts race, and receives the first message. It is
// recv for a stream that is hedged.
func (h *hedger) receiveLocked(m any) (a *streamAttempt, over bool, err error) {
	s := h.s
	s.restLocked()
	if !h.asked && s.phase != ended {
		h.asked = true
		if h.wanted.reply, err = message.TypeOf(m); err != nil {
			s.finishLocked(err)
			return nil, true, err
		}
		close(h.wanted.known)
	}
	h.decideLocked()
	if h.won == nil {
		return nil, true, s.end.final
	}
	s.outsideLocked(func() {
		<-h.won.over
		h.won.check()
	})
	w := h.won.work.(*streamWork)
	s.hedge = nil // an ordinary stream from here on
	s.recvTo.Store(&w.streamAttempt)
	switch {
	case s.phase == ended: // its context has
		switch {
		case w.cut: // as it won: the inner stream has not been received from
			s.lastWordLocked(m)
		case h.won.err != nil:
			s.fillCutLocked(&w.streamAttempt)
		}
		return nil, true, s.end.final
	case h.won.err == nil && !w.ended:
		s.outsideLocked(func() { message.HandOver(m, w.reply) })
		w.reply = nil
		s.answeredLocked()
		s.outsideLocked(h.check)
		return nil, true, nil
	case w.cut: // as it won: the inner stream has not been received from
		err = s.receiveLocked(&w.streamAttempt, m)
	case w.ended:
		err = io.EOF
	default:
		err = h.won.err
	}
	return &w.streamAttempt, false, err
}

// headerLocked has the attempts race until one has a header, which is the stream
// then.
func (h *hedger) headerLocked() {
	if h.race != nil {
		h.race.wantHeader() // a receiver may run it
	}
	h.s.restLocked()
	h.decideLocked()
}

// adoptLocked ends the race for the attempt that has run longest, for what its
// context or trailer holds.
func (h *hedger) adoptLocked() {
	s := h.s
	s.restLocked()
	if s.phase == ended || h.won != nil {
		return
	}
	var oldest *hedgeAttempt
	s.drivingLocked(func() { oldest = h.adoptOldest() })
	if oldest != nil {
		h.winLocked(oldest)
	} else {
		h.race.wantHeader()
		h.decideLocked()
	}
}

// adoptOldest returns nil if the attempt could not be opened, or has just ended.
func (h *hedger) adoptOldest() *hedgeAttempt {
	a := h.race.oldest()
	if a == nil {
		return nil
	}
	w := a.work.(*streamWork)
	<-w.opened
	if w.ClientStream == nil || !h.race.adopt(a) {
		return nil
	}
	return a
}

// decideLocked runs the race to its end, without mu.
func (h *hedger) decideLocked() {
	s := h.s
	if s.phase == ended || h.won != nil {
		return
	}
	var a *hedgeAttempt
	var err error
	s.drivingLocked(func() {
		if a, err = h.race.run(); a == nil && err != nil {
			a = h.lastWord()
		}
	})
	switch {
	case a != nil && a.state.Load() == reported && !a.returned:
		s.cutLocked(engine.ErrPanicked) // before anybody else goes on with the race
		a.check()
	case err == nil:
		h.winLocked(a)
		s.answeredLocked()
	default:
		if a != nil && !a.work.(*streamWork).cut {
			s.current = &a.work.(*streamWork).streamAttempt
		}
		s.finishLocked(err)
	}
}

// winLocked makes an attempt the stream, without mu.
func (h *hedger) winLocked(a *hedgeAttempt) {
	h.won = a
	h.s.current = &a.work.(*streamWork).streamAttempt
	r := h.takeLocked()
	h.s.drivingLocked(r.leave)
	h.s.commitLocked(h.s.current)
}

// takeLocked returns the race, for who takes it to leave it: nobody else sees it
// any more. nil: there is none.
func (h *hedger) takeLocked() *hedgedCall {
	if h == nil {
		return nil
	}
	r := h.race
	h.race = nil
	return r
}

// lastWordMost is how long a stream whose context has ended waits for an
// attempt to leave what it knows. One that heeds its context needs none of it.
const lastWordMost = 100 * time.Millisecond

// lastWord returns the attempt that fills the caller's options for a stream
// whose context has ended: the one that has run longest, once it has ended too,
// or the last that failed. nil: none, or nobody asks.
func (h *hedger) lastWord() *hedgeAttempt {
	a := h.race.oldest()
	if a == nil {
		return h.race.last
	}
	if !a.work.(*streamWork).effects {
		return nil
	}
	t := time.NewTimer(lastWordMost)
	defer t.Stop()
	select {
	case <-a.over:
		return a
	case <-t.C:
		return nil
	}
}
