package limit

import (
	"math"
	"testing"
	"time"
)

// hear has a limit learn of n calls alike that ended with so many in flight.
func hear(g *gradient, inFlight, n int, s Sample) {
	for range n {
		g.learn(s, inFlight)
	}
}

// TestWindowsOfAnAdaptiveLimit: what a window of calls makes of a limit of 20 (of 10, below
// where it began) whose base is 10 ms.
func TestWindowsOfAnAdaptiveLimit(t *testing.T) {
	const ms = time.Millisecond
	usual, over := Sample{Latency: 10 * ms}, Sample{Overload: true}
	for _, tc := range []struct {
		name  string
		limit float64
		hears func(g *gradient)
		want  float64
		base  float64 // in ms
	}{
		{"49 calls are no window", 20, func(g *gradient) { hear(g, 20, 49, usual) }, 20, 10},
		{"50 are, if 25 are in flight at most", 20, func(g *gradient) { hear(g, 25, 50, usual) }, 20 + math.Sqrt(20), 10},
		{"else twice those in flight", 20, func(g *gradient) { hear(g, 40, 79, usual) }, 20, 10},
		{"and not more", 20, func(g *gradient) { hear(g, 40, 80, usual) }, 20 + math.Sqrt(20), 10},
		{"calls that are neither answered nor overload say nothing", 20, func(g *gradient) { hear(g, 20, 1000, Sample{}) }, 20, 10},

		{"a tenth of overload shrinks it", 20, func(g *gradient) { hear(g, 10, 45, usual); hear(g, 10, 5, over) }, 16, 10},
		{"less does not", 20, func(g *gradient) { hear(g, 10, 46, usual); hear(g, 10, 4, over) }, 20, 10},
		{"nor where less than half of it is used", 20, func(g *gradient) { hear(g, 9, 45, usual); hear(g, 9, 5, over) }, 20, 10},
		{"nor together with the window before", 20, func(g *gradient) {
			for range 2 {
				hear(g, 10, 46, usual)
				hear(g, 10, 4, over)
			}
		}, 20, 10},
		{"a deadline that passes sooner than others are answered is none", 20, func(g *gradient) {
			hear(g, 10, 45, usual)
			hear(g, 10, 5, Sample{Latency: 15 * ms, Overload: true})
		}, 20, 10.0 + 0.05*(10*math.Pow(1.5, 0.1)-10)},
		{"nothing but overload has no latency", 20, func(g *gradient) { hear(g, 20, 50, over) }, 16, 10},
		{"one answer has", 20, func(g *gradient) { hear(g, 20, 49, over); g.learn(Sample{Latency: 5 * ms}, 20) }, 16, 9.5},

		{"twice the latency shrinks it", 20, func(g *gradient) { hear(g, 20, 50, Sample{Latency: 20 * ms}) }, 15, 10},
		{"by a half at most", 20, func(g *gradient) { hear(g, 20, 50, Sample{Latency: 90 * ms}) }, 10, 10},
		{"also where it is half used, which moves the base", 20, func(g *gradient) { hear(g, 10, 50, Sample{Latency: 20 * ms}) }, 20 * 1.5 / (20 / 10.5), 10.5},
		{"not where less is", 20, func(g *gradient) { hear(g, 9, 50, Sample{Latency: 20 * ms}) }, 20, 10.5},

		{"it grows while it is used up, though some calls fail", 20, func(g *gradient) { hear(g, 20, 46, usual); hear(g, 20, 4, over) }, 20 + math.Sqrt(20), 10},
		{"not while it is not", 20, func(g *gradient) { hear(g, 19, 50, usual) }, 20, 10},
		{"except below where it began", 10, func(g *gradient) { hear(g, 1, 50, usual) }, 10 + math.Sqrt(10), 10},
		{"and where no call fails", 10, func(g *gradient) { hear(g, 1, 49, usual); hear(g, 1, 1, over) }, 10, 10},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := gradient{ceiling: 100, limit: tc.limit, base: float64(10 * ms)}
			tc.hears(&g)
			if math.Abs(g.limit-tc.want) > 1e-9 || math.Abs(g.base/float64(ms)-tc.base) > 1e-9 {
				t.Errorf("limit %v, base %v ms; want %v and %v ms", g.limit, g.base/float64(ms), tc.want, tc.base)
			}
		})
	}
}

// TestIdle: a queue that somebody is in, waits in, or has taken a token from lately is not.
func TestIdle(t *testing.T) {
	q := NewQueue(0, Config{MaxConcurrent: 1, MaxQueue: 1, Rate: 1, Burst: 1})
	if !q.Idle(0) {
		t.Error("a new one is not idle")
	}
	_, _ = q.Enter(0, Forever)
	if q.Idle(time.Minute) {
		t.Error("idle with a call in flight")
	}
	_, waits := q.Enter(time.Minute, Forever)
	q.Leave(time.Minute, Sample{})
	if q.Idle(time.Minute) {
		t.Error("idle with a call that waits")
	}
	q.Cancel(time.Minute, waits)
	if !q.Idle(time.Minute) {
		t.Error("not idle though nobody is there")
	}
	_, _ = q.Enter(time.Minute, Forever)
	q.Leave(time.Minute, Sample{})
	if q.Idle(time.Minute + time.Millisecond) {
		t.Error("idle without its token")
	}
	if !q.Idle(time.Minute + time.Second) {
		t.Error("not idle with its token back")
	}
}
