package backend

import (
	"math"
	"testing"
	"time"
)

const (
	ms = time.Millisecond
	s  = time.Second
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Max(1, math.Abs(b)) }

// A peak of latency, and a wait in vain, are remembered for three seconds: after that
// a third, 1/e, of them is left.
func TestMemory(t *testing.T) {
	slow := Unknown(0).Measured(s, time.Second)
	if got := slow.Measured(4*s, 100*ms).Latency; !near(got.Seconds(), 0.1+0.9/math.E) {
		t.Errorf("3 s after a peak of 1 s, and 100 ms now: %v, want %.3f s", got, 0.1+0.9/math.E)
	}
	if got := slow.Measured(4*s, 2*s); got.Latency != 2*s || got.At != 4*s {
		t.Errorf("%+v after one of 2 s, want that", got)
	}
	if got := slow.Measured(0, 100*ms); got.Latency != time.Second || got.At != s {
		t.Errorf("%+v by a clock that was read before, want no change", got)
	}
	if got := Unknown(0).Measured(0, -1).Latency; got != 1 {
		t.Errorf("%v of what took no time, want what is known to be little", got)
	}
	vain := Unknown(0).AtLeast(s, time.Second)
	for now, want := range map[time.Duration]float64{0: 1, s: 1, 4 * s: 1 / math.E, 7 * s: 1 / math.E / math.E} {
		if got := vain.bound(now).Seconds(); !near(got, want) {
			t.Errorf("at %v a wait of 1 s in vain counts as %.3f s, want %.3f s", now, got, want)
		}
	}
	if got := Unknown(0).bound(s); got != 0 {
		t.Errorf("%v without a wait in vain", got)
	}
	if got := vain.AtLeast(4*s, 300*ms); got != vain {
		t.Errorf("%+v, want a wait shorter than what is left of the last to change nothing", got)
	}
	if got := vain.AtLeast(4*s, 400*ms); got.Bound != 400*ms || got.BoundAt != 4*s {
		t.Errorf("%+v, want one that is longer to count", got)
	}
}

