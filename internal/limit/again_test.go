package limit

import (
	"testing"
	"time"
)

// The first of those that wait asks again by the clock only if tokens are all it
// lacks: while no slot is free, time brings none.
func TestAsksAgainForTokensOnly(t *testing.T) {
	q := NewQueue(0, Config{MaxConcurrent: 1, MaxQueue: 5, Rate: 1, Burst: 2})
	if a, _ := q.Enter(0, Forever); a.Verdict != Admitted {
		t.Fatalf("%+v, want to be admitted", a)
	}
	a, ticket := q.Enter(0, Forever)
	if a.Verdict != Waiting || a.At != Forever {
		t.Errorf("without a slot: %+v, want to wait for ever", a)
	}
	if a := q.Poll(0, ticket); a.At != Forever {
		t.Errorf("asked again: %+v, want to wait for ever", a)
	}
	q.Leave(0, Sample{})
	if got := q.Promote(0); got != ticket {
		t.Fatalf("promoted %v, want the one that waits", got)
	}
	_, ticket = q.Enter(0, Forever)
	q.Leave(0, Sample{})
	if a := q.Poll(0, ticket); a.Verdict != Waiting || a.At != time.Second {
		t.Errorf("without a token: %+v, want to ask again after a second", a)
	}
}

// A window's mean is of its own samples: what the one before heard is forgotten.
func TestWindowsAreApart(t *testing.T) {
	g := gradient{ceiling: 100, limit: startLimit}
	window := func(latency time.Duration) float64 {
		for before := g.samples; ; before = g.samples {
			g.learn(Sample{Latency: latency}, 10)
			if g.samples <= before {
				return g.base
			}
		}
	}
	first := window(100 * time.Millisecond)
	if first < 0.999e8 || first > 1.001e8 {
		t.Fatalf("after calls of 100 ms the base is %v", time.Duration(first))
	}
	if second := window(100 * time.Millisecond); second < 0.999*first || second > 1.001*first {
		t.Errorf("after more of them it is %v", time.Duration(second))
	}
}

// A limit that is at its lowest learns anew what calls take; one that is twice as
// high, and used up, does not take congestion for the nature of the server.
func TestBaseIsLearntAnewOnlyAtTheBottom(t *testing.T) {
	for limit, learns := range map[float64]bool{2: true, 3.9: true, 4: false, 5.9: false, 40: false} {
		g := gradient{ceiling: 100, limit: limit, base: 1e6}
		g.settle(5e6, true)
		if got := g.base > 1e6; got != learns {
			t.Errorf("at a limit of %v, slower calls move the base: %v, want %v", limit, got, learns)
		}
	}
}

// A token that is there is there now.
func TestNoWaitForATokenThatIsThere(t *testing.T) {
	var b bucket
	b.configure(0, 10, 2)
	for n, want := range map[int]time.Duration{1: 0, 2: 0, 3: 100 * time.Millisecond, 4: 200 * time.Millisecond} {
		if got := b.wait(0, n); got != want {
			t.Errorf("%d tokens of 2: wait %v, want %v", n, got, want)
		}
	}
}

// Tokens outlast a time without a rate, in which a call was not made after all.
func TestTokensOutlastATimeWithoutRate(t *testing.T) {
	var b bucket
	b.configure(0, 1, 5)
	b.configure(0, 0, 0)
	b.refund()
	b.configure(0, 1, 5)
	if b.tokens != 5 {
		t.Errorf("%v tokens are left of 5", b.tokens)
	}
}
