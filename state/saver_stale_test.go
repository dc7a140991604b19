package state

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// TestStaleFilesAreReplaced: a job that runs once a week, and a device whose
// clock starts in 1970, find a sound file that is of no use. It is no damage.
func TestStaleFilesAreReplaced(t *testing.T) {
	for _, tc := range []struct {
		name     string
		saved    time.Duration // before now
		warnings int
	}{
		{"a week old", 7 * 24 * time.Hour, 0},
		{"from the future", -50 * 365 * 24 * time.Hour, 1}, // a clock is wrong
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newFakeDisk()
			s := fakeStore(t, d)
			for run := range maxRejected + 2 {
				d.put(s.path, encoded(t, sample, time.Now().Add(-tc.saved)))
				next, err := open(s.path+fmt.Sprint(".", run), d, time.Now) // for a lock of its own
				if err != nil {
					t.Fatal(err)
				}
				next.path = s.path
				var seen notices
				var log lines
				suite := newSuite(t, next, log.option(), interceptors.WithObserver(&seen))
				if err := suite.Close(); err != nil {
					t.Fatalf("%s, run %d: %v", tc.name, run, err)
				}
				if got := seen.results(observe.StateRestored); !slices.Equal(got, []string{"stale"}) {
					t.Fatalf("%s: restored: %v", tc.name, got)
				}
				if n := log.count("level=WARN"); n != tc.warnings {
					t.Fatalf("%s: %d warnings, want %d:\n%s", tc.name, n, tc.warnings, &log)
				}
				if st, err := restored(d.get(s.path), time.Now()); err != nil || len(st.Breakers) != 0 {
					t.Fatalf("%s: %+v, %v", tc.name, st, err)
				}
			}
			if got := d.list(); !slices.Equal(got, []string{s.path}) {
				t.Errorf("%s: left %v", tc.name, got)
			}
		})
	}
}

// TestRejectedFilesDoNotEndSaving: what is found at each start, as by programs
// of two versions by turns, takes the last name again.
func TestRejectedFilesDoNotEndSaving(t *testing.T) {
	d := newFakeDisk()
	d.put(somewhere+".rejected-2", []byte("mine"))
	var last string
	for run := range maxRejected + 3 {
		d.put(somewhere, fmt.Append(nil, run))
		name, err := setAside(d, somewhere)
		if err != nil {
			t.Fatalf("run %d: %v", run, err)
		}
		last = name
	}
	if want := fmt.Sprintf("%s.rejected-%d", somewhere, maxRejected); last != want || string(d.get(last)) != fmt.Sprint(maxRejected+2) {
		t.Errorf("%s holds %s, want the newest in %s", last, d.get(last), want)
	}
	for name, want := range map[string]string{"1": "0", "2": "mine", "3": "1"} {
		if got := string(d.get(somewhere + ".rejected-" + name)); got != want {
			t.Errorf("number %s now holds %s, want %s", name, got, want)
		}
	}
	if n := len(d.list()); n != maxRejected {
		t.Errorf("%d files, want %d", n, maxRejected)
	}
}
