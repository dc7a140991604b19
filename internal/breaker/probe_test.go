package breaker

import (
	"testing"
	"time"
)

// busyConfig lets one probe through for a hundred calls refused.
func busyConfig() Config {
	cfg := testConfig()
	cfg.ProbeShare = 0.01
	return cfg
}

func refuse(t *testing.T, m *Machine, now time.Duration, times int) {
	t.Helper()
	for i := range times {
		if _, _, ok := m.Admit(now); ok {
			t.Fatalf("call %d of %d passed at %v", i+1, times, now)
		}
	}
}

const ms = time.Millisecond

// TestRefusedCallsEarnProbes: a busy client probes before the open time is
// over, as often as its traffic pays for, and is not made to wait longer each
// time; that is left to the clock.
func TestRefusedCallsEarnProbes(t *testing.T) {
	m := NewMachine(busyConfig())
	settleAll(t, &m, 0, Failure, 7)
	now := time.Duration(0)
	for range 20 {
		refuse(t, &m, now+100*ms, 99)
		if m.At(now+150*ms) != Open || m.Wait(now+150*ms) < 500*ms {
			t.Fatalf("after 99 refusals %v, wait %v", m.At(now+150*ms), m.Wait(now+150*ms))
		}
		refuse(t, &m, now+150*ms, 1)
		now += 200 * ms
		if m.At(now) != HalfOpen || m.Wait(now) != 0 {
			t.Fatalf("after 100 refusals %v, wait %v", m.At(now), m.Wait(now))
		}
		token, change, ok := m.Admit(now)
		want(t, change, Open, HalfOpen, EnoughRefused)
		if !ok || !token.Probe() || !token.Early() {
			t.Fatalf("no early probe: %+v", token)
		}
		want(t, m.Settle(now, token, Failure, 0.5), HalfOpen, Open, ProbeFailed)
		if got := m.Wait(now); got != time.Second {
			t.Fatalf("an early probe failed, and the open time is %v", got)
		}
	}
	now += time.Second
	token, change, _ := m.Admit(now)
	want(t, change, Open, HalfOpen, Probing)
	if token.Early() {
		t.Fatal("a probe after the open time is called early")
	}
	m.Settle(now, token, Failure, 0.5)
	if got := m.Wait(now); got != 2*time.Second {
		t.Fatalf("the open time ran out, a probe failed, and the next is %v", got)
	}
	refuse(t, &m, now, 100)
	token, _, _ = m.Admit(now + 200*ms)
	refuse(t, &m, now+250*ms, 99)
	want(t, m.Settle(now+300*ms, token, Success, 0.5), HalfOpen, Closed, Recovered)

	// A new outage begins with nothing: neither calls that still pay, nor an
	// open time that is not the first.
	now += 300 * ms
	settleAll(t, &m, now, Failure, 7)
	refuse(t, &m, now+200*ms, 99)
	for _, open := range []time.Duration{1, 2} {
		if got := m.Wait(now); got != open*time.Second {
			t.Fatalf("open for %v, want %d s", got, open)
		}
		now += open * time.Second
		settle(t, &m, now, Failure)
	}
}

// TestProbesKeepTheirDistance: however many calls are refused, between two
// probes lies a tenth of OpenFor.
func TestProbesKeepTheirDistance(t *testing.T) {
	m := NewMachine(busyConfig())
	settleAll(t, &m, 0, Failure, 7) // settled with chance 0.5: 100 ms
	refuse(t, &m, 0, 1000)
	if got := m.Wait(0); got != 100*ms {
		t.Fatalf("wait %v", got)
	}
	refuse(t, &m, 100*ms-1, 1)
	settle(t, &m, 100*ms, Failure)
	refuse(t, &m, 150*ms, 1000)
	refuse(t, &m, 200*ms-1, 1)
	slow, _, _ := m.Admit(200 * ms)
	refuse(t, &m, 250*ms, 1000) // nor do they join one that runs
	want(t, m.Settle(290*ms, slow, Failure, 0.5), HalfOpen, Open, ProbeFailed)
	refuse(t, &m, 300*ms-1, 1)
	settle(t, &m, 300*ms, Failure) // between their beginnings, that is
}

// TestHangingProbesAreJoined: a probe that does not end keeps one slot, not
// the breaker.
func TestHangingProbesAreJoined(t *testing.T) {
	m := NewMachine(busyConfig())
	settleAll(t, &m, 0, Failure, 7)
	hung, _, _ := m.Admit(time.Second)
	if hung.Early() {
		t.Fatal("the open time was over")
	}
	refuse(t, &m, 1050*ms, 100)
	if got := m.Wait(1050 * ms); got != 50*ms {
		t.Fatalf("wait %v, want the rest of the distance", got)
	}
	second, change, ok := m.Admit(1200 * ms)
	if !ok || !second.Early() || change.Happened() {
		t.Fatalf("no further probe: %+v %v", second, change)
	}
	refuse(t, &m, 1200*ms, 1)
	want(t, m.Settle(1300*ms, second, Success, 0.5), HalfOpen, Closed, Recovered)
	if m.Settle(1400*ms, hung, Failure, 0.5).Happened() {
		t.Fatal("the hung probe is heard late")
	}
}

// TestNeutralProbesEarnNothing: before the open time is over, a slot given
// back by a probe that said nothing must be earned anew.
func TestNeutralProbesEarnNothing(t *testing.T) {
	cfg := busyConfig()
	cfg.Probes = 2
	m := NewMachine(cfg)
	settleAll(t, &m, 0, Failure, 7)
	refuse(t, &m, 0, 199)
	refuse(t, &m, 200*ms, 1) // two probes cost as much as two
	settle(t, &m, 200*ms, Neutral)
	settle(t, &m, 200*ms, Neutral)
	refuse(t, &m, 200*ms, 99)
	if got := m.Wait(900 * ms); got != 100*ms {
		t.Fatalf("wait %v, want the rest of the open time", got)
	}
	refuse(t, &m, 400*ms, 1)
	settle(t, &m, 400*ms, Success)
	refuse(t, &m, 999*ms, 1)
	if token, _, ok := m.Admit(time.Second); !ok || token.Early() {
		t.Fatal("the open time is over, and no probe passes as ever")
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := None; r <= Fleet; r++ {
		if s := r.String(); s == "invalid" || seen[s] {
			t.Errorf("reason %d is %q", r, s)
		}
		seen[r.String()] = true
	}
	if Reason(99).String() != "invalid" {
		t.Error("a reason that is none has a name")
	}
}
