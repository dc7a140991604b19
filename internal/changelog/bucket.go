package changelog

import (
	"math"
	"sync/atomic"
	"time"
)

// Bucket is a token bucket without a lock: all it keeps is the time at which it
// will be full again.
type Bucket struct {
	every time.Duration // a token comes
	depth time.Duration // burst of them take as long
	full  atomic.Int64
}

// NewBucket returns a full bucket. Values that are not above 0, or 1, are the
// defaults.
func NewBucket(perSecond float64, burst int) *Bucket {
	if !(perSecond > 0) { // NaN neither
		perSecond = DefaultRate
	}
	if burst < 1 {
		burst = DefaultBurst
	}
	every := math.Max(1, math.Min(float64(time.Second)/perSecond, math.MaxInt64/4))
	depth := math.Min(every*float64(burst), math.MaxInt64/2)
	return &Bucket{every: time.Duration(every), depth: time.Duration(depth)}
}

// Take takes a token, if there is one. A clock that is set back, as under
// testing/synctest, finds the bucket full.
func (b *Bucket) Take(now time.Duration) bool {
	for {
		old := b.full.Load()
		full := max(time.Duration(old), now)
		if full-now > b.depth {
			full = now
		}
		if full += b.every; full-now > b.depth {
			return false
		}
		if b.full.CompareAndSwap(old, int64(full)) {
			return true
		}
	}
}
