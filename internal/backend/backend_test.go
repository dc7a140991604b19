package backend

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func classes(t *rapid.T) []Class {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Class { return Class(rapid.IntRange(0, int(Out)).Draw(t, "class")) }), 1, 12).Draw(t, "classes")
}

// TestChooseTakesTheBest: of the best class, and the natural one if it is of it.
func TestChooseTakesTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := classes(t)
		natural := rapid.IntRange(0, len(of)-1).Draw(t, "natural")
		start := rapid.IntRange(0, len(of)-1).Draw(t, "start")
		i := Choose(len(of), natural, start, func(i int) Class { return of[i] })
		best := slices.Min(of)
		if of[i] != best {
			t.Fatalf("%d of %v is no %v", i, of, best)
		}
		if of[natural] == best && i != natural {
			t.Fatalf("%d of %v in place of %d, whose turn it was", i, of, natural)
		}
	})
}

// TestChooseSpreads: what a bad backend does not get, the others get evenly.
func TestChooseSpreads(t *testing.T) {
	of := []Class{Out, Fresh, Fresh, Fresh}
	got := make([]int, len(of))
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 40000
	for k := range n {
		got[Choose(len(of), k%len(of), rng.IntN(len(of)), func(i int) Class { return of[i] })]++
	}
	// From a random place the one after the bad gets a little more.
	for i, k := range got[1:] {
		if share := float64(k) / n; share < 0.30 || share > 0.38 {
			t.Errorf("backend %d got %.3f of the calls", i+1, share)
		}
	}
	if got[0] > 0 {
		t.Errorf("the bad one got %d", got[0])
	}
}

// TestChooseTwoIsEven: each pair of the best class is as likely as any other.
func TestChooseTwoIsEven(t *testing.T) {
	of := []Class{Again, Fresh, Out, Fresh, Fresh, Again, Fresh}
	rng := rand.New(rand.NewPCG(1, 2))
	pairs := map[[2]int]int{}
	const n = 60000
	for range n {
		a, b := ChooseTwo(len(of), rng.IntN, func(i int) Class { return of[i] })
		if a == b || of[a] != Fresh || of[b] != Fresh {
			t.Fatalf("drew %d and %d of %v", a, b, of)
		}
		pairs[[2]int{min(a, b), max(a, b)}]++
	}
	for pair, k := range pairs {
		if share := float64(k) / n; math.Abs(share-1.0/6) > 0.01 {
			t.Errorf("%v: %.3f of the draws, want a sixth", pair, share)
		}
	}
	if len(pairs) != 6 {
		t.Errorf("%d pairs, want 6", len(pairs))
	}
}

func TestChooseTwoOfFew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := classes(t)
		a, b := ChooseTwo(len(of), func(k int) int { return rapid.IntRange(0, k-1).Draw(t, "draw") }, func(i int) Class { return of[i] })
		best := slices.Min(of)
		if of[a] != best || of[b] != best {
			t.Fatalf("%d and %d of %v: want two of class %v", a, b, of, best)
		}
		several := slices.Index(of, best) != len(of)-1-slices.Index(reversed(of), best)
		if (a != b) != several {
			t.Fatalf("%d and %d of %v", a, b, of)
		}
	})
}

func reversed(of []Class) []Class {
	r := slices.Clone(of)
	slices.Reverse(r)
	return r
}

func TestMost(t *testing.T) {
	for _, tc := range []struct {
		n     int
		share float64
		want  int
	}{
		{1, 0.5, 0}, {2, 0.5, 1}, {3, 0.5, 1}, {4, 0.5, 2}, {10, 0.5, 5}, {10, 0.3, 3}, {10, 0.29, 2},
		{1, 1, 0}, {2, 1, 1}, {10, 1, 9}, {3, 0.01, 0}, {0, 0.5, 0},
	} {
		if got := Most(tc.n, tc.share); got != tc.want {
			t.Errorf("%d of %d may be out at a share of %v, want %d", got, tc.n, tc.share, tc.want)
		}
	}
}

// TestLatencyAgainstModel: the peak lies between the least and the greatest
// latency, jumps to any that is greater, and nears what is measured at the rate
// of its memory.
func TestLatencyAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Unknown(0)
		var now time.Duration
		low, high := time.Duration(math.MaxInt64), time.Duration(0)
		model := 0.0
		for range rapid.IntRange(1, 100).Draw(t, "samples") {
			dt := time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "dt"))
			took := time.Duration(rapid.Int64Range(1, int64(time.Second)).Draw(t, "took"))
			now += dt
			low, high = min(low, took), max(high, took)
			p = p.Measured(now, took)
			if x := float64(took); model == 0 || x >= model {
				model = x
			} else {
				model = x + (model-x)*math.Exp(-dt.Seconds()/memory.Seconds())
			}
			if p.Latency < low || p.Latency > high {
				t.Fatalf("%v is outside of %v to %v", p.Latency, low, high)
			}
			if math.Abs(float64(p.Latency)-model) > 1e-6*model+100 {
				t.Fatalf("%v, want %v", p.Latency, time.Duration(model))
			}
		}
	})
}

// TestFailuresAreNotFast: whatever fails, however fast, a backend gets neither
// cheaper nor a greater share.
func TestFailuresAreNotFast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := 10 * time.Second
		p := Unknown(0).Measured(now, time.Duration(rapid.Int64Range(1, int64(time.Second)).Draw(t, "latency")))
		for range rapid.IntRange(1, 50).Draw(t, "failures") {
			q := p.Succeeded(false).AtLeast(now, time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "took")))
			if q.cost(now, 1, 0) < p.cost(now, 1, 0) || q.Share(now) > p.Share(now) || q.Latency != p.Latency {
				t.Fatalf("%+v is better than %+v", q, p)
			}
			p = q
		}
	})
}

