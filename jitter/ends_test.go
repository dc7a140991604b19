package jitter

import (
	"math"
	"testing"
	"time"
)

// A delay that reaches the largest time there is stays there: as a float it is one
// nanosecond more, which no time can hold.
func TestLongestDelay(t *testing.T) {
	b := Backoff{Base: 1, Max: math.MaxInt64, Multiplier: 2}
	for attempt, want := range map[int]time.Duration{63: 1 << 62, 64: math.MaxInt64, 65: math.MaxInt64} {
		if got := b.delay(attempt); got != want {
			t.Errorf("attempt %d: %v, want %v", attempt, got, want)
		}
	}
}

// Three times a delay is that as long as a time can hold it.
func TestTriple(t *testing.T) {
	const third = time.Duration(math.MaxInt64 / 3)
	for d, want := range map[time.Duration]time.Duration{0: 0, 1: 3, third - 1: 3 * (third - 1), third: 3 * third, third + 1: math.MaxInt64, math.MaxInt64: math.MaxInt64} {
		if got := triple(d); got != want {
			t.Errorf("3 · %d = %d, want %d", d, got, want)
		}
	}
}

// The first call is never delayed, whatever came before and whatever the strategy.
func TestNoDelayBeforeTheFirst(t *testing.T) {
	for s := Full; s.known(); s++ {
		if got := (Backoff{Jitter: s}).Next(0, time.Minute, 0.5); got != 0 {
			t.Errorf("%v: %v before attempt 0", s, got)
		}
	}
}
