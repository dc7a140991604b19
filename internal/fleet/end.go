package fleet

import (
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

// End is how an attempt ended.
type End struct {
	Bad      bool          // it speaks against the server
	Good     bool          // the server is well
	Done     bool          // and did what it was asked for: the time it took is a latency
	Strained bool          // the server turned it down, or took too long
	Alive    bool          // the server said something
	Lost     bool          // with its connection
	Slow     time.Duration // what takes as long is slow; 0: nothing is
	Shard    uint32
}

// Change is what the end of an attempt changed.
type Change struct {
	Backend    *Backend // on which it was; nil: the attempt got none, or has ended before
	Transition breaker.Transition
}

// End settles the attempt, once, and returns what that has changed. If the
// attempt got no backend, there is nothing to settle.
func (a *Attempt) End(now time.Duration, e End) Change {
	c := a.call
	c.mu.Lock()
	b, t, began, done := a.backend, a.token, a.began, a.ended
	counted := a.heard && e.Good
	losses := a.losses
	a.ended = true
	c.mu.Unlock()
	if b == nil || done {
		return Change{}
	}
	if t.Probe() {
		b.probes.Add(-1)
	}
	a.leave(b)
	took := max(1, now-began)
	if e.Alive || e.Good {
		b.Meter.Heard(now)
	}
	o := a.judged(b, e, took, losses)
	a.measure(b, e, now, took)
	b.count(e)
	if counted {
		return Change{Backend: b}
	}
	return Change{b, b.settle(now, t, o, e.Shard)}
}

// measure has the meter learn of the attempt.
func (a *Attempt) measure(b *Backend, e End, now, took time.Duration) {
	switch {
	case e.Done && !a.stream && b.looks.Load() > 0 && b.Meter.FastAgain(now, took):
		b.looks.Store(0)
	case e.Done && !a.stream:
		b.Meter.Succeeded(now, took)
	case e.Good && a.stream:
		b.Meter.Succeeded(now, 0)
	case e.Good, e.Bad, e.Strained: // be it NOT_FOUND: a backend that says so at once must not seem the better for it
		b.Meter.Failed(now, a.bound(took))
	default:
		b.Meter.AtLeast(now, a.bound(took))
	}
}

// bound is what the attempt says of latency if nobody answered: as a stream may
// live for days, nothing.
func (a *Attempt) bound(took time.Duration) time.Duration {
	if a.stream {
		return 0
	}
	return took
}

// judged is what the attempt says to the backend's breaker.
func (a *Attempt) judged(b *Backend, e End, took time.Duration, losses uint64) breaker.Outcome {
	slow := e.Slow > 0 && !a.stream && took >= e.Slow
	switch {
	case e.Good && slow:
		b.last.Store(bad)
		return breaker.SlowSuccess
	case e.Good:
		if b.last.Load() != good {
			b.last.Store(good)
		}
		return breaker.Success
	case !e.Bad:
		return breaker.Neutral
	}
	b.last.Store(bad)
	switch {
	case e.Lost && !b.losses.CompareAndSwap(losses, losses+1):
		return breaker.Neutral // another attempt has counted this event
	case slow:
		return breaker.SlowFailure
	}
	return breaker.Failure
}

func (b *Backend) count(e End) {
	switch {
	case e.Good:
		b.counts[Success].Add(1)
	case e.Bad:
		b.counts[Failure].Add(1)
	default:
		b.counts[Other].Add(1)
	}
}

// Answered is for a stream whose server has answered: that is its success, at
// that moment. How it ends may speak against the server all the same.
func (a *Attempt) Answered(now time.Duration, shard uint32) Change {
	c := a.call
	c.mu.Lock()
	b, t := a.backend, a.token
	if b == nil || a.ended {
		c.mu.Unlock()
		return Change{}
	}
	if t.Probe() {
		b.probes.Add(-1)
		a.token, _ = b.guard.AdmitClosed() // what it ends with is not a probe's
	}
	a.heard = true
	c.mu.Unlock()
	b.Meter.Heard(now)
	b.last.Store(good)
	return Change{b, b.settle(now, t, breaker.Success, shard)}
}

// out reports whether the attempt went to a backend that is believed out now.
func (a *Attempt) out() bool {
	b := a.Backend()
	return b != nil && b.out()
}

// LastGood is a backend on which a method last succeeded: as long as it is well,
// failures on others say nothing about the target.
type LastGood struct{ backend atomic.Pointer[Backend] }

// saw notes that an attempt has succeeded, or failed, on a backend; nil: on none.
func (w *LastGood) saw(b *Backend, ok bool) {
	if b == nil {
		return
	}
	switch was := w.backend.Load(); {
	case ok && was != b && (was == nil || !was.well()):
		w.backend.Store(b)
	case !ok && was == b:
		w.backend.CompareAndSwap(b, nil)
	}
}

// well reports whether there is such a backend among several.
func (w *LastGood) well() bool {
	b := w.backend.Load()
	return b != nil && b.well() && len(*b.fleet.all.Load()) > 1
}
