// Package budget bounds how much load retries and hedges may add.
//
// [Bucket] is the token bucket: single-threaded, time comes in as an argument.
// It is filled by successes, not by requests: a server that answers nothing
// earns no further attempts, so retries cannot keep it down (HotOS'21,
// "Metastable Failures in Distributed Systems"). A small rate by the clock
// keeps idle clients able to retry at all. [Guard] makes one safe for
// concurrent use.
package budget

import "time"

// Config sets the flow of tokens. An attempt beyond a call's first costs one.
type Config struct {
	Ratio        float64 // tokens earned by a successful call
	MinPerSecond float64 // tokens earned by time
	Burst        float64 // tokens held at most, and at the start
}

// Bucket is a budget for one owner at a time. Make one with [NewBucket].
type Bucket struct {
	cfg    Config
	tokens float64
	filled time.Duration // when time was last counted
	empty  bool          // a take was refused, and it has not recovered since
	since  time.Duration // the first such take
}

// whole absorbs the rounding of sums of ratios: ten times 0.1 is one.
const whole = 1 - 1e-9

// NewBucket returns a full bucket.
func NewBucket(now time.Duration, cfg Config) Bucket {
	return Bucket{cfg: cfg, tokens: cfg.Burst, filled: now}
}

// Deposit books a successful call.
func (b *Bucket) Deposit() { b.add(b.cfg.Ratio) }

// Refund gives back a token whose attempt was not made.
func (b *Bucket) Refund() { b.add(1) }

// Take takes one token, if there is a whole one. If there is none, the bucket is
// empty until it has recovered: see [Bucket.Empty].
func (b *Bucket) Take(now time.Duration) bool {
	b.refill(now)
	if b.tokens < whole {
		if !b.empty {
			b.empty, b.since = true, now
		}
		return false
	}
	b.tokens = max(0, b.tokens-1)
	return true
}

// Level returns the tokens held.
func (b *Bucket) Level(now time.Duration) float64 {
	b.refill(now)
	return b.tokens
}

// Empty returns since when the bucket refuses takes. It does until it is half
// full again: one that earns a token now and then, and spends it at once, is
// empty all the time.
func (b *Bucket) Empty(now time.Duration) (since time.Duration, empty bool) {
	b.refill(now)
	if !b.empty {
		return 0, false
	}
	return b.since, true
}

// Full reports whether a deposit would change nothing.
func (b *Bucket) Full() bool { return b.tokens >= b.cfg.Burst }

func (b *Bucket) refill(now time.Duration) {
	if now > b.filled {
		b.add(b.cfg.MinPerSecond * (now - b.filled).Seconds())
		b.filled = now
	}
}

func (b *Bucket) add(n float64) {
	b.tokens = min(b.cfg.Burst, b.tokens+n)
	if b.empty && b.tokens >= max(whole, b.cfg.Burst/2) {
		b.empty = false
	}
}
