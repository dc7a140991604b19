package interceptors

import "time"

// lastWordMost is how long a stream whose context has ended waits for an
// attempt to say what it knows. One that heeds its context needs none of it.
const lastWordMost = 100 * time.Millisecond

// lastWord returns the attempt that fills the caller's options for a stream
// whose context has ended: the one that has run longest, once it has ended too, or the last
// that failed. nil: none, or nobody asks.
func (h *hedgedStream) lastWord() *side {
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
	case <-a.done:
		return a
	case <-t.C:
		return nil
	}
}

// win makes an attempt the stream, with mu held, which it lets go of meanwhile.
func (h *hedgedStream) win(a *side) {
	h.won = a
	h.current = &a.work.(*streamWork).streamAttempt
	r := h.race
	h.race = nil
	h.drives(r.leave)
	h.commit(h.current)
}
