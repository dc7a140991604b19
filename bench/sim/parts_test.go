package sim

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// calls feeds a rule a call every d: F fails, S succeeds. It returns at which
// call the rule opened, 0 if it did not.
func calls(r rule, d time.Duration, pattern string, times int) int {
	r.reset()
	n := 0
	for range times {
		for _, c := range pattern {
			n++
			if r.add(time.Duration(n)*d, c == 'F') {
				return n
			}
		}
	}
	return 0
}

func TestRules(t *testing.T) {
	const s = time.Second
	window := func() rule { return &share{of: 0.5, calls: 20, window: 10 * s} }
	for _, tc := range []struct {
		name    string
		r       rule
		d       time.Duration
		pattern string
		times   int
		want    int
	}{
		{"a row", &row{want: 7}, s, "F", 10, 7},
		{"no row", &row{want: 7}, s, "FFFFFFS", 10, 0},
		{"a window", window(), 100 * ms, "FS", 100, 21}, // successes do not open it
		{"a window, also on successes", &share{of: 0.5, calls: 20, window: 10 * s, every: true}, 100 * ms, "FS", 100, 20},
		{"too few in the window", window(), s, "F", 100, 0},
		{"less than the share", window(), 100 * ms, "FSS", 100, 0},
		{"the last 10", &last{of: 0.5, ring: make([]bool, 10)}, s, "SSSSSSSSSSFFFFFF", 1, 15},
		{"the last 10, never half", &last{of: 0.5, ring: make([]bool, 10)}, s, "SSSSSSFFFF", 10, 0},
		{"cusum", &cusum{weight: 0.5, limit: 5}, s, "FFS", 10, 8}, // 1.5 every three, and two
		{"cusum below its drift", &cusum{weight: 0.5, limit: 5}, s, "FSS", 100, 0},
		{"likelihood, all fail", likelihood(0.1, 0.5, 12), s, "F", 10, 8},
		{"any", anyOf{&row{want: 7}, &cusum{weight: 0.5, limit: 5}}, s, "F", 10, 5},
	} {
		if got := calls(tc.r, tc.d, tc.pattern, tc.times); got != tc.want {
			t.Errorf("%s: opens at %d, want %d", tc.name, got, tc.want)
		}
		if got := calls(tc.r, tc.d, tc.pattern, tc.times); got != tc.want {
			t.Errorf("%s: reset is not new: opens at %d, want %d", tc.name, got, tc.want)
		}
	}
}

// TestShippedRule: what is simulated is what ships. The row, the window and the
// CUSUM each open it.
func TestShippedRule(t *testing.T) {
	for pattern, want := range map[string]int{"F": 7, "FS": 21, "FFS": 20, "FSS": 0} {
		if got := calls(&shippedRule{}, 100*ms, pattern, 200); got != want {
			t.Errorf("%s: opens at %d, want %d", pattern, got, want)
		}
	}
	if got := calls(&shippedRule{}, time.Minute, "FFS", 20); got != 32 {
		t.Errorf("seldom, two of three: opens at %d, want 32", got)
	}
}

// spend counts the retries that an allowance pays for, of so many wanted at
// once.
func spend(a allowance, now time.Duration, wanted int) (n int) {
	for range wanted {
		if a.take(now) {
			n++
		}
	}
	return n
}

