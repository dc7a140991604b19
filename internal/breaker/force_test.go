package breaker

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestForceHolds: whatever calls do meanwhile, a forced breaker stays as it is
// until its time is over, and then is any breaker again.
func TestForceHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := NewGuard(testConfig())
		now := time.Duration(0)
		step := func() {
			token, _, _, ok := g.Admit(now)
			if ok {
				g.Settle(now, token, Outcome(rapid.IntRange(0, 4).Draw(t, "outcome")), 0.5)
			}
		}
		pass := func() { now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pass")) }
		for range rapid.IntRange(0, 20).Draw(t, "before") {
			pass()
			step()
		}
		f := Force(rapid.IntRange(1, 2).Draw(t, "force"))
		d := time.Duration(rapid.Int64Range(int64(time.Millisecond), int64(20*time.Second)).Draw(t, "for"))
		g.Force(now, d, f)
		end := now + d
		for i := 0; i < 200 && now < end; i++ {
			want := Closed
			if f == ForcedOpen {
				want = Open
			}
			if got := g.Standing(now); got.State != want || got.Forced != f || got.Release != end || g.At(now) != want {
				t.Fatalf("at %v %+v, want %v until %v", now, got, want, end)
			}
			s, ok := g.Snapshot(now)
			if !ok || s.Forced != f || s.Left != end-now {
				t.Fatalf("at %v %+v to be kept, want it forced until %v", now, s, end)
			}
			step()
			pass()
		}
		now = max(now, end)
		if got := g.Forced(now); got != NotForced {
			t.Fatalf("forced %v after its time", got)
		}
		token, _, _, ok := g.Admit(now)
		if f == ForcedOpen && g.At(now) == Open {
			t.Fatal("open after its time")
		}
		if ok {
			g.Settle(now, token, Success, 0)
		}
	})
}

// TestStatusSince: probes that fail change since when the breaker is open, but not
// since when it is not closed.
func TestStatusSince(t *testing.T) {
	g := NewGuard(testConfig())
	if got := g.Standing(0); got != (Standing{}) {
		t.Fatalf("%+v of a new breaker", got)
	}
	for range 7 {
		token, _ := g.AdmitClosed()
		g.Settle(time.Second, token, Failure, 0)
	}
	probe := time.Minute
	token, _, _, ok := g.Admit(probe)
	if !ok {
		t.Fatal("no probe")
	}
	if got := g.Standing(probe); got.State != HalfOpen || got.Since != probe || got.Opened != time.Second || got.Why != Probing {
		t.Errorf("%+v, want half-open since the probe", got)
	}
	g.Settle(probe, token, Failure, 0)
	if got := g.Standing(probe); got.State != Open || got.Since != probe || got.Opened != time.Second || got.Why != ProbeFailed || got.Openings != 2 || got.Until <= probe {
		t.Errorf("%+v, want it open again, and not closed since the first", got)
	}
}

func TestForceNames(t *testing.T) {
	for f, want := range map[Force]string{NotForced: "", ForcedOpen: "open", ForcedClosed: "closed", 9: ""} {
		if f.String() != want {
			t.Errorf("%d is %q, want %q", f, f, want)
		}
	}
}
