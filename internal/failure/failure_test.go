package failure

import (
	"testing"
	"time"
)

// The server's word comes before its hint, which is bounded, as the word is not.
func TestWait(t *testing.T) {
	for _, c := range []struct {
		name   string
		f      Failure
		hinted bool
		wait   time.Duration
	}{
		{"neither", Failure{}, false, 0},
		{"a hint", Failure{RetryInfo: time.Second}, true, time.Second},
		{"the least hint", Failure{RetryInfo: 1}, true, 1},
		{"a long hint", Failure{RetryInfo: time.Hour}, true, 5 * time.Second},
		{"a word", Failure{Pushback: Pushback{Given: true, Delay: time.Hour}}, true, time.Hour},
		{"a word and a hint", Failure{Pushback: Pushback{Given: true, Delay: time.Millisecond}, RetryInfo: time.Second}, true, time.Millisecond},
		{"at once", Failure{Pushback: Pushback{Given: true}}, true, 0},
	} {
		if got := c.f.Hinted(); got != c.hinted {
			t.Errorf("%s: hinted %v, want %v", c.name, got, c.hinted)
		}
		if got := c.f.Wait(); got != c.wait {
			t.Errorf("%s: wait %v, want %v", c.name, got, c.wait)
		}
	}
}

// That a call is over by itself holds no retry back; all else does.
func TestSuppressed(t *testing.T) {
	for r := Again; r <= Ambiguous; r++ {
		if got, want := r.Suppressed(), r != Again && r != Exhausted && r != CallerGone; got != want {
			t.Errorf("%v: suppressed %v, want %v", r, got, want)
		}
	}
	if got := (Ambiguous + 1).String(); got != "invalid" {
		t.Errorf("past the last: %q", got)
	}
}
