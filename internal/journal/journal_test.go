package journal

import (
	"testing"
	"time"
)

// TestStretch: it lasts as long as no pause is between two notable calls.
func TestStretch(t *testing.T) {
	var r Record
	want := func(now time.Duration, count uint64, since, last time.Duration) {
		t.Helper()
		if n, s, l := r.Stretch(now); n != count || s != since || l != last {
			t.Errorf("at %v: %d since %v, last %v; want %d since %v, last %v", now, n, s, l, count, since, last)
		}
	}
	want(0, 0, 0, 0)
	r.Noted(0)
	want(time.Second, 1, 0, 0)
	r.Noted(Pause)
	r.Noted(2 * Pause)
	want(3*Pause, 3, 0, 2*Pause)
	want(3*Pause+1, 0, 0, 0) // it is over
	r.Noted(4 * Pause)
	want(4*Pause, 1, 4*Pause, 4*Pause)
}
