package budget

import (
	"sync"
	"sync/atomic"
	"time"
)

// Guard is a bucket that many calls share. A success that finds it full, the
// usual case, only reads.
type Guard struct {
	full atomic.Bool

	mu    sync.Mutex // guards what follows
	b     Bucket
	shown bool          // the last turn was that it is empty …
	since time.Duration // … since then
}

// Turn is what a bucket has become.
type Turn uint8

// What it can become; see [Bucket.Empty].
const (
	Unturned Turn = iota
	Emptied
	Recovered
)

// NewGuard returns a full bucket.
func NewGuard(now time.Duration, cfg Config) *Guard {
	g := &Guard{b: NewBucket(now, cfg)}
	g.full.Store(true)
	return g
}

// Successor returns a guard of another configuration that starts with what this
// one holds now, as far as it fits.
func (g *Guard) Successor(now time.Duration, cfg Config) *Guard {
	next := NewGuard(now, cfg)
	next.b.tokens = min(cfg.Burst, g.Level(now))
	if since, empty := g.Empty(now); empty && next.b.tokens < max(whole, cfg.Burst/2) {
		next.b.empty, next.b.since = true, since
		next.shown, next.since = true, since
	}
	next.full.Store(next.settledLocked())
	return next
}

// AtMost takes away what the bucket holds beyond that many tokens.
func (g *Guard) AtMost(now time.Duration, tokens float64) {
	g.locked(func(b *Bucket) { b.tokens = min(b.Level(now), tokens) })
}

// Deposit is [Bucket.Deposit]. It reports whether [Guard.Turned] has news.
func (g *Guard) Deposit() (news bool) {
	if g.full.Load() {
		return false
	}
	g.locked(func(b *Bucket) {
		b.Deposit()
		news = b.empty != g.shown
	})
	return news
}

// Turned returns what the bucket has become since it was asked last, and when it
// ran empty.
func (g *Guard) Turned() (turn Turn, since time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.b.empty == g.shown:
		return Unturned, 0
	case g.b.empty:
		g.shown, g.since = true, g.b.since
		turn = Emptied
	default:
		g.shown = false
		turn = Recovered
	}
	g.full.Store(g.settledLocked())
	return turn, g.since
}

// Empty is [Bucket.Empty].
func (g *Guard) Empty(now time.Duration) (since time.Duration, empty bool) {
	g.locked(func(b *Bucket) { since, empty = b.Empty(now) })
	return since, empty
}

// Refund is [Bucket.Refund].
func (g *Guard) Refund() { g.locked((*Bucket).Refund) }

// Take is [Bucket.Take].
func (g *Guard) Take(now time.Duration) (ok bool) {
	g.locked(func(b *Bucket) { ok = b.Take(now) })
	return ok
}

// Level is [Bucket.Level].
func (g *Guard) Level(now time.Duration) (tokens float64) {
	g.locked(func(b *Bucket) { tokens = b.Level(now) })
	return tokens
}

// Capacity returns the tokens held at most.
func (g *Guard) Capacity() float64 { return g.b.cfg.Burst }

func (g *Guard) locked(do func(*Bucket)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do(&g.b)
	g.full.Store(g.settledLocked())
}

// settledLocked reports whether a deposit changes nothing, and nobody is to hear
// that the bucket has recovered.
func (g *Guard) settledLocked() bool { return g.b.Full() && !g.shown }
