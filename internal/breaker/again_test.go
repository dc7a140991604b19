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
