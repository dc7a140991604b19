package breaker

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func testConfig() Config {
	return Config{
		FailureRate: 0.5,
		SlowRate:    0.5,
		MinCalls:    20,
		Window:      10 * time.Second,
		Consecutive: 7,
		OpenFor:     time.Second,
		MaxOpenFor:  time.Minute,
		Probes:      1,
		ProbeTTL:    10 * time.Second,
	}
}

// settle admits a call, which must pass, and settles it at once.
func settle(t *testing.T, m *Machine, now time.Duration, o Outcome) Transition {
	t.Helper()
	token, _, ok := m.Admit(now)
	if !ok {
		t.Fatalf("refused at %v in state %v", now, m.At(now))
	}
	return m.Settle(now, token, o, 0.5)
}

func settleAll(t *testing.T, m *Machine, now time.Duration, o Outcome, times int) (last Transition) {
	t.Helper()
	for range times {
		last = settle(t, m, now, o)
	}
	return last
}

func want(t *testing.T, got Transition, from, to State, why Reason) {
	t.Helper()
	if got != (Transition{from, to, why}) {
		t.Fatalf("transition %v→%v (%v), want %v→%v (%v)", got.From, got.To, got.Reason, from, to, why)
	}
}

func TestConsecutiveFailuresOpen(t *testing.T) {
	m := NewMachine(testConfig())
	if got := settleAll(t, &m, 0, Failure, 6); got.Happened() {
		t.Fatalf("opened after 6 failures: %v", got)
	}
	settle(t, &m, 0, Success)
	if got := settleAll(t, &m, 0, Failure, 6); got.Happened() {
		t.Fatalf("a success between did not clear the failures before it")
	}
	settleAll(t, &m, 0, Neutral, 3)
	want(t, settle(t, &m, 0, Failure), Closed, Open, Consecutive)
}

func TestConsecutiveFailuresNeedNoTraffic(t *testing.T) {
	m := NewMachine(testConfig())
	now := time.Duration(0)
	for range 6 {
		settle(t, &m, now, Failure)
		now += time.Hour
	}
	want(t, settle(t, &m, now, Failure), Closed, Open, Consecutive)
}

func TestFailureRateOpens(t *testing.T) {
	for _, tc := range []struct {
		name                string
		successes, failures int // alternating as far as they go, successes first
		opens               bool
	}{
		{"half of 20", 10, 10, true},
		{"half of 18", 9, 9, false},
		{"less than half", 30, 20, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := NewMachine(testConfig())
			settleAll(t, &m, 0, Success, tc.successes-tc.failures)
			var last Transition
			for range tc.failures {
				settle(t, &m, time.Second, Success)
				last = settle(t, &m, time.Second, Failure)
			}
			if last.Happened() != tc.opens {
				t.Fatalf("opened: %v", last.Happened())
			}
			if tc.opens {
				want(t, last, Closed, Open, FailureRate)
			}
		})
	}
}

func TestWindowForgets(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Success, 1000) // would hide what follows
	var last Transition
	for range 10 {
		settle(t, &m, 11*time.Second, Success)
		last = settle(t, &m, 11*time.Second, Failure)
	}
	want(t, last, Closed, Open, FailureRate)
}

func TestSlowCallsOpen(t *testing.T) {
	m := NewMachine(testConfig())
	var last Transition
	for range 10 {
		settle(t, &m, 0, Success)
		last = settle(t, &m, 0, SlowSuccess)
	}
	want(t, last, Closed, Open, SlowRate)
}

func TestProbesDecide(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	if _, _, ok := m.Admit(999 * time.Millisecond); ok {
		t.Fatal("passed while open")
	}
	if got := m.Wait(400 * time.Millisecond); got != 600*time.Millisecond {
		t.Fatalf("Wait = %v", got)
	}
	token, change, ok := m.Admit(time.Second)
	if !ok || !token.Probe() {
		t.Fatal("the probe was refused")
	}
	want(t, change, Open, HalfOpen, Probing)
	if _, _, ok := m.Admit(time.Second); ok {
		t.Fatal("a second probe passed")
	}
	want(t, m.Settle(time.Second, token, Success, 0.5), HalfOpen, Closed, Recovered)
	if got := settleAll(t, &m, time.Second, Failure, 6); got.Happened() {
		t.Fatal("remembers failures from before it closed")
	}
}

