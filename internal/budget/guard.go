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

	mu sync.Mutex
	b  Bucket
}

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
	next.full.Store(next.b.Full())
	return next
}

// AtMost takes away what the bucket holds beyond that many tokens.
func (g *Guard) AtMost(now time.Duration, tokens float64) {
	g.locked(func(b *Bucket) { b.tokens = min(b.Level(now), tokens) })
}

// Deposit is [Bucket.Deposit].
func (g *Guard) Deposit() {
	if !g.full.Load() {
		g.locked((*Bucket).Deposit)
	}
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
	g.full.Store(g.b.Full())
}
