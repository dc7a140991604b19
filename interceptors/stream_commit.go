package interceptors

// commitLocked makes the current attempt the stream: no other will follow it, but
// for a resumption. It is the only way there.
func (s *clientStream) commitLocked(a *streamAttempt) {
	if s.phase >= committed {
		return
	}
	s.phase = committed
	a.endure()
	if s.hedge == nil { // else its first message is received by its own goroutine
		s.recvTo.Store(a)
	}
	if !s.marks.replaying {
		s.sendTo.Store(a)
		s.log.Release(s.ledger)
	}
	s.changed.Broadcast()
}

// answeredLocked is for a stream whose server has answered. One that has ended
// meanwhile is being settled by another goroutine.
func (s *clientStream) answeredLocked() {
	if s.phase != ended {
		s.call.Answered(s.current.from())
	}
}

// awaitHeader notes that an attempt has been answered, be the receiver in
// RecvMsg or not: AttemptTimeout is over then, and the server is known to be
// back. It returns when the header comes, or the attempt ends.
func (s *clientStream) awaitHeader(a *streamAttempt) {
	defer func() { _ = recover() }() // an interceptor's: who uses the stream will meet it
	if a.headers() == nil {
		return
	}
	a.endure()
	s.atRest(func() {
		if s.current == a {
			s.call.Answered(a.from())
		}
	})
}

// probeLived is for a stream that has held a probe's slot for its time, and has
// not failed.
func (s *clientStream) probeLived() { s.atRest(s.call.Lived) }

// atRest does something, with mu held, when nobody drives; not to a stream that
// has ended.
func (s *clientStream) atRest(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restLocked(); s.phase != ended {
		do()
	}
}
