package breaker

import (
	"testing"
	"time"
)

// inVain opens a breaker by calls that have waited as long.
func inVain(t *testing.T, m *Machine, waited ...time.Duration) {
	t.Helper()
	for i, d := range waited {
		token, _, ok := m.Admit(0)
		if !ok {
			t.Fatalf("call %d is refused", i+1)
		}
		m.SettleAfter(0, token, Failure, d, 0.5)
	}
	if m.At(0) != Open {
		t.Fatalf("%v after failures that waited %v, want open", m.At(0), waited)
	}
}

const half, whole = time.Second / 2, time.Second

func passes(m *Machine, d time.Duration) bool {
	_, ok := m.AdmitPatient(d)
	return ok
}

func TestPatientCallsPass(t *testing.T) {
	for name, tc := range map[string]struct {
		waited []time.Duration
		least  time.Duration // that passes; 0: none does
	}{
		"all in vain":            {[]time.Duration{1, half, 1, 1, 1, 1, 1}, whole},
		"an answer among them":   {[]time.Duration{half, half, half, 0, half, half, half}, 0},
		"as long as can be":      {[]time.Duration{1, 1, 1, 1, 1, 1, never}, 0},
		"too long to be doubled": {[]time.Duration{1, 1, 1, 1, 1, 1, never/2 + 1}, 0},
	} {
		m := NewMachine(testConfig())
		if passes(&m, time.Hour) {
			t.Errorf("%s: a closed breaker has calls pass for their patience", name)
		}
		inVain(t, &m, tc.waited...)
		switch {
		case tc.least == 0 && passes(&m, never):
			t.Errorf("%s: a call passes", name)
		case tc.least > 0 && (passes(&m, tc.least-1) || !passes(&m, tc.least)):
			t.Errorf("%s: want calls of %v and more to pass", name, tc.least)
		}
	}
}

// What went before the last success is forgotten.
func TestPatienceCountsTheRow(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 3) // for another reason
	settle(t, &m, 0, Success)
	inVain(t, &m, half, half, half, half, half, half, half)
	if !passes(&m, whole) {
		t.Error("refused, though all failures of the row had waited in vain")
	}
}

// mostlyInVain opens a breaker by calls of which two in three wait in vain.
func mostlyInVain(t *testing.T, m *Machine) {
	t.Helper()
	for m.At(0) == Closed {
		settle(t, m, 0, Success)
		for range 2 {
			if token, _, ok := m.Admit(0); ok {
				m.SettleAfter(0, token, Failure, half, 0.5)
			}
		}
	}
}

// The calls that the balance, or the window, holds against the server count where
// those did.
func TestPatienceCountsWhatOpened(t *testing.T) {
	for name, consecutive := range map[string]int{"balance": 7, "rate": 100} {
		cfg := testConfig()
		cfg.Consecutive = consecutive
		m := NewMachine(cfg)
		settleAll(t, &m, 0, Failure, 1)
		settleAll(t, &m, 0, Success, 2) // forgotten
		mostlyInVain(t, &m)
		if m.cause == Consecutive || passes(&m, whole-1) || !passes(&m, whole) {
			t.Errorf("%s: open for %v; want calls of 1 s and more to pass", name, m.cause)
		}
	}
}

