package breaker

import (
	"math"
	"testing"
	"time"
)

// opened returns a breaker that seven failures opened at a time.
func opened(t *testing.T, cfg Config, now time.Duration) *Machine {
	t.Helper()
	m := NewMachine(cfg)
	want(t, settleAll(t, &m, now, Failure, 7), Closed, Open, Consecutive)
	return &m
}

// A breaker that is forced open begins anew: what it refused before, how it probed, and
// that it had no connection, is over.
func TestForcedOpenBeginsAnew(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare, cfg.OpenFor = 0.1, 10*time.Second
	m := opened(t, cfg, 0)
	settleAll(t, m, 12*time.Second, Failure, 1)
	m.cutOff, m.halfOpenedEarly = true, true
	m.Skipped(1000)
	want(t, m.Force(20*time.Second, 5*time.Second, ForcedOpen, ByHand), Open, Open, ByHand)
	if m.CutOff() {
		t.Error("it is for want of a connection still")
	}
	m.Skipped(1000)
	if _, _, ok := m.Admit(25*time.Second - 1); ok {
		t.Error("a call passes before the time is over, whatever was refused")
	}
	probe, change, ok := m.Admit(25 * time.Second)
	if !ok || !probe.Probe() || change != (Transition{Open, HalfOpen, Probing}) {
		t.Fatalf("%v, %v; want a probe after the time", change, ok)
	}
	// It is one at its time, not one that refused calls have earned: if it fails, the
	// open time is longer, and the next such probe comes a tenth of OpenFor after it.
	want(t, m.Settle(25*time.Second, probe, Failure, 0.5), HalfOpen, Open, ProbeFailed)
	if wait := m.Wait(25 * time.Second); wait != 40*time.Second {
		t.Errorf("open for %v, want the third open time, 40 s", wait)
	}
	m.Skipped(1000)
	if wait := m.Wait(25 * time.Second); wait != time.Second {
		t.Errorf("refused calls earn a probe in %v, want 1 s", wait)
	}
}

// A breaker that is held closed counts nothing, and has forgotten what it counted.
func TestForcedClosedBeginsAnew(t *testing.T) {
	m := opened(t, testConfig(), 0)
	settleAll(t, m, 2*time.Second, Failure, 1) // the second opening
	want(t, m.Force(3*time.Second, time.Second, ForcedClosed, ByHand), Open, Closed, ByHand)
	if got := settleAll(t, m, 3*time.Second, Failure, 20); got.Happened() {
		t.Errorf("%v while it is held closed", got)
	}
	if s, ok := m.Snapshot(3 * time.Second); !ok || s != (Snapshot{Left: time.Second, Openings: 1, Forced: ForcedClosed}) {
		t.Errorf("%+v, %v is kept", s, ok)
	}
	if got := settleAll(t, m, 4*time.Second, Failure, 6); got.Happened() || m.forced != NotForced {
		t.Errorf("%v after the hold, by six failures; forced %v", got, m.forced)
	}
	want(t, settle(t, m, 4*time.Second, Failure), Closed, Open, Consecutive)
	if wait := m.Wait(4 * time.Second); wait != time.Second {
		t.Errorf("open for %v, want the first open time", wait)
	}
}

