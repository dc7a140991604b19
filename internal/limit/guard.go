package limit

import (
	"sync"
	"sync/atomic"
	"time"
)

// Guard is a limit that many calls share. While slots are free, nobody waits
// and there is no rate, entering and leaving are one compare-and-swap each;
// everything else takes the lock.
type Guard struct {
	// word is what the lock-free paths need: calls in flight and how many may
	// be, and whether entering and leaving are for the lock. It holds the count
	// while the lock is free; who takes the lock takes the count with it.
	word atomic.Uint64

	mu sync.Mutex
	q  Queue
}

const (
	countMask   = 1<<31 - 1
	maxShift    = 31
	lockedEnter = 1 << 62
	lockedLeave = 1 << 63
)

// NewGuard returns an empty queue with a full bucket.
func NewGuard(now time.Duration, cfg Config) *Guard {
	g := &Guard{q: NewQueue(now, cfg)}
	g.publish()
	return g
}

// Reconfigure is [Queue.Reconfigure], and admits who may go now.
func (g *Guard) Reconfigure(now time.Duration, cfg Config) {
	g.lock()
	defer g.unlock(now)
	g.q.Reconfigure(now, cfg)
}

// EnterFree admits a call if that needs neither lock nor clock; if it says no,
// ask [Guard.Enter].
func (g *Guard) EnterFree() bool {
	for {
		w := g.word.Load()
		if w&lockedEnter != 0 || w&countMask >= w>>maxShift&countMask {
			return false
		}
		if g.word.CompareAndSwap(w, w+1) {
			return true
		}
	}
}

// Enter is [Queue.Enter].
func (g *Guard) Enter(now, patience time.Duration) (Answer, *Ticket) {
	g.lock()
	defer g.unlock(now)
	g.serve(now) // those whose token has just come were first
	a, t := g.q.Enter(now, patience)
	if t != nil {
		t.Ready = make(chan struct{}, 1)
	}
	return a, t
}

// Poll is [Queue.Poll].
func (g *Guard) Poll(now time.Duration, t *Ticket) Answer {
	g.lock()
	defer g.unlock(now)
	g.serve(now)
	return g.q.Poll(now, t)
}

// Cancel is [Queue.Cancel].
func (g *Guard) Cancel(now time.Duration, t *Ticket) {
	g.lock()
	defer g.unlock(now)
	g.q.Cancel(now, t)
}

// LeaveFree frees the slot of a call if that needs neither lock nor clock, and
// teaches nothing; if it says no, call [Guard.Leave].
func (g *Guard) LeaveFree() bool {
	for {
		w := g.word.Load()
		if w&lockedLeave != 0 {
			return false
		}
		if g.word.CompareAndSwap(w, w-1) {
			return true
		}
	}
}

// Leave is [Queue.Leave].
func (g *Guard) Leave(now time.Duration, s Sample) {
	g.lock()
	defer g.unlock(now)
	g.q.Leave(now, s)
}

// Return is [Queue.Return].
func (g *Guard) Return(now time.Duration) {
	g.lock()
	defer g.unlock(now)
	g.q.Return(now)
}

// Idle is [Queue.Idle].
func (g *Guard) Idle(now time.Duration) bool {
	g.lock()
	defer g.unlock(now)
	return g.q.Idle(now)
}

// Level returns how many calls are in flight and wait, and how many may be in
// flight; bounded is false if any number may.
func (g *Guard) Level() (inFlight, waiting, most int, bounded bool) {
	g.lock()
	defer g.publishAndUnlock()
	return g.q.inFlight, g.q.waiting, g.q.Max(), g.q.cfg.MaxConcurrent > 0
}

// lock closes the lock-free paths and takes their count.
func (g *Guard) lock() {
	g.mu.Lock()
	g.q.inFlight = int(g.word.Swap(lockedEnter|lockedLeave) & countMask)
}

// unlock admits those who may go, and opens the paths that may be used now.
func (g *Guard) unlock(now time.Duration) {
	g.serve(now)
	g.publishAndUnlock()
}

func (g *Guard) publishAndUnlock() {
	g.publish()
	g.mu.Unlock()
}

// serve admits those who may go, and wakes the first of those who may not if it
// is to ask again sooner than it thinks.
func (g *Guard) serve(now time.Duration) {
	for t := g.q.Promote(now); t != nil; t = g.q.Promote(now) {
		t.wake()
	}
	if t := g.q.first; t != nil && g.q.next(now) < t.asks {
		t.wake()
	}
}

func (t *Ticket) wake() {
	select {
	case t.Ready <- struct{}{}:
	default: // it has been woken, and has not asked yet
	}
}

func (g *Guard) publish() {
	q := &g.q
	w := uint64(q.inFlight) | uint64(q.Max())<<maxShift
	if q.waiting > 0 || q.cfg.Rate > 0 {
		w |= lockedEnter
	}
	if q.waiting > 0 || q.wanted >= 0 || q.cfg.Adaptive {
		w |= lockedLeave
	}
	g.word.Store(w)
}