func TestPatientCallsAreHeard(t *testing.T) {
	opened := func(t *testing.T) (*Machine, Token) {
		cfg := testConfig()
		cfg.LateProbe, cfg.ProbeShare = true, 0.1
		m := NewMachine(cfg)
		inVain(t, &m, half, half, half, half, half, half, half)
		token, ok := m.AdmitPatient(3 * whole)
		if !ok || token.Probe() || !token.Early() {
			t.Fatalf("token %+v, %v: want one that is worth one attempt, and no probe's", token, ok)
		}
		return &m, token
	}
	t.Run("in vain", func(t *testing.T) {
		m, token := opened(t)
		m.SettleAfter(3*whole, token, SlowFailure, 3*whole, 0.5)
		if passes(m, 6*whole-1) || !passes(m, 6*whole) {
			t.Error("want calls of 6 s and more to pass after one of 3 s")
		}
		m.SettleAfter(3*whole, token, Failure, half, 0.5)
		if passes(m, 6*whole-1) {
			t.Error("a call that waited less lets others pass")
		}
	})
	t.Run("no answer was wanted", func(t *testing.T) {
		m, token := opened(t)
		m.SettleAfter(whole, token, Neutral, 0, 0.5)
		if !passes(m, whole) {
			t.Error("a call that says nothing has been heard")
		}
	})
	t.Run("failed at once", func(t *testing.T) {
		m, token := opened(t)
		m.Settle(0, token, Failure, 0.5)
		if passes(m, never) {
			t.Error("a call passes after one that failed for another reason")
		}
	})
	t.Run("answered", func(t *testing.T) {
		m, token := opened(t)
		if _, _, ok := m.Admit(whole / 5); ok {
			t.Fatal("a probe passes before")
		}
		m.Settle(whole/5, token, Success, 0.5)
		probe, _, ok := m.Admit(whole / 5)
		if !ok || !probe.Probe() {
			t.Fatal("the next call is no probe")
		}
		// One that fails leaves those of patience alone, and is none of them.
		m.SettleAfter(whole, probe, Failure, half, 0.5)
		if m.At(whole) != Open || !passes(m, whole) {
			t.Errorf("%v after the probe failed; want open, but for calls of patience", m.At(whole))
		}
	})
	// Such calls take long: by their end, probes of less time have failed.
	failProbe := func(t *testing.T, m *Machine) {
		probe, _, ok := m.Admit(2 * whole)
		if !ok || !probe.Probe() {
			t.Fatal("no probe after the open time")
		}
		m.SettleAfter(2*whole, probe, Failure, half, 0.5)
	}
	t.Run("in vain, after a probe", func(t *testing.T) {
		m, token := opened(t)
		failProbe(t, m)
		m.SettleAfter(3*whole, token, Failure, 3*whole, 0.5)
		if passes(m, 6*whole-1) || !passes(m, 6*whole) {
			t.Error("want calls of 6 s and more to pass after one of 3 s")
		}
	})
	t.Run("failed otherwise, after a probe", func(t *testing.T) {
		m, token := opened(t)
		failProbe(t, m)
		m.Settle(3*whole, token, Failure, 0.5)
		if passes(m, never) {
			t.Error("a call passes after one that failed for another reason")
		}
	})
	t.Run("answered, after a probe", func(t *testing.T) {
		m, token := opened(t)
		failProbe(t, m)
		if _, _, ok := m.Admit(2*whole + half); ok {
			t.Fatal("a probe passes before")
		}
		m.Settle(2*whole+half, token, Success, 0.5)
		if probe, _, ok := m.Admit(2*whole + half); !ok || !probe.Probe() {
			t.Error("the next call is no probe")
		}
	})
	t.Run("while a probe is under way", func(t *testing.T) {
		m, token := opened(t)
		if _, _, ok := m.Admit(2 * whole); !ok || m.At(2*whole) != HalfOpen {
			t.Fatal("no probe after the open time")
		}
		m.SettleAfter(3*whole, token, Failure, 3*whole, 0.5)
		if m.At(3*whole) != HalfOpen || passes(m, 6*whole-1) {
			t.Error("want it heard, and nothing decided")
		}
	})
	t.Run("after the breaker has closed", func(t *testing.T) {
		m, token := opened(t)
		settle(t, m, 2*whole, Success) // the probe
		m.SettleAfter(2*whole, token, Failure, 3*whole, 0.5)
		if m.At(2*whole) != Closed || m.calls.row != 0 {
			t.Error("a call of before is counted by the closed breaker")
		}
		for range 7 {
			other, _, _ := m.Admit(2 * whole)
			m.SettleAfter(2*whole, other, Failure, half, 0.5)
		}
		m.SettleAfter(3*whole, token, Failure, 3*whole, 0.5)
		m.Settle(3*whole, token, Success, 0.5)
		if !passes(m, whole) || m.answered {
			t.Error("a call of an opening before has been heard")
		}
	})
	t.Run("a probe waits longer", func(t *testing.T) {
		m, _ := opened(t)
		probe, _, ok := m.Admit(2 * whole)
		if !ok || !probe.Probe() {
			t.Fatal("no probe after the open time")
		}
		if !passes(m, whole) {
			t.Error("refused while a probe is under way")
		}
		m.SettleAfter(4*whole, probe, Failure, 2*whole, 0.5)
		if passes(m, 4*whole-1) || !passes(m, 4*whole) {
			t.Error("want calls of 4 s and more to pass after a probe of 2 s")
		}
	})
}