func TestOpenTimeGrowsAndStartsOver(t *testing.T) {
	m := NewMachine(testConfig())
	now := time.Duration(0)
	settleAll(t, &m, now, Failure, 7)
	for _, open := range []time.Duration{1, 2, 4, 8, 16, 32, 54, 54} {
		if got := m.Wait(now); got != open*time.Second {
			t.Fatalf("open for %v, want %v s", got, int(open))
		}
		now += open * time.Second
		want(t, settle(t, &m, now, Failure), HalfOpen, Open, ProbeFailed)
	}
	now += time.Minute
	want(t, settle(t, &m, now, Success), HalfOpen, Closed, Recovered)
	settleAll(t, &m, now, Failure, 7)
	if got := m.Wait(now); got != time.Second {
		t.Fatalf("after a recovery open for %v", got)
	}
}

func TestOpenTimeIsSpreadAndCapped(t *testing.T) {
	for _, tc := range []struct {
		openings int
		u        float64
		want     time.Duration
	}{
		{0, 0, 800 * time.Millisecond},
		{0, 0.5, time.Second},
		{1, 0, 1600 * time.Millisecond},
		{6, 0.5, 54 * time.Second},
		{math.MaxInt, 0, 48 * time.Second},
	} {
		if got := openTime(time.Second, time.Minute, tc.openings, tc.u); got != tc.want {
			t.Errorf("openTime(%d, %v) = %v, want %v", tc.openings, tc.u, got, tc.want)
		}
	}
	if got := openTime(1<<62, 1<<63-1, 3, 0.999); got <= 0 {
		t.Errorf("overflow: %v", got)
	}
}

func TestNeutralProbeGivesItsPlaceBack(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	if got := settle(t, &m, time.Second, Neutral); got.Happened() {
		t.Fatalf("a neutral probe moved it: %v", got)
	}
	want(t, settle(t, &m, time.Second, Success), HalfOpen, Closed, Recovered)
}

func TestProbeExpires(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	hung, _, _ := m.Admit(time.Second)
	if got := m.Wait(4 * time.Second); got != time.Second {
		t.Fatalf("Wait = %v, want OpenFor: the probe may end at any moment", got)
	}
	if got := m.Wait(10500 * time.Millisecond); got != 500*time.Millisecond {
		t.Fatalf("Wait = %v, want the rest of the probe's time", got)
	}
	if _, _, ok := m.Admit(11*time.Second - 1); ok {
		t.Fatal("passed before the probe expired")
	}
	second, _, ok := m.Admit(11 * time.Second)
	if !ok {
		t.Fatal("the expired probe holds its slot")
	}
	// The late probe is heard, but its slot is another's now.
	if got := m.Settle(12*time.Second, hung, Neutral, 0.5); got.Happened() {
		t.Fatal(got)
	}
	if _, _, ok := m.Admit(12 * time.Second); ok {
		t.Fatal("a late probe freed the slot of the one after it")
	}
	want(t, m.Settle(12*time.Second, second, Success, 0.5), HalfOpen, Closed, Recovered)
}

// TestProbesOfTwoPeriods: a probe that still runs when the breaker opens again
// counts among those of the next half-open period.
func TestProbesOfTwoPeriods(t *testing.T) {
	cfg := testConfig()
	cfg.Probes = 2
	m := NewMachine(cfg)
	settleAll(t, &m, 0, Failure, 7)
	slow, _, _ := m.Admit(time.Second)
	settle(t, &m, time.Second, Failure)
	if _, _, ok := m.Admit(3 * time.Second); !ok {
		t.Fatal("no probe")
	}
	if _, _, ok := m.Admit(3 * time.Second); ok {
		t.Fatal("three probes in flight")
	}
	if m.Settle(3*time.Second, slow, Failure, 0).Happened() {
		t.Fatal("a late probe was heard")
	}
	if _, _, ok := m.Admit(3 * time.Second); !ok {
		t.Fatal("the late probe's slot is lost")
	}
}

// TestProbesWithoutEnd: the longest time is no overflow.
func TestProbesWithoutEnd(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeTTL = 1<<63 - 1
	m := NewMachine(cfg)
	settleAll(t, &m, 0, Failure, 7)
	if _, _, ok := m.Admit(time.Second); !ok {
		t.Fatal("no probe")
	}
	if _, _, ok := m.Admit(time.Second); ok {
		t.Fatal("two probes in flight")
	}
}

func TestLateResultsMoveNothing(t *testing.T) {
	m := NewMachine(testConfig())
	var early []Token
	for range 20 {
		token, _, _ := m.Admit(0)
		early = append(early, token)
	}
	settleAll(t, &m, 0, Failure, 7)
	if m.Settle(0, early[0], Success, 0).Happened() || m.At(0) != Open {
		t.Fatal("a late success closed it")
	}
	probe, _, _ := m.Admit(time.Second)
	if m.Settle(time.Second, early[1], Success, 0).Happened() || m.At(time.Second) != HalfOpen {
		t.Fatal("a late success passed for a probe")
	}
	if m.Settle(time.Second, early[2], Failure, 0).Happened() {
		t.Fatal("a late failure reopened it")
	}
	m.Settle(time.Second, probe, Success, 0)
	for _, token := range early[3:] {
		if m.Settle(time.Second, token, Failure, 0).Happened() {
			t.Fatal("late failures opened the newer state")
		}
	}
}