// Released, a breaker that is open probes at the next call, whoever opened it; one that
// is held closed counts anew; one that nobody forced stays as it is.
func TestRelease(t *testing.T) {
	cfg := testConfig()
	cfg.Probes, cfg.ProbeShare = 2, 0.1
	m := opened(t, cfg, 0)
	m.Skipped(1000)
	want(t, m.Release(500*time.Millisecond), Open, HalfOpen, ByHand)
	for i := range 2 {
		probe, _, ok := m.Admit(500 * time.Millisecond)
		if !ok || !probe.Probe() {
			t.Fatalf("probe %d is refused", i+1)
		}
		change := m.Settle(500*time.Millisecond, probe, Success, 0.5)
		if (i == 1) != (change == Transition{HalfOpen, Closed, Recovered}) {
			t.Errorf("%v after %d of two probes", change, i+1)
		}
	}
	if got := m.Release(time.Second); got.Happened() {
		t.Errorf("%v of one that is closed by itself", got)
	}
	m = opened(t, cfg, 0)
	m.Skipped(1000)
	early, _, _ := m.Admit(100 * time.Millisecond) // which refused calls have earned
	want(t, m.Settle(100*time.Millisecond, early, Failure, 0.5), HalfOpen, Open, ProbeFailed)
	m.Skipped(1000)
	m.Release(500 * time.Millisecond)
	if s := m.standing(); s.Until != 500*time.Millisecond {
		t.Errorf("released, its open time lasts until %v", s.Until)
	}
	for range 2 {
		if _, _, ok := m.Admit(500 * time.Millisecond); !ok {
			t.Fatal("no probe")
		}
	}
	if _, _, ok := m.Admit(500 * time.Millisecond); ok {
		t.Error("a third of two probes, which calls refused before have earned")
	}
	m = opened(t, cfg, 0)
	m.Release(0)
	probe, _, _ := m.Admit(0)
	want(t, m.Settle(0, probe, Failure, 0.5), HalfOpen, Open, ProbeFailed)
	if wait := m.Wait(0); wait != 2*time.Second {
		t.Errorf("open for %v after the probe failed, want the second open time", wait)
	}
	n := NewMachine(testConfig())
	settleAll(t, &n, 0, Failure, 6)
	n.Force(0, time.Minute, ForcedClosed, ByHand)
	settleAll(t, &n, 0, Failure, 20)
	want(t, n.Release(time.Second), Closed, Closed, ByHand)
	if got := settleAll(t, &n, time.Second, Failure, 6); got.Happened() {
		t.Errorf("%v, though all before it was let go counts for nothing", got)
	}
	want(t, settle(t, &n, time.Second, Failure), Closed, Open, Consecutive)
	h := NewMachine(testConfig())
	h.Force(0, time.Second, ForcedClosed, ByHand)
	if got := h.Release(time.Second); got.Happened() {
		t.Errorf("%v of a hold that is over", got)
	}
}

// What a guard reports of a call that it refuses, and of one that it does not.
func TestGuardReports(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare = 0.1
	g := NewGuard(cfg)
	if wait, refuses := g.Refuses(0); wait != 0 || refuses {
		t.Errorf("closed: refuses %v for %v", refuses, wait)
	}
	for range 7 {
		token, _ := g.AdmitClosed()
		g.Settle(0, token, Unreached, 0.5)
	}
	if _, _, wait, ok := g.Admit(0); ok || wait != time.Second {
		t.Errorf("open: admitted %v, for %v", ok, wait)
	}
	if wait, refuses := g.Refuses(0); wait != time.Second || !refuses {
		t.Errorf("open: refuses %v for %v", refuses, wait)
	}
	if s := g.Status(0); s.State != Open || s.Wait != time.Second || s.Cause != Consecutive {
		t.Errorf("%+v", s)
	}
	if d := g.Lasts(0, Transition{Closed, Open, Consecutive}); d != time.Second {
		t.Errorf("the open time is %v", d)
	}
	if d := g.Lasts(time.Minute, Transition{Closed, Open, Consecutive}); d != 0 {
		t.Errorf("%v are left of an open time that is over", d)
	}
	if d := g.Lasts(0, Transition{Open, HalfOpen, Probing}); d != 0 {
		t.Errorf("a half-open time lasts %v", d)
	}
	g.Skipped(8)
	if _, refuses := g.Refuses(200 * time.Millisecond); refuses {
		t.Error("refuses, though 8 calls went elsewhere, and two were refused")
	}
	if !g.CutOff() {
		t.Error("open for want of a connection, and not cut off")
	}
	g.Connected(300 * time.Millisecond)
	if wait, refuses := g.Refuses(300 * time.Millisecond); wait != 0 || refuses {
		t.Errorf("refuses %v for %v with a connection", refuses, wait)
	}
	probe, _, wait, ok := g.Admit(300 * time.Millisecond)
	if !ok || wait != 0 || g.CutOff() {
		t.Fatalf("%v, %v: want a probe", ok, wait)
	}
	if wait := g.m.Wait(300 * time.Millisecond); wait != time.Second {
		t.Errorf("%v to wait while a probe is under way", wait)
	}
	if d := g.Lasts(300*time.Millisecond, g.Settle(300*time.Millisecond, probe, Success, 0.5)); d != 300*time.Millisecond {
		t.Errorf("recovered after %v", d)
	}
	if g.Status(time.Second) != (Status{}) {
		t.Error("a closed breaker has a status")
	}
}

