package breaker

import (
	"sync"
	"sync/atomic"
	"time"
)

// Guard is a breaker that many calls share. While it is closed, admission is
// one atomic load and a success one atomic add on a counter that processors
// seldom share; everything else takes the lock. Successes matter only once a
// failure is to be judged, so that is when they are booked.
type Guard struct {
	word  atomic.Uint64                 // what the lock-free paths need: generation and state
	width atomic.Int64                  // of a bucket, in nanoseconds
	first shard                         // successes not booked in m yet, of a breaker that is not busy …
	more  atomic.Pointer[[shards]shard] // … and of one that is; nil: it never was
	last  atomic.Pointer[Standing]      // since the last transition; nil: there was none

	mu sync.Mutex
	m  Machine
}

const (
	stateBits = 2 // the word: generation << 2 | state
	stateMask = 1<<stateBits - 1
	shards    = 8
	// busy is how many successes a bucket has that is worth more shards: most of
	// the thousands of methods that a proxy may have are not worth that KiB.
	busy = 64
)

// shard is the write buffer of some of the successes, a counter a bucket. Each
// holds the low 32 bits of the epoch and a count of 32 bits.
type shard struct {
	slots   [buckets]atomic.Uint64
	outside atomic.Uint64             // of the window, where they still clear failures
	_       [128 - (buckets+1)*8]byte // a cache line (and its prefetched twin) each
}

// NewGuard returns a closed breaker.
func NewGuard(cfg Config) *Guard {
	g := &Guard{m: NewMachine(cfg)}
	g.publish()
	return g
}

