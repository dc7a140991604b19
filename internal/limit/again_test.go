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
