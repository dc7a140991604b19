package limit

import (
	"math"
	"time"
)

// bucket is a token bucket that time fills. A call costs one token, so in any
// span of time no more go than Rate × time + Burst.
type bucket struct {
	rate   float64 // tokens a second; 0: as many as are asked for
	burst  float64 // tokens held at most
	tokens float64
	filled time.Duration // when time was last counted
	known  bool          // there has been a rate before: tokens are what it left
}

// whole absorbs the rounding of sums of fractions. What is taken too early is
// owed: tokens may fall that little below zero.
const whole = 1 - 1e-9

// configure changes the flow. Tokens held stay, as far as they fit, also while
// no rate is set; the first rate finds a full bucket.
func (b *bucket) configure(now time.Duration, rate float64, burst int) {
	b.refill(now)
	b.rate, b.burst = rate, float64(burst)
	if rate == 0 {
		return
	}
	if !b.known {
		b.known = true
		b.tokens = b.burst
	}
	b.tokens = min(b.tokens, b.burst)
}

func (b *bucket) refill(now time.Duration) {
	if now <= b.filled {
		return
	}
	if b.rate > 0 {
		b.tokens = min(b.burst, b.tokens+b.rate*(now-b.filled).Seconds())
	}
	b.filled = now
}

// take takes a token, if there is a whole one.
func (b *bucket) take(now time.Duration) bool {
	if b.rate == 0 {
		return true
	}
	b.refill(now)
	if b.tokens < whole {
		return false
	}
	b.tokens--
	return true
}

// refund gives back the token of a call that was not made.
func (b *bucket) refund() {
	if b.rate > 0 {
		b.tokens = min(b.burst, b.tokens+1)
	}
}

// wait returns how long it takes until n tokens have come, those that are there
// included, if each is taken when it comes.
func (b *bucket) wait(now time.Duration, n int) time.Duration {
	if b.rate == 0 {
		return 0
	}
	b.refill(now)
	missing := float64(n) - b.tokens
	if missing <= 1-whole {
		return 0
	}
	d := math.Ceil(missing / b.rate * float64(time.Second))
	if d >= math.MaxInt64 {
		return Forever
	}
	return time.Duration(d)
}

func (b *bucket) full(now time.Duration) bool {
	b.refill(now)
	return b.rate == 0 || b.tokens >= b.burst
}
