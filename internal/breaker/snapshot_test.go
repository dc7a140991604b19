package breaker

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestClosedLeavesNothing(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 6)
	if s, ok := m.Snapshot(0); ok {
		t.Fatalf("%+v of a closed breaker", s)
	}
}

func TestRestoreResumes(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	now := time.Second // ± 0, by settle's chance
	want(t, settle(t, &m, now, Failure), HalfOpen, Open, ProbeFailed)
	s, ok := m.Snapshot(now + 500*time.Millisecond)
	if !ok || s != (Snapshot{Left: 1500 * time.Millisecond, Openings: 2}) {
		t.Fatalf("%+v, %v; want 1.5 s of the second opening, 2 s", s, ok)
	}

	next := NewMachine(testConfig())
	const start = time.Hour // another epoch
	early, _, _ := next.Admit(start)
	want(t, next.Restore(start, s, Restored), Closed, Open, Restored)
	if got := next.Settle(start, early, Failure, 0); got.Happened() {
		t.Fatalf("a call admitted before was heard: %v", got)
	}
	if got := next.Wait(start); got != s.Left {
		t.Fatalf("open for %v, want %v", got, s.Left)
	}
	if _, _, ok := next.Admit(start + s.Left - 1); ok {
		t.Fatal("a call passed before its time")
	}
	probed := start + s.Left
	want(t, settle(t, &next, probed, Failure), HalfOpen, Open, ProbeFailed)
	if got := next.Wait(probed); got != 4*time.Second {
		t.Fatalf("open for %v after the third opening, want 4 s: growth was forgotten", got)
	}
}

func TestRestoreHalfOpen(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	if _, change, ok := m.Admit(2 * time.Second); !ok || change.To != HalfOpen {
		t.Fatal("no probe")
	}
	s, ok := m.Snapshot(2 * time.Second)
	if !ok || s != (Snapshot{Left: 0, Openings: 1}) {
		t.Fatalf("%+v, %v; want no time left", s, ok)
	}
	next := NewMachine(testConfig())
	next.Restore(0, s, Restored)
	if got := next.At(0); got != HalfOpen {
		t.Fatalf("restored as %v", got)
	}
	want(t, settle(t, &next, 0, Success), HalfOpen, Closed, Recovered)
}

// TestRestoreBounds: whatever is restored, a probe passes within MaxOpenFor.
func TestRestoreBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		now := time.Duration(rapid.Int64().Draw(t, "now")) / 4
		s := Snapshot{Left: time.Duration(rapid.Int64().Draw(t, "left")), Openings: rapid.Int().Draw(t, "openings")}
		m := NewMachine(cfg)
		m.Restore(now, s, Restored)
		left := m.Wait(now)
		if left < 0 || left > cfg.MaxOpenFor || s.Left >= 0 && s.Left <= cfg.MaxOpenFor && left != s.Left {
			t.Fatalf("%+v leaves %v", s, left)
		}
		token, change, ok := m.Admit(now + left)
		if !ok || change.To != HalfOpen {
			t.Fatalf("%+v: no probe after %v", s, left)
		}
		m.Settle(now+left, token, Failure, 0.5)
		if wait := m.Wait(now + left); wait < cfg.OpenFor || wait > cfg.MaxOpenFor {
			t.Fatalf("%+v: then open for %v", s, wait)
		}
	})
}

func TestRestoreLeavesTheOpenAlone(t *testing.T) {
	m := NewMachine(testConfig())
	settleAll(t, &m, 0, Failure, 7)
	if got := m.Restore(0, Snapshot{Left: time.Minute, Openings: 9}, Fleet); got.Happened() || m.Wait(0) != time.Second {
		t.Fatalf("%v; open for %v, want its own second", got, m.Wait(0))
	}
	_, _, _ = m.Admit(time.Second)
	if got := m.Restore(time.Second, Snapshot{Left: time.Minute, Openings: 9}, Fleet); got.Happened() {
		t.Fatalf("%v while a probe is under way", got)
	}
}

func TestAdvice(t *testing.T) {
	m := NewMachine(testConfig())
	m.Hint()
	if m.At(0) != Closed {
		t.Fatal("advice opens nothing")
	}
	settle(t, &m, 0, Neutral)
	want(t, settle(t, &m, 0, Failure), Closed, Open, Consecutive)

	m = NewMachine(testConfig())
	m.Hint()
	settle(t, &m, 0, Success)
	if got := settleAll(t, &m, 0, Failure, 6); got.Happened() {
		t.Fatalf("%v: a success did not take the advice back", got)
	}
	m.Hint() // knows no less than six failures
	want(t, settle(t, &m, 0, Failure), Closed, Open, Consecutive)

	cfg := testConfig()
	cfg.Consecutive = 1
	m = NewMachine(cfg)
	m.Hint()
	if m.calls.row != 0 {
		t.Fatal("there is nothing to advise one that opens at a single failure")
	}
}

// TestGuardSnapshot: the guard's lock-free paths know of what was restored.
func TestGuardSnapshot(t *testing.T) {
	g := NewGuard(testConfig())
	early, _ := g.AdmitClosed()
	if _, ok := g.Snapshot(0); ok {
		t.Fatal("a closed breaker has a snapshot")
	}
	g.Hint(0)
	g.Succeed(0, early, 0)
	if got := g.Settle(0, early, Failure, 0); got.Happened() {
		t.Fatal("a success took no notice of advice")
	}
	g.Succeed(0, early, 0)
	g.Hint(0)
	want(t, g.Settle(0, early, Failure, 0), Closed, Open, Consecutive)
	g = NewGuard(testConfig())
	early, _ = g.AdmitClosed()
	want(t, g.Restore(0, Snapshot{Left: time.Second, Openings: 3}, Restored), Closed, Open, Restored)
	if _, closed := g.AdmitClosed(); closed || !g.Opened(early) {
		t.Fatal("admits as if it were closed")
	}
	if s, ok := g.Snapshot(400 * time.Millisecond); !ok || s != (Snapshot{Left: 600 * time.Millisecond, Openings: 3}) {
		t.Fatalf("%+v, %v", s, ok)
	}
}