// The success of a call that was admitted before the opening makes the next one a probe,
// through a guard too; any later result of it, and what says nothing, moves nothing.
func TestGuardHearsLateSuccess(t *testing.T) {
	cfg := testConfig()
	cfg.LateProbe, cfg.ProbeShare = true, 0.1
	for name, c := range map[string]struct {
		o    Outcome
		want bool
	}{"success": {Success, true}, "failure": {Failure, false}, "nothing": {Neutral, false}, "slow": {SlowSuccess, false}} {
		g := NewGuard(cfg)
		late, _ := g.AdmitClosed()
		for range 7 {
			token, _ := g.AdmitClosed()
			g.Settle(0, token, Failure, 0.5)
		}
		g.Settle(0, late, c.o, 0.5)
		if _, _, _, ok := g.Admit(0); ok != c.want {
			t.Errorf("%s: the next call is a probe: %v", name, ok)
		}
	}
	share := cfg
	share.ProbeShare = 1e-4 // probes hardly ever come before the open time is over
	m := opened(t, share, 0)
	m.probeNext(0)
	if _, _, ok := m.Admit(0); ok {
		t.Error("a probe, though the policy wants hardly any")
	}
	off := cfg
	off.LateProbe = false
	m = opened(t, off, 0)
	m.probeNext(0)
	if _, _, ok := m.Admit(0); ok {
		t.Error("a probe, though the policy wants none of late successes")
	}
	// It is once for each opening.
	m = opened(t, cfg, 0)
	for range 2 {
		m.probeNext(0)
	}
	probe, _, _ := m.Admit(0)
	m.Settle(0, probe, Failure, 0.5)
	m.probeNext(0)
	if probe, _, ok := m.Admit(0); !ok || !probe.Probe() {
		t.Error("no probe after the next opening")
	}
}

// What is free of the slots for probes is used again, and expired probes with it: there
// are no more of them than probes at a time.
func TestProbeSlotsAreUsedAgain(t *testing.T) {
	cfg := testConfig()
	cfg.Probes = 2
	m := opened(t, cfg, 0)
	now := time.Second
	for i := range 5 {
		a, _, ok := m.Admit(now)
		b, _, also := m.Admit(now)
		if _, _, third := m.Admit(now); !ok || !also || third {
			t.Fatalf("round %d: probes %v, %v, and a third %v; want two", i, ok, also, third)
		}
		if wait := m.Wait(now); wait != time.Second {
			t.Errorf("round %d: wait %v, want OpenFor, since a probe may end at any moment", i, wait)
		}
		if wait := m.Wait(now + cfg.ProbeTTL - time.Millisecond); wait != time.Millisecond {
			t.Errorf("round %d: wait %v, want 1 ms, until they expire", i, wait)
		}
		if m.Refuses(now+cfg.ProbeTTL) || !m.Refuses(now+cfg.ProbeTTL-1) {
			t.Errorf("round %d: expired probes refuse calls, or others do not", i)
		}
		if i%2 == 0 {
			m.Settle(now, a, Neutral, 0.5)
			m.Settle(now, b, Neutral, 0.5)
		} else {
			now += cfg.ProbeTTL
		}
	}
	if n := len(m.probeSlots); n != 2 {
		t.Errorf("%d slots, want 2", n)
	}
}

// A breaker whose window has another length begins to count in it anew.
func TestReconfigureTheWindow(t *testing.T) {
	cfg := testConfig()
	m := NewMachine(cfg)
	cfg.Window = 100 * time.Second
	m.Reconfigure(cfg)
	if m.calls.window.width != 10*time.Second {
		t.Errorf("buckets of %v, want 10 s", m.calls.window.width)
	}
}

// Epochs round down below zero too.
func TestEpochsBelowZero(t *testing.T) {
	for now, want := range map[time.Duration]int64{-11: -2, -10: -1, -9: -1, -1: -1, 0: 0, 1: 0, 9: 0, 10: 1} {
		if got := epoch(now, 10); got != want {
			t.Errorf("%d in steps of 10: epoch %d, want %d", now, got, want)
		}
	}
}