func TestAllowances(t *testing.T) {
	const s = time.Second
	many := func(n int, do func()) {
		for range n {
			do()
		}
	}
	t.Run("per call", func(t *testing.T) {
		a := &perCall{ratio: 0.25, most: 10, tokens: 1}
		many(8, func() { a.called(0) })
		if n := spend(a, 0, 100); n != 3 {
			t.Errorf("%d retries", n)
		}
	})
	t.Run("finagle", func(t *testing.T) {
		a := &finagle{ratio: 0.25, reserve: 2}
		many(8, func() { a.called(0) })
		if n := spend(a, 5*s, 100); n != 4 {
			t.Errorf("%d retries", n)
		}
		if n := spend(a, 12*s, 100); n != 0 { // what was earned is forgotten, what was spent is not
			t.Errorf("%d retries after 12 s", n)
		}
		if n := spend(a, 16*s, 100); n != 2 {
			t.Errorf("%d retries after 16 s, want the reserve", n)
		}
	})
	t.Run("throttle", func(t *testing.T) {
		a := &throttle{10, 0.1, 10}
		many(4, func() { a.failed(0) })
		if !a.take(0) {
			t.Error("6 of 10 refuse")
		}
		a.failed(0)
		if a.take(0) {
			t.Error("5 of 10 pay")
		}
		many(2, func() { a.served(0, 0) })
		if !a.take(0) {
			t.Error("5.2 of 10 refuse")
		}
	})
	t.Run("aws", func(t *testing.T) {
		a := &aws{awsTokens}
		if n := spend(a, 0, 100); n != 35 {
			t.Errorf("%d retries", n)
		}
		many(4, func() { a.served(0, 0) }) // 10 + 4
		if n := spend(a, 0, 100); n != 1 {
			t.Errorf("%d retries after successes", n)
		}
		a.served(0, 1)
		if n := spend(a, 0, 100); n != 1 {
			t.Errorf("%d retries after one saved a call", n)
		}
	})
}

func TestLoops(t *testing.T) {
	l := peerRetries(plainLoop{attempts: 3, base: 10 * ms, most: 15 * ms, formula: spread(0.2)})()
	for _, tc := range []struct {
		made  int
		left  time.Duration
		want  time.Duration
		again bool
	}{
		{1, time.Second, 10 * ms, true},
		{2, time.Second, 15 * ms, true},
		{3, time.Second, 0, false},
		{1, 5 * ms, 0, false},
	} {
		d, again := l.next(tc.made, codes.Unavailable, tc.left, 0.5)
		if again != tc.again || again && d.Round(ms) != tc.want {
			t.Errorf("after %d attempts with %v left: %v %v, want %v %v", tc.made, tc.left, d, again, tc.want, tc.again)
		}
	}
}

// TestOursIsWhatShips: a client of ours is driven by the engine, with what its
// policy says: attempts, deadline, budget and breaker.
func TestOursIsWhatShips(t *testing.T) {
	for _, tc := range []struct {
		name                     string
		change                   func(*interceptors.Policy)
		calls, attempts, refused int
	}{
		{"the breaker", nil, 100, 3*6 + 1, 100 - 7}, // seven calls fail, the last after an attempt
		{"no breaker", withoutBreaker, 20, 3 * 20, 0},
		{"the budget", func(p *interceptors.Policy) { withoutBreaker(p); p.Budget.Burst = 10 }, 20, 20 + 10, 0},
		{"one attempt", func(p *interceptors.Policy) { withoutBreaker(p); p.Retry.MaxAttempts = 1 }, 20, 20, 0},
	} {
		p := shipped(jitter.Backoff{Base: ms, Max: ms})
		if tc.change != nil {
			p = p.but(tc.change)
		}
		e := newEngine(1, 1)
		came := 0
		to := &server{e: e, service: ms, down: span{0, time.Hour}, came: func() { came++ }}
		c := newClient(e, to, &p, 100*ms, 0)
		got := map[result]int{}
		opens := 0
		c.opens = func() { opens++ }
		for i := range tc.calls { // one after the other, within less than the time between two probes
			e.After(time.Duration(i)*6*ms, func() { c.do(func(r result) { got[r]++ }) })
		}
		e.run(time.Minute)
		if got[served] != 0 || got[served]+got[failed]+got[refused] != tc.calls {
			t.Errorf("%s: ended as %v", tc.name, got)
		}
		near := tc.calls / 10 // by probes
		if d := came - tc.attempts; d < -2 || d > near {
			t.Errorf("%s: %d attempts, want about %d", tc.name, came, tc.attempts)
		}
		if d := tc.refused - got[refused]; d < 0 || d > near || (opens > 0) != (tc.refused > 0) {
			t.Errorf("%s: %d refused, %d openings, want about %d refused", tc.name, got[refused], opens, tc.refused)
		}
	}
}