func TestAtTellsTheTime(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	if m.At(time.Second-1) != Open || m.At(time.Second) != HalfOpen {
		t.Fatal("an idle breaker lies about its state")
	}
}

func TestReconfigureKeepsTheState(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	cfg := testConfig()
	cfg.OpenFor, cfg.Window, cfg.Probes = 30*time.Second, time.Second, 2
	m.Reconfigure(cfg)
	if got := m.Wait(0); got != time.Second {
		t.Fatalf("open for %v, want what it had", got)
	}
	a, _, _ := m.Admit(time.Second)
	b, _, ok := m.Admit(time.Second)
	if !ok {
		t.Fatal("the new number of probes does not hold")
	}
	cfg.Probes = 1
	m.Reconfigure(cfg)
	m.Settle(time.Second, a, Neutral, 0)
	if _, _, ok := m.Admit(time.Second); ok {
		t.Fatal("a second probe passed where one is allowed now")
	}
	want(t, m.Settle(time.Second, b, Success, 0), HalfOpen, Closed, Recovered)
}

// model is a plain closed state: all outcomes, with their times.
type model struct {
	cfg Config
	log []struct {
		epoch int64
		o     Outcome
	}
}

func (m *model) add(now time.Duration, o Outcome) (opens Reason) {
	if o == Neutral {
		return None
	}
	width := m.cfg.Window / buckets
	m.log = append(m.log, struct {
		epoch int64
		o     Outcome
	}{epoch(now, width), o})
	weight := 4.0 / 5 * m.cfg.FailureRate / (1 - m.cfg.FailureRate)
	var row, calls, failed, slow, balance float64
	for _, e := range m.log {
		if e.o.failed() {
			row++
			balance++
		} else {
			row = 0
			balance = max(0, balance-weight)
		}
		if e.epoch > epoch(now, width)-buckets {
			calls++
			if e.o.failed() {
				failed++
			}
			if e.o.slow() {
				slow++
			}
		}
	}
	switch {
	case o == Success:
		return None
	case row >= float64(m.cfg.Consecutive):
		return Consecutive
	case calls >= float64(m.cfg.MinCalls) && failed >= m.cfg.FailureRate*calls:
		return FailureRate
	case balance >= max(2*float64(m.cfg.Consecutive), m.cfg.FailureRate*float64(m.cfg.MinCalls))-1e-9:
		return Balance
	case calls >= float64(m.cfg.MinCalls) && slow >= m.cfg.SlowRate*calls:
		return SlowRate
	}
	return None
}