// The window's oldest bucket is out as soon as there is another in its place.
func TestWindowHoldsTenBuckets(t *testing.T) {
	w := newWindow(10 * time.Second)
	w.add(0, Failure)
	for now, want := range map[time.Duration]uint64{0: 1, 9999 * time.Millisecond: 1, 10 * time.Second: 0, -time.Second: 0} {
		if got := w.sum(now).failed; got != want {
			t.Errorf("at %v: %d failures, want %d", now, got, want)
		}
	}
}

// Open times double up to the longest, and never run past the end of time.
func TestOpenTimes(t *testing.T) {
	for openings, want := range map[int]time.Duration{0: 10, 1: 20, 2: 40, 3: 45, 64: 45} { // 80 ± 20 % of at most 50
		if got := openTime(10, 50, openings, 0.5); got != want {
			t.Errorf("opening %d: %d, want %d", openings, got, want)
		}
	}
	if got := openTime(25, 50, 1, 1-1e-16); got != 50 {
		t.Errorf("twice half of the longest: %d, want that", got)
	}
	if got := later(math.MaxInt64-1, 1); got != math.MaxInt64 {
		t.Errorf("%d", got)
	}
	if got := later(math.MaxInt64, 1); got != math.MaxInt64 {
		t.Errorf("%d past the end of time", got)
	}
}

// What is kept of a breaker whose time is over is that its next call is a probe.
func TestSnapshotAtTheEnd(t *testing.T) {
	m := opened(t, testConfig(), 0)
	for now, left := range map[time.Duration]time.Duration{time.Second - 1: 1, time.Second: 0, time.Minute: 0} {
		if s, ok := m.Snapshot(now); !ok || s.Left != left || s.Openings != 1 {
			t.Errorf("at %v: %+v, %v; want %v left", now, s, ok, left)
		}
	}
	m.Force(0, time.Second, ForcedOpen, ByHand)
	if s, _ := m.Snapshot(time.Second - 1); s.Forced != ForcedOpen || s.Left != 1 {
		t.Errorf("%+v, want it forced", s)
	}
	if s, _ := m.Snapshot(time.Second); s.Forced != NotForced {
		t.Errorf("%+v, want it forced no more", s)
	}
	n := NewMachine(testConfig())
	if n.Restore(0, Snapshot{Left: 1, Forced: ForcedClosed}, Restored); n.forced != ForcedClosed {
		t.Error("a hold of 1 ns is not restored")
	}
	o := NewMachine(testConfig())
	if got := o.Restore(0, Snapshot{Forced: ForcedOpen, Openings: 1}, Restored); o.forced != NotForced || got.To != Open {
		t.Errorf("%v, forced %v: want one whose hold is over to probe", got, o.forced)
	}
}

// A hint through a guard counts what went well before it, and the next failure opens.
func TestGuardHint(t *testing.T) {
	g := NewGuard(testConfig())
	token, _ := g.AdmitClosed()
	g.Succeed(0, token, 0)
	g.Hint(0)
	if change := g.Settle(0, token, Failure, 0.5); change != (Transition{Closed, Open, Consecutive}) {
		t.Errorf("%v after one failure", change)
	}
	forced := NewGuard(testConfig())
	forced.Force(0, time.Minute, ForcedOpen)
	if _, closed := forced.AdmitClosed(); closed {
		t.Error("calls pass that do not ask a guard which is forced open")
	}
	forced.Force(0, time.Minute, ForcedClosed)
	if _, closed := forced.AdmitClosed(); !closed {
		t.Error("calls have to ask a guard which is held closed")
	}
	if s := forced.Standing(time.Minute - 1); s.Forced != ForcedClosed {
		t.Errorf("%+v before the hold is over", s)
	}
	if s := forced.Standing(time.Minute); s.Forced != NotForced {
		t.Errorf("%+v when it is", s)
	}
	if got := NewGuard(testConfig()).Standing(0); got != (Standing{}) {
		t.Errorf("%+v of a breaker that was never open", got)
	}
}