func TestShareRises(t *testing.T) {
	p := Unknown(time.Minute)
	last := 0.0
	for d := time.Duration(0); d <= ramp; d += ramp / 10 {
		s := p.Share(time.Minute + d)
		if s < last || s < first || s > 1 {
			t.Fatalf("after %v: %v, %v before", d, s, last)
		}
		last = s
	}
	if last != 1 {
		t.Errorf("after %v: %v", ramp, last)
	}
	bad := p
	for range 200 {
		bad = bad.Succeeded(false)
	}
	if s := bad.Share(time.Minute + ramp); s <= 0 || s > 0.001 {
		t.Errorf("one that fails all gets %v", s)
	}
}

// TestUnknownLatencyIsTheOthers: so a new backend is neither flooded nor shunned.
func TestUnknownLatencyIsTheOthers(t *testing.T) {
	known := Unknown(0).Measured(time.Second, 20*time.Millisecond)
	fresh := Unknown(0)
	if Cheaper(time.Second, fresh, 3, known, 2) || !Cheaper(time.Second, fresh, 1, known, 2) || Cheaper(time.Second, known, 2, fresh, 2) {
		t.Error("what is in flight does not decide")
	}
}

func TestQuiet(t *testing.T) {
	const ms = time.Millisecond
	var m Meter
	m.Restart(0)
	ask := func(now time.Duration, n int) {
		for range n {
			m.Enter()
			m.Ask(now)
		}
	}
	ask(0, 5)
	if m.Quiet(time.Minute) {
		t.Error("quiet, though nobody knows how long it takes")
	}
	m.Heard(20 * ms)
	m.Succeeded(20*ms, 20*ms)
	ask(30*ms, 2)
	if m.Quiet(time.Minute) {
		t.Error("quiet by two attempts")
	}
	ask(40*ms, 1)
	if m.Quiet(109*ms) || !m.Quiet(110*ms) {
		t.Error("want quiet four latencies after the first attempt")
	}
	m.Failed(111*ms, time.Second) // no latency
	if !m.Quiet(112 * ms) {
		t.Error("a timeout has changed what silence is")
	}
	m.Heard(120 * ms)
	if m.Quiet(time.Minute) {
		t.Error("quiet, though it answered")
	}
	ask(time.Minute, 3)
	for m.InFlight() > 0 {
		m.Leave()
	}
	if m.Quiet(time.Hour) {
		t.Error("quiet, though nothing is in flight")
	}
}

// TestWaiting: how long an attempt waits says how slow a backend is before it answers.
func TestWaiting(t *testing.T) {
	var m Meter
	m.Restart(0)
	m.Succeeded(0, time.Second)
	bound := func(now, want time.Duration) {
		t.Helper()
		if got := m.Expected(now).Bound; got != want {
			t.Errorf("at %v it is expected to take %v at least, want %v", now, got, want)
		}
	}
	bound(9*time.Second, 0)
	m.Enter()
	m.Ask(10 * time.Second)
	m.Enter()
	m.Ask(11 * time.Second)  // a later one
	bound(9*time.Second, 0)  // by a clock that was read before
	bound(11*time.Second, 0) // as long as others have
	bound(12*time.Second, 4*time.Second)
	m.Heard(13 * time.Second)
	bound(14*time.Second, 0)
	m.Ask(14 * time.Second)
	bound(16*time.Second, 4*time.Second)
	for range 3 {
		m.Over()
	}
	bound(16*time.Second, 0) // all have been given up; what is in flight is streams
	m.Ask(17 * time.Second)
	bound(18*time.Second, 0)
	bound(19*time.Second, 4*time.Second) // those do not count
	var fresh Meter
	fresh.Restart(0)
	fresh.Enter()
	fresh.Ask(0)
	if p := fresh.Expected(time.Hour); p.Bound != 0 {
		t.Errorf("a backend of which nothing is known is expected to take %v at least", p.Bound)
	}
}

// TestFastAgain: the peak of a backend that is asked seldom would outlast it.
func TestFastAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		latency, bound, took time.Duration
		want                 bool
	}{
		"half the peak":         {100, 0, 50, true},
		"more than half of it":  {100, 0, 51, false},
		"half of what was lost": {10, 100, 50, true},
		"more than that":        {10, 100, 51, false},
		"nothing known":         {0, 0, 1, false},
	} {
		var m Meter
		m.Restart(0)
		m.latency.Store(int64(tc.latency))
		m.AtLeast(time.Second, tc.bound)
		m.Failed(time.Second, 0)
		was := m.Past()
		got, p := m.FastAgain(time.Second, tc.took), m.Past()
		want := was
		if tc.want {
			want = Past{Latency: tc.took, At: time.Second, BoundAt: was.BoundAt, Success: was.Success, Since: time.Second}
		}
		if got != tc.want || p != want {
			t.Errorf("%s: %v, %+v; want %v, %+v", name, got, p, tc.want, want)
		}
	}
}

func TestSlow(t *testing.T) {
	usual := Past{Latency: 10}
	for name, tc := range map[string]struct {
		p, other Past
		want     bool
	}{
		"twice as slow":      {Past{Latency: 20}, usual, false},
		"slower than that":   {Past{Latency: 21}, usual, true},
		"has not answered":   {Past{Latency: 1, Bound: 21}, usual, true},
		"did so long ago":    {Past{Latency: 1, Bound: 21, BoundAt: -time.Minute}, usual, false},
		"nothing to compare": {Past{Latency: 20}, Past{}, false},
		"nothing known":      {Past{}, usual, false},
	} {
		if got := tc.p.Slow(0, tc.other); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
