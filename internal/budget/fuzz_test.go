package budget

import (
	"math"
	"testing"
	"time"
)

// FuzzEvents plays takes, refunds, successes, time and reloads in any order: tokens
// stay within bounds, and no more are taken than were there, earned or given back.
func FuzzEvents(f *testing.F) {
	f.Add([]byte{10, 0, 20, 0, 0, 0, 0, 1, 2, 3, 100, 0, 4, 5, 6, 7, 0, 0})
	f.Add([]byte{1, 1, 1, 3, 255, 0, 0, 2, 2, 2, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		next := func() int {
			if len(data) == 0 {
				return 0
			}
			b := data[0]
			data = data[1:]
			return int(b)
		}
		config := func() Config {
			return Config{Ratio: float64(1+next()) / 100, MinPerSecond: float64(next()) / 100, Burst: float64(1 + next()%60)}
		}
		cfg := config()
		var (
			now    time.Duration
			b      = NewGuard(now, cfg)
			earned = cfg.Burst // at most, in all
			taken  = 0.0
		)
		for len(data) > 0 {
			before := b.Level(now)
			switch next() % 6 {
			case 0, 1:
				if ok := b.Take(now); ok != (before >= 1) {
					t.Fatalf("took %v of %v tokens", ok, before)
				} else if ok {
					taken++
				}
			case 2:
				if taken > 0 {
					b.Refund()
					taken--
				}
			case 3:
				b.Deposit()
				earned += cfg.Ratio
			case 4:
				d := time.Duration(next()) * 100 * time.Millisecond
				now += d
				earned += cfg.MinPerSecond * d.Seconds()
			case 5:
				cfg = config()
				b = b.Successor(now, cfg)
				if after := b.Level(now); after > before+1e-9 {
					t.Fatalf("a reload made %v tokens of %v", after, before)
				}
			}
			if level := b.Level(now); level < 0 || level > cfg.Burst || math.IsNaN(level) {
				t.Fatalf("%v tokens, want 0 to %v", level, cfg.Burst)
			}
			if taken > earned+1e-6 {
				t.Fatalf("%v tokens taken of %v", taken, earned)
			}
		}
	})
}