// TestMachineAgainstModel drives a machine with random calls, many in flight,
// and holds it against the plain story: it opens when the model says, lets at
// most Probes unexpired probes through, and besides no more than refused calls
// have earned, and hears nobody late.
func TestMachineAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			FailureRate: rapid.SampledFrom([]float64{0.1, 0.5, 1}).Draw(t, "rate"),
			SlowRate:    rapid.SampledFrom([]float64{0.3, 1}).Draw(t, "slow"),
			MinCalls:    rapid.IntRange(1, 30).Draw(t, "min"),
			Window:      10 * time.Second,
			Consecutive: rapid.IntRange(2, 12).Draw(t, "row"),
			OpenFor:     time.Second,
			MaxOpenFor:  10 * time.Second,
			Probes:      rapid.IntRange(1, 3).Draw(t, "probes"),
			ProbeTTL:    5 * time.Second,
			ProbeShare:  rapid.SampledFrom([]float64{0, 0.05, 0.3, 1}).Draw(t, "share"),
			LateProbe:   rapid.Bool().Draw(t, "late"),
		}
		type flight struct {
			token   Token
			state   State
			expires time.Duration
			period  int
		}
		m, g := NewMachine(cfg), NewGuard(cfg)
		plain := model{cfg: cfg}
		now := -20 * time.Second // the epoch is the caller's
		period, passed := 0, 0
		refused, early, given := 0, 0, 0 // calls refused; early probes; of these, those that late successes give
		var flying []flight

		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "dt")) * time.Duration(rapid.IntRange(0, 1).Draw(t, "moves"))
			if len(flying) == 0 || rapid.Bool().Draw(t, "admit") {
				before, asked := m.state, m
				asked.probeSlots = slices.Clone(m.probeSlots)
				refuses := asked.Refuses(now)
				token, change, ok := m.Admit(now)
				if refuses == ok && !change.Happened() || refuses && asked.refused != m.refused {
					t.Fatalf("refuses: %v, after %d refusals; but Admit: %v, after %d, from %v to %v", refuses, asked.refused, ok, m.refused, before, m.state)
				}
				if change.Happened() {
					period++
					passed = 0
					if before != Open || change.To != HalfOpen {
						t.Fatalf("admission changed %v to %v", before, change.To)
					}
				}
				gt, gc, _, gok := g.Admit(now)
				if gt != token || gc != change || gok != ok {
					t.Fatalf("guard admits %v %v %v, machine %v %v %v", gt, gc, gok, token, change, ok)
				}
				if ok {
					flying = append(flying, flight{token, m.state, now + cfg.ProbeTTL, period})
				} else {
					refused++
				}
				if token.Early() {
					early++
				}
				probes := 0
				for _, f := range flying {
					if f.token.Probe() && !f.token.Early() && f.expires > now {
						probes++
					}
				}
				if m.state == HalfOpen && probes > cfg.Probes {
					t.Fatalf("%d probes in flight, want at most %d", probes, cfg.Probes)
				}
				if float64(early) > cfg.ProbeShare*float64(refused)+float64(given)+1e-9 {
					t.Fatalf("%d probes for %d refused calls", early, refused)
				}
				if token.Probe() && !token.Early() && now < m.until {
					t.Fatal("a probe that nothing has earned")
				}
				continue
			}
			i := rapid.IntRange(0, len(flying)-1).Draw(t, "which")
			f := flying[i]
			flying = append(flying[:i], flying[i+1:]...)
			o := rapid.SampledFrom([]Outcome{Neutral, Success, Success, SlowSuccess, Failure, Failure, SlowFailure}).Draw(t, "outcome")

			var expect Transition
			if f.period == period {
				switch {
				case m.state == Closed:
					if why := plain.add(now, o); why != None {
						expect = Transition{Closed, Open, why}
					}
				case o == Neutral:
				case o == Success:
					if passed++; passed == cfg.Probes {
						expect = Transition{HalfOpen, Closed, Recovered}
					}
				default:
					expect = Transition{HalfOpen, Open, ProbeFailed}
				}
			}
			answered := m.answered
			got := m.Settle(now, f.token, o, 0.5)
			if m.answered && !answered {
				given += cfg.Probes
				if o != Success || m.state != Open || f.period != period-1 || f.token.Probe() {
					t.Fatalf("%v of a call of %v, period %d of %d, gives a probe while %v", o, f.state, f.period, period, m.state)
				}
			}
			if got != expect {
				t.Fatalf("settling %v moved %v, want %v", o, got, expect)
			}
			var held Transition
			if o == Success {
				held = g.Succeed(now, f.token, rapid.Uint32().Draw(t, "shard"))
			} else {
				held = g.Settle(now, f.token, o, 0.5)
			}
			if held != got {
				t.Fatalf("the guard moved %v, the machine %v", held, got)
			}
			if got.Happened() {
				period++
				plain = model{cfg: cfg}
			}
			if m.At(now) != g.At(now) {
				t.Fatalf("the guard is %v, the machine %v", g.At(now), m.At(now))
			}
		}
	})
}

// TestConnectionEndsTheOpenTime: a breaker that opened for want of a connection
// probes as soon as there is one; one that opened for what a server said does not.
func TestConnectionEndsTheOpenTime(t *testing.T) {
	for _, last := range []Outcome{Failure, Unreached} {
		m := NewMachine(testConfig())
		settleAll(t, &m, 0, Failure, 6)
		settleAll(t, &m, 0, last, 1)
		if m.At(0) != Open || m.CutOff() != (last == Unreached) {
			t.Fatalf("after %v: %v, cut off %v", last, m.At(0), m.CutOff())
		}
		m.Connected(time.Millisecond)
		token, _, ok := m.Admit(time.Millisecond)
		if ok != (last == Unreached) {
			t.Fatalf("after %v, with a connection, a call passes: %v", last, ok)
		}
		if !ok {
			continue
		}
		if _, _, ok := m.Admit(time.Millisecond); ok {
			t.Error("two probes at once")
		}
		m.Settle(time.Millisecond, token, Failure, 0.5)
		m.Connected(2 * time.Millisecond)
		if _, _, ok := m.Admit(2 * time.Millisecond); ok {
			t.Error("the probe reached an ill server, and the connection is still news")
		}
	}
}