// What a guard is asked and made by hand reaches its machine, and what calls have to know
// of that without a lock is there.
func TestGuardIsSteered(t *testing.T) {
	g := NewGuard(testConfig())
	token, _ := g.AdmitClosed()
	for range 3 {
		g.Succeed(0, token, 0)
	}
	g.Hint(0)
	if calls, while := g.Recent(0); calls != 3 || while != 10*time.Second {
		t.Errorf("%d calls in %v, want 3 in 10 s", calls, while)
	}
	g.Force(0, time.Minute, ForcedOpen)
	if change := g.Release(time.Second); change != (Transition{Open, HalfOpen, ByHand}) {
		t.Errorf("%v", change)
	}
	if s := g.Standing(time.Second); s.State != HalfOpen {
		t.Errorf("%+v after it was released", s)
	}
	probe, _, _, ok := g.Admit(time.Second)
	if !ok {
		t.Fatal("no probe after it was released")
	}
	g.Settle(time.Second, probe, Success, 0.5)
	if _, closed := g.AdmitClosed(); !closed {
		t.Error("a probe has succeeded, and calls have to ask")
	}
	if wait := g.m.Wait(time.Second); wait != 0 {
		t.Errorf("%v to wait for a breaker that is closed", wait)
	}
}

// A success that is as old as the window counts neither in it nor against another.
func TestSuccessesOfAnotherWindow(t *testing.T) {
	for _, at := range []time.Duration{9 * time.Second, 10 * time.Second, 11 * time.Second, 20 * time.Second} {
		g := NewGuard(testConfig())
		token, _ := g.AdmitClosed()
		g.Succeed(0, token, 0)
		want := uint64(0)
		if at < 10*time.Second {
			want = 1
		}
		if calls, _ := g.Recent(at); calls != want {
			t.Errorf("%d calls in the window %v later, want %d", calls, at, want)
		}
		g = NewGuard(testConfig())
		token, _ = g.AdmitClosed()
		g.Succeed(at, token, 0)
		if calls, _ := g.Recent(0); at >= 10*time.Second && calls != 0 {
			t.Errorf("%d calls in the window by a clock that was read %v before", calls, at)
		}
	}
}

// A failure of which nobody says how long it waited leaves no calls that would outlast it.
func TestSettledFailureIsNoWait(t *testing.T) {
	g := NewGuard(testConfig())
	if _, ok := g.AdmitPatient(never); ok {
		t.Error("a closed breaker lets a call pass for its patience")
	}
	for range 7 {
		token, _ := g.AdmitClosed()
		g.Settle(0, token, Failure, 0.5)
	}
	if _, ok := g.AdmitPatient(never); ok {
		t.Error("a call passes for its patience, though none has waited")
	}
}

// A hint to a breaker that is one failure short already changes nothing: it is known still
// how long its calls have waited, and which would outlast them.
func TestHintKeepsThePatience(t *testing.T) {
	for before, passes := range map[int]bool{6: true, 5: false, 0: false} {
		m := NewMachine(testConfig())
		waits := func() {
			token, _, _ := m.Admit(0)
			m.SettleAfter(0, token, Failure, 5*time.Second, 0.5)
		}
		for range before {
			waits()
		}
		m.Hint()
		if waits(); m.state != Open {
			t.Fatalf("%v after %d failures, a hint and one more", m.state, before)
		}
		if _, ok := m.AdmitPatient(10 * time.Second); ok != passes {
			t.Errorf("after %d failures and a hint a call of twice their time passes: %v, want %v", before, ok, passes)
		}
	}
}

// Released while an early probe hangs, a breaker refuses for as long as that may take.
func TestReleaseWhileAnEarlyProbeHangs(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare, cfg.Probes = 0.1, 1
	m := opened(t, cfg, 0)
	m.Skipped(10)
	hangs, change, _ := m.Admit(200 * time.Millisecond)
	want(t, change, Open, HalfOpen, EnoughRefused)
	m.Skipped(10)
	fails, _, _ := m.Admit(300 * time.Millisecond)
	want(t, m.Settle(300*time.Millisecond, fails, Failure, 0.5), HalfOpen, Open, ProbeFailed)
	m.Release(400 * time.Millisecond)
	if !m.Refuses(400*time.Millisecond) || m.Wait(400*time.Millisecond) != cfg.OpenFor {
		t.Errorf("%v to wait, want OpenFor", m.Wait(400*time.Millisecond))
	}
	_ = hangs
}

