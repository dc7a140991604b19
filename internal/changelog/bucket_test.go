package changelog

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBucket: against a bucket that counts tokens in fractions.
func TestBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]float64{1, 2, 10, 250}).Draw(t, "rate") // that divide a second
		burst := rapid.IntRange(1, 20).Draw(t, "burst")
		b := NewBucket(rate, burst)
		every := time.Duration(float64(time.Second) / rate)
		level, last := time.Duration(burst)*every, time.Duration(0) // in time that fills it
		now := time.Duration(0)
		for _, wait := range rapid.SliceOf(rapid.Int64Range(0, int64(3*time.Second))).Draw(t, "waits") {
			now += time.Duration(wait)
			level, last = min(time.Duration(burst)*every, level+now-last), now
			want := level >= every
			if want {
				level -= every
			}
			if got := b.Take(now); got != want {
				t.Fatalf("at %v: %v, want %v", now, got, want)
			}
		}
	})
}

// TestBucketSideBySide: takers at once get no more than there is.
func TestBucketSideBySide(t *testing.T) {
	b := NewBucket(1, 100)
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if b.Take(0) {
					taken.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := taken.Load(); n != 100 {
		t.Errorf("%d tokens of 100 were taken", n)
	}
}

// TestClockSetBack: does not silence the log.
func TestClockSetBack(t *testing.T) {
	b := NewBucket(1, 1)
	for _, now := range []time.Duration{time.Hour, -26 * 365 * 24 * time.Hour, 0} {
		if !b.Take(now) || b.Take(now) {
			t.Errorf("at %v: want one token", now)
		}
	}
}

// TestOddBuckets: rates that make no sense are the default, extreme ones hold.
func TestOddBuckets(t *testing.T) {
	for _, rate := range []float64{0, -1, math.NaN(), math.Inf(-1)} {
		if b := NewBucket(rate, -3); b.every != time.Second/DefaultRate || b.depth != DefaultBurst*time.Second/DefaultRate {
			t.Errorf("rate %v: a token every %v, %v deep", rate, b.every, b.depth)
		}
	}
	for _, rate := range []float64{math.SmallestNonzeroFloat64, 1e-12, 1e12, math.Inf(1)} {
		for _, burst := range []int{1, 3, math.MaxInt} {
			b := NewBucket(rate, burst)
			for _, now := range []time.Duration{0, time.Hour, 50 * 365 * 24 * time.Hour} {
				if !b.Take(now) && rate > 1 {
					t.Errorf("rate %v, burst %d: no token at %v", rate, burst, now)
				}
			}
			if b.full.Load() < 0 {
				t.Errorf("rate %v, burst %d: overflow", rate, burst)
			}
		}
	}
}