// What an attempt costs is the time it will take, or that others have waited in vain,
// for each that is in flight, and for itself.
func TestCost(t *testing.T) {
	known := Unknown(0).Measured(0, 20*ms)
	stuck := known.AtLeast(0, time.Second)
	for name, c := range map[string]struct {
		p        Past
		inFlight int64
		other    time.Duration
		want     time.Duration
	}{
		"idle":               {known, 0, 0, 20 * ms},
		"in flight":          {known, 3, 0, 80 * ms},
		"off by a race":      {known, -1, 0, 20 * ms},
		"in vain":            {stuck, 1, 0, 2 * s},
		"unknown":            {Unknown(0), 1, 30 * ms, 60 * ms},
		"both unknown":       {Unknown(0), 1, 0, 2},
		"unknown and failed": {Unknown(0).AtLeast(0, s), 0, 30 * ms, s},
	} {
		if got := time.Duration(c.p.cost(0, c.inFlight, c.other)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if Cheaper(0, known, 1, known, 1) || !Cheaper(0, known, 0, known, 1) || Cheaper(0, stuck, 0, known, 40) || !Cheaper(0, stuck, 0, known, 60) {
		t.Error("the cheaper is not that which costs less")
	}
	if !Cheaper(0, Unknown(0), 0, known, 1) || Cheaper(0, known, 1, Unknown(0), 0) {
		t.Error("a backend whose latency is unknown does not cost as the other")
	}
}

// A new backend begins with a tenth of its share and has all of it after three seconds;
// one that fails has the third power of what succeeds, a twentieth at least.
func TestShare(t *testing.T) {
	fresh := Unknown(10 * s)
	for now, want := range map[time.Duration]float64{9 * s: 0.1, 10 * s: 0.1, 10*s + 300*ms: 0.1, 11500 * ms: 0.5, 13 * s: 1, time.Hour: 1} {
		if got := fresh.Share(now); !near(got, want) {
			t.Errorf("at %v: %v, want %v", now, got, want)
		}
	}
	for success, want := range map[float64]float64{1: 1, 0.5: 0.125, 0.05: 0.05 * 0.05 * 0.05, 0: 0.05 * 0.05 * 0.05} {
		p := fresh
		p.Success = success
		if got := p.Share(time.Hour); !near(got, want) {
			t.Errorf("with %v of successes: %v, want %v", success, got, want)
		}
	}
	if got := fresh.Succeeded(false).Success; !near(got, 15.0/16) {
		t.Errorf("%v after a failure, want 15/16", got)
	}
	if got := fresh.Succeeded(false).Succeeded(true).Success; !near(got, 15.0/16+1.0/256) {
		t.Errorf("%v after a failure and a success, want that it is a sixteenth nearer to 1", got)
	}
}

// Silence is three attempts that began since the last answer, none answered for four
// times the latency, or 50 ms if that is longer.
func TestSilence(t *testing.T) {
	for n, want := range map[int32]bool{0: false, 2: false, 3: true, 4: true} {
		if Pending(n) != want {
			t.Errorf("%d attempts may be silence: %v", n, !want)
		}
	}
	for _, c := range []struct {
		silence, latency time.Duration
		want             bool
	}{
		{50*ms - 1, ms, false}, {50 * ms, ms, true}, {4*s - 1, s, false}, {4 * s, s, true}, {time.Hour, 0, false}, {time.Hour, 1, true},
	} {
		if Quiet(c.silence, c.latency) != c.want {
			t.Errorf("%v without an answer, where it takes %v: silent %v", c.silence, c.latency, !c.want)
		}
	}
}

// A meter has in its past what it is given, until it is restarted.
func TestMeterKeepsThePast(t *testing.T) {
	var m Meter
	m.Restart(s)
	if got := m.Past(); got != Unknown(s) {
		t.Errorf("%+v, want a new one", got)
	}
	m.Succeeded(2*s, 20*ms)
	want := Unknown(s).Measured(2*s, 20*ms)
	if got := m.Past(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	m.Failed(3*s, s)
	want = want.Succeeded(false).AtLeast(3*s, s)
	if got := m.Past(); got != want {
		t.Errorf("after a failure %+v, want %+v", got, want)
	}
	m.Succeeded(4*s, 0) // how long it took is not known
	want = want.Succeeded(true)
	if got := m.Past(); got != want {
		t.Errorf("after a success that took an unknown time %+v, want %+v", got, want)
	}
	m.Succeeded(5*s, 30*ms)
	want = want.Measured(5*s, 30*ms).Succeeded(true)
	if got := m.Past(); got != want {
		t.Errorf("after a success %+v, want %+v", got, want)
	}
	var swift Meter
	swift.Restart(0)
	if swift.Succeeded(0, 1); swift.Past().Latency != 1 {
		t.Errorf("%v of a success that took 1 ns", swift.Past().Latency)
	}
	m.AtLeast(6*s, 10*ms) // less than is known
	if got := m.Past(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	for range 3 {
		m.Enter()
		m.Ask(6 * s)
	}
	if !m.Pending() || m.QuietSince() != 6*s || !m.Quiet(7*s) || m.InFlight() != 3 {
		t.Errorf("pending %v since %v, %d in flight", m.Pending(), m.QuietSince(), m.InFlight())
	}
	m.Heard(8 * s)
	if m.Pending() || m.LastHeard() != 8*s {
		t.Errorf("pending %v, heard at %v", m.Pending(), m.LastHeard())
	}
	for range 3 {
		m.Ask(9 * s)
	}
	m.Restart(10 * s)
	if got := m.Past(); got != Unknown(10*s) || m.Pending() || m.InFlight() != 3 {
		t.Errorf("restarted: %+v, pending %v, %d in flight; want a new one whose attempts still are", got, m.Pending(), m.InFlight())
	}
}

// Nobody else is looked at while the natural one is as good as can be.
func TestChooseLooksNoFurther(t *testing.T) {
	for class, want := range map[Class]int{Fresh: 1, Again: 5} {
		asked := 0
		if i := Choose(4, 2, 0, func(int) Class { asked++; return class }); i != 2 || asked != want {
			t.Errorf("class %d: %d after %d questions, want 2 after %d", class, i, asked, want)
		}
	}
	asked := 0
	if i := Choose(4, 2, 3, func(i int) Class { asked++; return map[int]Class{2: Out, 3: Again, 0: Fresh, 1: Fresh}[i] }); i != 0 || asked != 3 {
		t.Errorf("%d after %d questions, want the first of those that are well from the start on", i, asked)
	}
}

// Where all are out, two of them are drawn all the same.
func TestChooseTwoOfAllOut(t *testing.T) {
	if a, b := ChooseTwo(2, func(int) int { return 0 }, func(int) Class { return Out }); a == b {
		t.Errorf("%d and %d of two that are out", a, b)
	}
	if a, b := ChooseTwo(1, nil, func(int) Class { return Out }); a != 0 || b != 0 {
		t.Errorf("%d and %d of one", a, b)
	}
}

// One attempt in flight is enough to say how slow a backend is, and that it is silent;
// those that have ended are not in flight, and an answer is one whatever it is to.
func TestOneInFlight(t *testing.T) {
	var m Meter
	m.Restart(0)
	m.Succeeded(0, ms)
	m.Ask(0)
	m.Heard(0)
	m.Over()
	for range 2 {
		m.Enter()
		m.Ask(0)
	}
	if m.Pending() {
		t.Error("three attempts are counted as not answered, of which one was")
	}
	m.Enter()
	m.Ask(0)
	for range 2 {
		m.Leave()
		m.Over()
	}
	if n := m.InFlight(); n != 1 {
		t.Errorf("%d in flight of three, two of which have ended", n)
	}
	if !m.Quiet(s) || m.Expected(s).Bound != 2*s {
		t.Errorf("silent %v, expected to take %v; want it silent, and 2 s", m.Quiet(s), m.Expected(s).Bound)
	}
	m.Leave()
	m.Over()
	if m.Quiet(s) || m.Expected(s).Bound != 0 {
		t.Errorf("silent %v, expected to take %v with nothing in flight", m.Quiet(s), m.Expected(s).Bound)
	}
}