// The probes that an early half-open period has for itself are used up until its open time
// is over, whoever looks.
func TestEarlyProbesUntilTheOpenTimeIsOver(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare = 0.1
	m := opened(t, cfg, 0)
	m.Skipped(10)
	early, change, ok := m.Admit(200 * time.Millisecond)
	want(t, change, Open, HalfOpen, EnoughRefused)
	if !ok {
		t.Fatal("no probe")
	}
	m.Settle(200*time.Millisecond, early, Neutral, 0.5) // its slot is free again
	if !m.Refuses(time.Second - 1) {
		t.Error("a second early probe, though none was earned")
	}
	if m.Refuses(time.Second) {
		t.Error("refuses when the open time is over, and no probe is under way")
	}
	// A slot that is free, or whose probe has expired, is nothing to wait for.
	m = opened(t, cfg, 0)
	m.Admit(time.Second)
	for _, now := range []time.Duration{11 * time.Second, 12 * time.Second} {
		if wait := m.Wait(now); wait != cfg.OpenFor {
			t.Errorf("%v to wait with a probe that has expired, want OpenFor", wait)
		}
	}
}

// A probe that succeeds counts in its half-open period alone.
func TestProbesOfAnEarlierPeriod(t *testing.T) {
	cfg := testConfig()
	cfg.Probes = 2
	m := opened(t, cfg, 0)
	want(t, settle(t, m, time.Second, Success), Closed, Closed, None)
	want(t, settle(t, m, time.Second, Failure), HalfOpen, Open, ProbeFailed)
	want(t, settle(t, m, 3*time.Second, Success), Closed, Closed, None)
	want(t, settle(t, m, 3*time.Second, Success), HalfOpen, Closed, Recovered)
}

// Refused calls earn a probe beside one that hangs, from a tenth of OpenFor after it on.
// That holds for a breaker that was opened by hand and never had an open time of its own.
func TestEarnedProbesBesideOneThatHangs(t *testing.T) {
	cfg := testConfig()
	cfg.ProbeShare = 0.1
	for name, begin := range map[string]func(m *Machine){
		"by itself": func(m *Machine) { settleAll(t, m, 0, Failure, cfg.Consecutive) },
		"by hand":   func(m *Machine) { m.Force(0, time.Second, ForcedOpen, ByHand) },
	} {
		m := NewMachine(cfg)
		begin(&m)
		if _, _, ok := m.Admit(time.Second); !ok {
			t.Fatalf("%s: no probe", name)
		}
		m.Skipped(9)
		if !m.Refuses(1100 * time.Millisecond) { // the tenth
			t.Errorf("%s: nine calls have earned a probe", name)
		}
		if _, _, ok := m.Admit(1100*time.Millisecond - 1); ok {
			t.Errorf("%s: a probe that comes too early", name)
		}
		if m.Refuses(1100 * time.Millisecond) {
			t.Errorf("%s: refuses, though a probe is earned", name)
		}
		if _, _, ok := m.Admit(1100 * time.Millisecond); !ok {
			t.Errorf("%s: no probe, though one is earned", name)
		}
	}
}

// Successes are counted by the window that a guard has, also after a reload.
func TestGuardReconfigureTheWindow(t *testing.T) {
	cfg := testConfig()
	g := NewGuard(cfg)
	cfg.Window = time.Minute
	g.Reconfigure(0, cfg)
	token, _ := g.AdmitClosed()
	g.Succeed(0, token, 0)
	if calls, while := g.Recent(0); calls != 1 || while != time.Minute {
		t.Errorf("%d calls in %v", calls, while)
	}
}

// Time does not run past its end.
func TestLater(t *testing.T) {
	for _, tc := range [][3]time.Duration{{5, 0, 5}, {5, 1, 6}, {never - 1, 1, never}, {never - 1, 2, never}} {
		if got := later(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%d after %d is %d, want %d", tc[1], tc[0], got, tc[2])
		}
	}
}