// Reconfigure is [Machine.Reconfigure].
func (g *Guard) Reconfigure(now time.Duration, cfg Config) {
	before := g.collect(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.book(&before)
	g.m.Reconfigure(cfg)
	g.publish()
}

// AdmitClosed admits a call if the breaker is closed. It takes no time and no
// lock; if it says no, ask [Guard.Admit].
func (g *Guard) AdmitClosed() (Token, bool) {
	w := g.word.Load()
	return Token{gen: w >> stateBits}, State(w&stateMask) == Closed
}

// Admit is [Machine.Admit]; wait is [Machine.Wait] of a call that is refused.
func (g *Guard) Admit(now time.Duration) (t Token, change Transition, wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t, change, ok = g.m.Admit(now)
	if !ok {
		wait = g.m.Wait(now)
	}
	if change.Happened() {
		g.publish()
	}
	return t, change, wait, ok
}

// Skipped is [Machine.Skipped].
func (g *Guard) Skipped(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.m.Skipped(n)
}

// CutOff is [Machine.CutOff]. While the breaker is closed it takes no lock.
func (g *Guard) CutOff() bool {
	if State(g.word.Load()&stateMask) != Open {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.CutOff()
}

// Connected is [Machine.Connected].
func (g *Guard) Connected(now time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.m.Connected(now)
}

// Refuses is [Machine.Refuses]; wait is [Machine.Wait] of a call that would be
// refused.
func (g *Guard) Refuses(now time.Duration) (wait time.Duration, refuses bool) {
	if State(g.word.Load()&stateMask) == Closed {
		return 0, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.m.Refuses(now) {
		return 0, false
	}
	return g.m.Wait(now), true
}

// Succeed is Settle with [Success]. Shard is any number; calls that run on
// different processors should give different ones.
func (g *Guard) Succeed(now time.Duration, t Token, shardHint uint32) Transition {
	if w := g.word.Load(); w == t.gen<<stateBits { // closed, and ours
		l, more := &g.first, g.more.Load()
		if more != nil {
			l = &more[shardHint%shards]
		}
		if l.add(epoch(now, time.Duration(g.width.Load()))) == busy && more == nil {
			g.more.CompareAndSwap(nil, new([shards]shard))
		}
		return Transition{}
	}
	return g.Settle(now, t, Success, 0)
}

// Settle is [Machine.Settle].
func (g *Guard) Settle(now time.Duration, t Token, o Outcome, u float64) Transition {
	return g.SettleAfter(now, t, o, 0, u)
}

// SettleAfter is [Machine.SettleAfter].
func (g *Guard) SettleAfter(now time.Duration, t Token, o Outcome, waited time.Duration, u float64) Transition {
	gen := g.word.Load() >> stateBits
	late := gen != t.gen && !t.patient && (o != Success || gen != t.gen+1) // see Machine.answeredLate
	if !t.Probe() && (o == Neutral || late) {
		return Transition{} // nothing to say, or too late; and no slot to give back
	}
	before := g.collect(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.book(&before)
	change := g.m.SettleAfter(now, t, o, waited, u)
	g.publish()
	return change
}

// Opened reports whether the breaker has left the state in which the token was
// given and lets no calls through freely now: a call's further attempts should
// not be made.
func (g *Guard) Opened(t Token) bool {
	w := g.word.Load()
	return w>>stateBits != t.gen && State(w&stateMask) != Closed
}

// At is [Machine.At].
func (g *Guard) At(now time.Duration) State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.At(now)
}

func (g *Guard) publish() {
	g.width.Store(int64(g.m.calls.window.width))
	g.word.Store(g.m.gen<<stateBits | uint64(g.m.state))
	if s := g.last.Load(); s == nil && g.m.gen > 0 || s != nil && s.gen != g.m.gen {
		g.last.Store(g.m.standing())
	}
}

// batch is successes taken from the shards.
type batch struct {
	width time.Duration         // of the buckets that they were counted by
	last  int64                 // the epoch of now
	near  [2*buckets - 1]uint64 // from last − buckets + 1 on
	all   uint64
}

// collect takes the buffered successes. A call does so before it waits for the
// lock, so that what came before it is booked before it: were they taken by
// whoever has the lock, failures that queue for it would seem to have come in a
// row.
func (g *Guard) collect(now time.Duration) (b batch) {
	b.width = time.Duration(g.width.Load())
	b.last = epoch(now, b.width)
	b.collect(&g.first)
	if more := g.more.Load(); more != nil {
		for i := range more {
			b.collect(&more[i])
		}
	}
	return b
}

func (b *batch) collect(l *shard) {
	if l.outside.Load() > 0 {
		b.all += l.outside.Swap(0)
	}
	for i := range l.slots {
		e, n := take(&l.slots[i])
		if n == 0 {
			continue
		}
		b.all += uint64(n)
		// The 32 bits kept name the epoch nearest to now.
		// One far off was counted by another width, before Reconfigure.
		if off := int64(int32(e - uint32(b.last))); -buckets < off && off < buckets {
			b.near[off+buckets-1] += uint64(n)
		}
	}
}

// book makes the machine judge by all calls.
func (g *Guard) book(b *batch) {
	c := &g.m.calls
	c.succeeded(&g.m.cfg, b.all)
	if b.width != c.window.width {
		return
	}
	for i, n := range b.near {
		if n > 0 {
			c.window.addSuccesses(b.last+int64(i)-buckets+1, n)
		}
	}
}

// take empties a counter but leaves its epoch: an add that runs at the same
// time lands in the right one or is taken with it.
func take(c *atomic.Uint64) (epoch, n uint32) {
	for {
		w := c.Load()
		epoch, n = uint32(w>>32), uint32(w)
		if n == 0 || c.CompareAndSwap(w, uint64(epoch)<<32) {
			return epoch, n
		}
	}
}

// add returns what the bucket then holds, if that is more than 1.
func (l *shard) add(epoch int64) (n uint32) {
	c := &l.slots[slotOf(epoch)]
	for {
		w := c.Load()
		if uint32(w>>32) == uint32(epoch) {
			// Should the bucket turn between the two, the success is counted
			// in the next one: a window's edge is not that sharp.
			return uint32(c.Add(1))
		}
		old := uint32(w)
		if old > 0 && int32(uint32(epoch)-uint32(w>>32)) < 0 {
			l.outside.Add(1) // the clock was read a whole window ago: what is newer stays
			return 0
		}
		if c.CompareAndSwap(w, uint64(uint32(epoch))<<32|1) {
			if old > 0 {
				l.outside.Add(uint64(old))
			}
			return 0
		}
	}
}

// Standing returns where the breaker stands at a time, and since when. It takes no
// lock.
func (g *Guard) Standing(now time.Duration) Standing {
	s := g.last.Load()
	if s == nil {
		return Standing{}
	}
	return s.at(now)
}

// Forced returns what holds the breaker at a time. It takes no lock.
func (g *Guard) Forced(now time.Duration) Force { return g.Standing(now).Forced }

// Recent returns how many calls were booked in the last while of a breaker that is
// closed.
func (g *Guard) Recent(now time.Duration) (calls uint64, while time.Duration) {
	before := g.collect(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.book(&before)
	w := &g.m.calls.window
	return w.sum(now).calls, w.width * buckets
}

// Force is [Machine.Force].
func (g *Guard) Force(now, d time.Duration, f Force) Transition {
	g.mu.Lock()
	defer g.mu.Unlock()
	change := g.m.Force(now, d, f, ByHand)
	g.publish()
	return change
}

// Release is [Machine.Release].
func (g *Guard) Release(now time.Duration) Transition {
	g.mu.Lock()
	defer g.mu.Unlock()
	change := g.m.Release(now)
	g.publish()
	return change
}
