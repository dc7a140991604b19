package state

import (
	"bytes"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// TestWallClock: a clock that was set makes nothing last for longer.
func TestWallClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := fakeStore(t, d)
		first := newSuite(t, s, patient)
		_ = call(first, method, down)
		left := rest(t, first, method)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		data := d.get(s.path)
		for _, tc := range []struct {
			set  time.Duration // the clock, while no process ran
			want time.Duration // 0: a probe; -1: closed, the file replaced
		}{
			{0, left},
			{3 * time.Second, left - 3*time.Second},
			{-3 * time.Second, left},
			{-maxAhead, left},
			{-maxAhead - 1, -1},
			{-24 * 365 * time.Hour, -1},
			{time.Hour, 0},
			{24 * time.Hour, 0},
			{24*time.Hour + 1, -1},
			{24 * 365 * time.Hour, -1},
		} {
			d.put(s.path, data)
			next, err := open(s.path, d, func() time.Time { return time.Now().Add(tc.set) })
			if err != nil {
				t.Fatal(err)
			}
			suite := newSuite(t, next, patient, new(lines).option())
			switch {
			case tc.want > 0:
				if got := rest(t, suite, method); got != tc.want {
					t.Errorf("clock set by %v: open for %v, want %v", tc.set, got, tc.want)
				}
			case call(suite, method, nil) != nil:
				t.Errorf("clock set by %v: refused", tc.set)
			}
			_ = suite.Close()
			if got := d.list(); !slices.Equal(got, []string{s.path}) {
				t.Errorf("clock set by %v: left %v", tc.set, got)
			}
		}
	})
}

// TestUnusableFiles: each is set aside as it was, with one warning, and the
// suite begins and saves as if there had been none.
func TestUnusableFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := encoded(t, sample, time.Now())
		flipped := bytes.Clone(good)
		flipped[len(flipped)/2] ^= 1
		for _, tc := range []struct {
			name, result string
			data         []byte
			refuse       string
		}{
			{"good", "success", good, ""},
			{"damaged", "rejected", flipped, ""},
			{"cut short", "rejected", good[:len(good)-1], ""},
			{"empty", "rejected", []byte{}, ""},
			{"another program's", "rejected", []byte("[shop]\nname = astra\n"), ""},
			{"newer", "rejected", bytes.Replace(good, []byte("astra-state 1"), []byte("astra-state 2"), 1), ""},
			{"huge", "rejected", bytes.Repeat(good, maxSize/len(good)+1), ""},
			{"stale and empty", "success", encoded(t, interceptors.State{}, time.Now().Add(-25*time.Hour)), ""},
			{"unreadable", "failed", good, "read state"},
		} {
			d := newFakeDisk()
			s := fakeStore(t, d)
			d.put(s.path, tc.data)
			d.refuse = func(op string) error {
				if op == tc.refuse {
					return syscall.EIO
				}
				return nil
			}
			var seen notices
			var log lines
			suite := newSuite(t, s, patient, log.option(), interceptors.WithObserver(&seen))
			if got := seen.results(observe.StateRestored); !slices.Equal(got, []string{tc.result}) {
				t.Errorf("%s: %v, want %s", tc.name, got, tc.result)
			}
			if err := call(suite, method, nil); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			if err := suite.Close(); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			want := []string{s.path}
			warnings := 0
			if tc.result != "success" {
				want, warnings = append(want, s.path+".rejected-1"), 1
				if got := d.get(s.path + ".rejected-1"); !bytes.Equal(got, tc.data) {
					t.Errorf("%s: %.50q was set aside as %.50q", tc.name, tc.data, got)
				}
			}
			if got := d.list(); !slices.Equal(got, want) {
				t.Errorf("%s: left %v, want %v", tc.name, got, want)
			}
			if n := log.count("level=WARN"); n != warnings || warnings > 0 && log.count("moved_to="+s.path+".rejected-1") != 1 {
				t.Errorf("%s: %d warnings, want %d:\n%s", tc.name, n, warnings, &log)
			}
			if _, err := decode(d.get(s.path)); err != nil {
				t.Errorf("%s: saved what cannot be read: %v", tc.name, err)
			}
		}
	})
}

// TestOriginalIsNotLost: a file that can be neither used nor set aside is left
// alone until it can be.
func TestOriginalIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := fakeStore(t, d)
		d.put(s.path, []byte("precious"))
		d.refuse = func(op string) error {
			if op == "rename state" {
				return syscall.EPERM
			}
			return nil
		}
		var log lines
		suite := newSuite(t, s, patient, log.option())
		_ = call(suite, method, down)
		time.Sleep(time.Minute)
		if got := d.get(s.path); string(got) != "precious" {
			t.Fatalf("the file holds %.50q", got)
		}
		if n := log.count("level=WARN"); n != 2 || log.count("operation not permitted") != 2 {
			t.Errorf("%d warnings, want one of the file and one of saving:\n%s", n, &log)
		}
		d.mu.Lock()
		d.refuse = nil
		d.mu.Unlock()
		if err := suite.Close(); err != nil {
			t.Fatal(err)
		}
		if got := d.get(s.path + ".rejected-1"); string(got) != "precious" {
			t.Errorf("set aside as %q", got)
		}
		if st, err := restored(d.get(s.path), time.Now()); err != nil || len(st.Breakers) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