func TestNoPatienceOtherwise(t *testing.T) {
	row := []time.Duration{half, half, half, half, half, half, half}
	for name, open := range map[string]func(m *Machine){
		"forced":   func(m *Machine) { inVain(t, m, row...); m.Force(0, time.Minute, ForcedOpen, ByHand) },
		"restored": func(m *Machine) { m.Restore(0, Snapshot{Left: time.Second, Openings: 1}, Restored) },
		"let go":   func(m *Machine) { inVain(t, m, row...); m.Force(0, whole, ForcedOpen, ByHand); m.Release(0) },
		"again, for another reason": func(m *Machine) {
			inVain(t, m, row...)
			settle(t, m, 2*whole, Success) // the probe
			settleAll(t, m, 2*whole, Failure, 7)
		},
		"slow": func(m *Machine) { settleAll(t, m, 0, SlowSuccess, 20) },
		"slow, and the last in vain": func(m *Machine) {
			m.cfg.Consecutive = 100
			settleAll(t, m, 0, SlowSuccess, 19)
			inVain(t, m, half)
		},
		"balance, of failures at once": func(m *Machine) {
			settleAll(t, m, 0, Failure, 3)
			mostlyInVain(t, m)
		},
		"rate, of failures at once": func(m *Machine) {
			settleAll(t, m, 0, Success, 10)
			m.cfg.Consecutive = 100
			settleAll(t, m, 0, Failure, 8)
			settle(t, m, 0, Success)
			inVain(t, m, half, half, half)
		},
		"by a hint": func(m *Machine) { m.Hint(); inVain(t, m, half) },
	} {
		m := NewMachine(testConfig())
		open(&m)
		if m.state == Closed || passes(&m, never) {
			t.Errorf("%s: %v; a call passes for its patience", name, m.state)
		}
	}
}

func TestGuardAsksForPatience(t *testing.T) {
	g := NewGuard(testConfig())
	for range 7 {
		token, _ := g.AdmitClosed()
		g.SettleAfter(0, token, Failure, half, 0.5)
	}
	token, ok := g.AdmitPatient(whole)
	if !ok {
		t.Fatal("refused")
	}
	if _, ok := g.AdmitPatient(whole - 1); ok {
		t.Error("a call of less passes")
	}
	g.SettleAfter(0, token, Failure, whole, 0.5)
	if _, ok := g.AdmitPatient(whole); ok {
		t.Error("what came of it is not heard")
	}
	token, _ = g.AdmitPatient(2 * whole)
	probe, _, _, _ := g.Admit(2 * whole)
	g.SettleAfter(2*whole, probe, Failure, half, 0.5)
	g.SettleAfter(2*whole, token, Failure, 2*whole, 0.5)
	if _, ok := g.AdmitPatient(2 * whole); ok || !probe.Probe() {
		t.Error("what came of it after a probe is not heard")
	}
}
