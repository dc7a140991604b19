package breaker

import (
	"testing"
	"time"
)

// From the opening to the recovery the status has the first opening's time and
// cause, whatever probes do.
func TestStatusOfAnEpisode(t *testing.T) {
	m := NewMachine(testConfig())
	want := func(now time.Duration, s Status) {
		t.Helper()
		if got := m.Status(now); got != s {
			t.Errorf("%+v, want %+v", got, s)
		}
	}
	want(0, Status{})
	const opened = 3 * time.Second
	settleAll(t, &m, opened, Failure, 7)
	want(opened, Status{Open, opened, Consecutive, time.Second})
	now := opened + time.Second
	want(now, Status{HalfOpen, opened, Consecutive, 0})
	change := settle(t, &m, now, Failure)
	want(now, Status{Open, opened, Consecutive, 2 * time.Second})
	if got := m.Lasts(now, change); got != 2*time.Second {
		t.Errorf("the open time is %v, want 2 s", got)
	}
	now += 2 * time.Second
	change = settle(t, &m, now, Success)
	want(now, Status{})
	if got := m.Lasts(now, change); change.To != Closed || got != 3*time.Second {
		t.Errorf("%v after %v, want a recovery after 3 s", change, got)
	}
}
