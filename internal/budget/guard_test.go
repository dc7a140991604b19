package budget

import (
	"testing"
	"time"
)

// What is given back can be taken again, and what is taken away cannot.
func TestGuardGivesAndTakes(t *testing.T) {
	g := NewGuard(0, Config{Ratio: 0.5, MinPerSecond: 1, Burst: 10})
	level := func(want float64) {
		t.Helper()
		if got := g.Level(0); got != want {
			t.Fatalf("%v tokens, want %v", got, want)
		}
	}
	for range 4 {
		if !g.Take(0) {
			t.Fatal("no token of a full bucket")
		}
	}
	level(6)
	g.Refund()
	level(7)
	g.Deposit()
	level(7.5)
	g.AtMost(0, 9)
	level(7.5)
	g.AtMost(0, 2)
	level(2)
	g.AtMost(time.Second, 10) // which time has filled by one
	if got := g.Level(time.Second); got != 3 {
		t.Fatalf("%v tokens after a second, want 3", got)
	}
}

// A token is there at exactly one, and for what rounding leaves of one, but no
// earlier.
func TestTakeAtTheEdge(t *testing.T) {
	for tokens, want := range map[float64]bool{1: true, 1 - 1e-12: true, 0.999: false, 0: false} {
		b := NewBucket(0, Config{Ratio: 0.1, MinPerSecond: 0.1, Burst: 1})
		b.tokens = tokens
		if got := b.Take(0); got != want {
			t.Errorf("took one of %v tokens: %v, want %v", tokens, got, want)
		}
		if b.tokens < 0 {
			t.Errorf("%v tokens are left of %v", b.tokens, tokens)
		}
	}
}
