package breaker

import (
	"testing"
	"time"
)

// Every method of a guard may be called again after any other: none keeps the lock.
func TestGuardKeepsNoLock(t *testing.T) {
	g := NewGuard(testConfig())
	now := time.Second
	g.Restore(now, Snapshot{Left: time.Second, Openings: 1}, Restored)
	for name, call := range map[string]func(){
		"Admit":        func() { g.Admit(now) },
		"At":           func() { g.At(now) },
		"Hint":         func() { g.Hint(now) },
		"CutOff":       func() { g.CutOff() },
		"Connected":    func() { g.Connected(now) },
		"Reconfigure":  func() { g.Reconfigure(now, testConfig()) },
		"Refuses":      func() { g.Refuses(now) },
		"Restore":      func() { g.Restore(now, Snapshot{Left: 1}, Restored) },
		"Skipped":      func() { g.Skipped(1) },
		"AdmitPatient": func() { g.AdmitPatient(1) },
		"SettleAfter":  func() { g.SettleAfter(now, Token{gen: g.word.Load() >> stateBits}, Failure, 1, 0) },
		"Recent":       func() { g.Recent(now) },
		"Force":        func() { g.Force(now, time.Second, ForcedOpen) },
		"Release":      func() { g.Release(now) },
		"Snapshot":     func() { g.Snapshot(now) },
	} {
		call()
		if !g.mu.TryLock() {
			t.Fatalf("%s keeps the lock", name)
		}
		g.mu.Unlock()
	}
	if g := NewGuard(testConfig()); g.CutOff() {
		t.Error("a closed breaker is cut off")
	}
}

// Calls that went elsewhere earn probes as refused ones do.
func TestSkippedCallsEarnProbes(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare, cfg.OpenFor, cfg.MaxOpenFor = 0.1, time.Minute, time.Minute
	for _, n := range []int{8, 10} { // 10 earn one; the call that asks is one of them
		m := NewMachine(cfg)
		settleAll(t, &m, 0, Failure, cfg.Consecutive)
		now := 30 * time.Second // past the least gap, long before the end of the open time
		m.Skipped(n)
		if _, _, ok := m.Admit(now); ok != (n == 10) {
			t.Errorf("after %d calls that went elsewhere a call may pass: %v", n, ok)
		}
	}
}

// A breaker that is restored begins anew: what it refused before earns it nothing.
func TestRestoreForgetsWhatWasRefused(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare = 0.1
	m := NewMachine(cfg)
	m.refused, m.halfOpenedEarly, m.cutOff = 100, true, true // as left from an opening before
	m.Restore(0, Snapshot{Left: 30 * time.Second, Openings: 1}, Restored)
	m.Skipped(9) // one short of a probe
	if _, _, ok := m.Admit(10 * time.Second); ok || m.cutOff || m.halfOpenedEarly {
		t.Errorf("a call may pass: %v, cut off %v, early %v; want none of it", ok, m.cutOff, m.halfOpenedEarly)
	}
}

// The clock that two calls read may be far apart, also by a whole window: nothing
// is lost, and nothing breaks.
func TestSuccessesFarApart(t *testing.T) {
	cfg := testConfig()
	width := cfg.Window / buckets
	for apart := -2 * buckets; apart <= 2*buckets; apart++ {
		cfg.MinCalls, cfg.Consecutive, cfg.FailureRate = 1, 100, 0.5
		g := NewGuard(cfg)
		now := 100 * cfg.Window
		token, _ := g.AdmitClosed()
		g.Succeed(now+time.Duration(apart)*width, token, 0)
		g.Succeed(now, token, 0)
		if change := g.Settle(now, token, Failure, 0.5); change.Happened() && apart > -buckets && apart <= 0 {
			t.Errorf("%d buckets apart: one failure beside two successes opens it: %v", apart, change)
		}
	}
}

// A window holds between nine and ten tenths of its length, to the nanosecond.
func TestShortestWindow(t *testing.T) {
	for length, width := range map[time.Duration]time.Duration{1: 1, 10: 1, 19: 1, 20: 2, 10 * time.Second: time.Second} {
		if got := newWindow(length).width; got != width {
			t.Errorf("a window of %v has buckets of %v, want %v", length, got, width)
		}
	}
}

// A breaker that is restored may probe, if it has earned that, after a tenth of its
// open time, as one that has just opened for the first time.
func TestRestoreKeepsTheFirstProbeGap(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare, cfg.OpenFor, cfg.MaxOpenFor = 0.1, 10*time.Second, time.Minute
	m := NewMachine(cfg)
	m.Restore(0, Snapshot{Left: 8 * time.Second, Openings: 3}, Restored)
	m.Skipped(1000)
	if wait := m.Wait(0); wait != time.Second {
		t.Errorf("the next probe is in %v, want 1 s", wait)
	}
	if _, _, ok := m.Admit(time.Second - 1); ok {
		t.Error("a probe passes before")
	}
	if _, _, ok := m.Admit(time.Second); !ok {
		t.Error("no probe passes then")
	}
}

// What the lock-free paths of a guard see is its state, in every generation.
func TestGuardShowsItsState(t *testing.T) {
	g := NewGuard(testConfig())
	now := time.Duration(0)
	for round := range 5 {
		token, closed := g.AdmitClosed()
		if _, refuses := g.Refuses(now); !closed || refuses || g.CutOff() {
			t.Fatalf("round %d: closed %v, refuses %v", round, closed, refuses)
		}
		for range 7 {
			g.Settle(now, token, Failure, 0.5)
		}
		if _, closed := g.AdmitClosed(); closed || g.At(now) != Open || !g.Opened(token) {
			t.Fatalf("round %d: %v after seven failures; a call passes: %v", round, g.At(now), closed)
		}
		if wait, refuses := g.Refuses(now); !refuses || wait <= 0 {
			t.Fatalf("round %d: open, and refuses %v for %v", round, refuses, wait)
		}
		now += time.Minute
		probe, _, _, ok := g.Admit(now)
		if _, closed := g.AdmitClosed(); !ok || closed || g.At(now) != HalfOpen || !g.Opened(token) {
			t.Fatalf("round %d: %v, probe %v; any call passes: %v", round, g.At(now), ok, closed)
		}
		if _, ok := g.AdmitPatient(0); ok {
			t.Fatalf("round %d: a call without time passes", round)
		}
		g.Settle(now, probe, Success, 0.5)
		if now += time.Second; g.At(now) != Closed || g.Opened(token) {
			t.Fatalf("round %d: %v after the probe", round, g.At(now))
		}
	}
}

// The open time after the first probe that fails is twice the policy's, if the opening
// restored was the first, or its store did not say which.
func TestRestoreOfAFirstOpening(t *testing.T) {
	for _, openings := range []int{-1, 0, 1} {
		m := NewMachine(testConfig())
		m.Restore(0, Snapshot{Left: time.Second, Openings: openings}, Restored)
		want(t, settle(t, &m, time.Second, Failure), HalfOpen, Open, ProbeFailed)
		if got := m.Wait(time.Second); got != 2*time.Second {
			t.Errorf("openings %d: open for %v, want 2 s", openings, got)
		}
	}
}