// TestPeerFuse: open for its time, one call through, late results unheard.
func TestPeerFuse(t *testing.T) {
	const s = time.Second
	f := peerBreaker(inRow(2), doubling(3*s, 0))()
	admit := func(now time.Duration, want bool) ticket {
		t.Helper()
		ticket, ok := f.admit(now, 0)
		if ok != want {
			t.Fatalf("at %v admitted: %v", now, ok)
		}
		return ticket
	}
	early := admit(0, true)
	for i := range 2 {
		if opens := f.settle(0, admit(0, true), true, 0); opens != (i == 1) {
			t.Fatalf("failure %d opens: %v", i+1, opens)
		}
	}
	for _, open := range []time.Duration{1 * s, 3 * s, 6 * s, 9 * s} { // for 1, 2, 3 and 3 s
		admit(open-1, false)
		probe := admit(open, true)
		admit(open, false)
		f.settle(open, early, false, 0)
		admit(open, false)
		if f.settle(open, probe, true, 0) {
			t.Error("a failed probe counts as an opening")
		}
	}
	f.settle(12*s, admit(12*s, true), false, 0)
	admit(12*s, true)
	if got := doubling(time.Minute, 0.5)(3, 0.5); got != 6*s {
		t.Errorf("8 s less a quarter: %v", got)
	}
}

// TestSRE: it refuses in proportion, and forgets.
func TestSRE(t *testing.T) {
	f := &sre{k: 2, window: 10 * time.Second}
	for i := range 100 {
		tick, ok := f.admit(0, 0.999)
		if ok && i < 25 {
			f.settle(0, tick, false, 0)
		}
	}
	for now, want := range map[time.Duration]float64{time.Second: 50.0 / 101, 11 * time.Second: 0} { // 100 calls, 25 served; or none
		for _, u := range []float64{want - 0.01, want} {
			g := *f
			if _, ok := g.admit(now, u); ok != (u == want) {
				t.Errorf("at %v, chance %v: admitted %v", now, u, ok)
			}
		}
	}
}

// TestFates: of many calls as many fail as is said, and as they are said to.
func TestFates(t *testing.T) {
	const n = 200_000
	for name, tc := range map[string]struct {
		f    fate
		want float64
		run  float64 // mean length of runs of failures
	}{
		"singly":    {independent(0.2), 0.2, 1 / 0.8},
		"in bursts": {&bursts{rate: 0.1, length: 3}, 0.1, 3},
		"half, too": {&bursts{rate: 0.5, length: 3}, 0.5, 3},
		"rolling":   {restarts{0.25, 5 * time.Minute, 20 * time.Second}, (20*0.25 + 280*0.001) / 300, 1 / 0.75},
	} {
		rng := rand.New(rand.NewPCG(1, 1))
		failed, runs, was := 0.0, 0.0, false
		for i := range n {
			is := tc.f.fails(rng, time.Duration(i)*100*ms)
			if is {
				failed++
			}
			if is && !was {
				runs++
			}
			was = is
		}
		if got := failed / n; math.Abs(got-tc.want) > 0.05*tc.want+0.001 {
			t.Errorf("%s: %v fail, want %v", name, got, tc.want)
		}
		if got := failed / runs; math.Abs(got-tc.run) > 0.1*tc.run {
			t.Errorf("%s: runs of %v, want %v", name, got, tc.run)
		}
	}
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 123456: 123460, 0.00123456: 0.0012346, -2: -2, never: 0} {
		if got := round(v); math.Abs(got-want) > 1e-12*math.Abs(want) {
			t.Errorf("%v: %v, want %v", v, got, want)
		}
	}
	if c := number(never); c.Text != "never" || c.Value < 1e300 {
		t.Errorf("never is %+v", c)
	}
	if got := (sample{3, 1, 2, 4}).median(); got != 2.5 {
		t.Errorf("median %v", got)
	}
}
