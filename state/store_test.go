package state

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// The signature that users compile against.
var _ func(string) (interceptors.Store, error) = File

// fakeStore is a store on a fake disk. Its lock is a real one.
func fakeStore(t *testing.T, d *fakeDisk) *store {
	t.Helper()
	s, err := open(filepath.Join(t.TempDir(), "state"), d, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOpenBreakerOutlivesItsProcess: another suite refuses for the time that
// was left, then probes, and open times go on growing.
func TestOpenBreakerOutlivesItsProcess(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %v", crash), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "state")
				first := newSuite(t, mustFile(t, path), patient)
				_ = call(first, method, down)
				left := rest(t, first, method)
				if crash { // its lock is held on, so another file has to be the one found
					synctest.Wait()
					time.Sleep(quietFor) // the first saving may have been before
					synctest.Wait()
					left -= quietFor
					write(t, path+".found", read(t, path))
					path += ".found"
				} else if err := first.Close(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(4 * time.Second)
				var seen notices
				second := newSuite(t, mustFile(t, path), patient, interceptors.WithObserver(&seen))
				if got := seen.results(observe.StateRestored); !slices.Equal(got, []string{"success"}) {
					t.Errorf("restored: %v", got)
				}
				if got, want := rest(t, second, method), left-4*time.Second; got != want {
					t.Fatalf("open for %v, want %v", got, want)
				}
				time.Sleep(rest(t, second, method) - 1)
				rest(t, second, method)
				time.Sleep(1)
				_ = call(second, method, down) // the probe
				if got := rest(t, second, method); got < 16*time.Second || got > 24*time.Second {
					t.Fatalf("open for %v after the second failure, want 20 s ± 20 %%", got)
				}
				time.Sleep(rest(t, second, method))
				if err := call(second, method, nil); err != nil {
					t.Fatalf("no probe: %v", err)
				}
				if err := second.Close(); err != nil {
					t.Fatal(err)
				}
				third := newSuite(t, mustFile(t, path), patient)
				if err := call(third, method, nil); err != nil {
					t.Errorf("a breaker that had closed came back: %v", err)
				}
			})
		})
	}
}

// TestChangesAreSavedTogether: at once, then what came meanwhile.
func TestChangesAreSavedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := fakeStore(t, d)
		suite := newSuite(t, s, patient)
		synctest.Wait()
		saves := func(want int) {
			t.Helper()
			synctest.Wait()
			if got := d.count("rename state.new"); got != want {
				t.Fatalf("saved %d times, want %d", got, want)
			}
		}
		saves(1) // at the beginning
		_ = call(suite, "/x.Y/First", down)
		saves(2)
		for i := range 100 {
			_ = call(suite, fmt.Sprint("/x.Y/", i), down)
		}
		saves(2)
		time.Sleep(quietFor)
		saves(3)
		if st, err := restored(d.get(s.path), time.Now()); err != nil || len(st.Breakers) != 101 {
			t.Fatalf("%d breakers, %v", len(st.Breakers), err)
		}
		time.Sleep(9 * time.Second)
		saves(3) // for nothing has changed
		for range 1000 {
			_ = call(suite, "/x.Y/Good", nil)
		}
		time.Sleep(time.Second)
		saves(3)
		_ = suite.Close()
		saves(4)
	})
}

// TestBudgetsAreSaved when they differ from what the file would give back.
func TestBudgetsAreSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := interceptors.WithPolicy(interceptors.Policy{
			Breaker: interceptors.Breaker{Disabled: true},
			Budget:  interceptors.Budget{Burst: 10, MinPerSecond: 0.5},
		})
		d := newFakeDisk()
		s := fakeStore(t, d)
		suite := newSuite(t, s, policy)
		level := func(st interceptors.State) float64 {
			if len(st.Budgets) == 0 {
				return 10 // full
			}
			return st.Budgets[0].Level(0)
		}
		agree := func() (held float64) {
			t.Helper()
			synctest.Wait()
			st, err := restored(d.get(s.path), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			there, is := level(st), level(s.live.State())
			if off := there - is; math.Abs(off) > 1+1e-6 {
				t.Errorf("%v tokens would come back of a budget that holds %v", there, is)
			}
			return is
		}
		saves := func() int { return d.count("rename state.new") }
		for range 10 { // 20 retries are asked for
			_ = call(suite, method, down)
		}
		time.Sleep(lookEvery)
		if got := agree(); got > 5 {
			t.Fatalf("%v tokens: not much of a test", got)
		}
		n := saves()
		time.Sleep(10 * time.Second)
		if got := saves(); got != n {
			t.Errorf("saved %d times, though time fills the budget as the file says", got-n)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		n = saves()
		for range 10 {
			_ = call(suite, method, nil)
		}
		time.Sleep(5 * time.Second)
		if got := saves(); got != n {
			t.Errorf("saved %d times with a full budget", got-n)
		}
		for range 5 {
			_ = call(suite, method, down)
		}
		time.Sleep(lookEvery)
		if got := agree(); got > 8 {
			t.Errorf("%v tokens: not much of a test", got)
		}
		for range 100 {
			_ = call(suite, method, nil)
		}
		time.Sleep(lookEvery)
		if got := agree(); got != 10 {
			t.Errorf("%v tokens: not much of a test", got)
		}
	})
}

// TestDiskFull: calls go on; one warning for each time it fills up; tried
// again, and logged.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		s := fakeStore(t, d)
		full := func(is bool) {
			synctest.Wait()
			d.mu.Lock()
			defer d.mu.Unlock()
			d.refuse = nil
			if is {
				d.refuse = func(op string) error {
					if op == "write state.new" {
						return syscall.ENOSPC
					}
					return nil
				}
			}
		}
		full(true)
		var log lines
		var seen notices
		suite := newSuite(t, s, patient, log.option(), interceptors.WithObserver(&seen))
		_ = call(suite, method, down)
		rest(t, suite, method)
		time.Sleep(35 * time.Second)
		synctest.Wait()
		// At the beginning, at the change, after 10, 20 and 30 s.
		if got := seen.results(observe.StateSaved); len(got) != 5 || slices.Contains(got, "success") {
			t.Errorf("savings: %v, want 5 that failed", got)
		}
		if n := log.count("level=WARN"); n != 1 || log.count("no space left on device") != 1 {
			t.Errorf("%d warnings, want 1:\n%s", n, &log)
		}
		if got := d.list(); len(got) != 0 {
			t.Errorf("left %v on a full disk", got)
		}
		full(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if log.count("level=INFO") != 1 || log.count("saved again") != 1 {
			t.Errorf("recovery was not seen:\n%s", &log)
		}
		if st, err := restored(d.get(s.path), time.Now()); err != nil || len(st.Breakers) != 1 {
			t.Errorf("%+v, %v", st, err)
		}
		full(true)
		_ = call(suite, method, down) // probes
		synctest.Wait()
		if n := log.count("level=WARN"); n != 2 {
			t.Errorf("%d warnings, want another:\n%s", n, &log)
		}
		if err := suite.Close(); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("Close returned %v", err)
		}
	})
}

// TestHangingDisk: neither calls nor Close wait for it.
func TestHangingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFakeDisk()
		d.hang = make(chan struct{})
		s := fakeStore(t, d)
		suite := newSuite(t, s, patient)
		synctest.Wait()
		began := time.Now()
		for i := range 100 {
			_ = call(suite, fmt.Sprint("/x.Y/", i), down)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("calls waited for %v", took)
		}
		err := suite.Close()
		if took := time.Since(began); took != closeFor || err == nil || !strings.Contains(err.Error(), s.path) {
			t.Errorf("Close returned %v after %v", err, took)
		}
		if again := suite.Close(); again == nil || again.Error() != err.Error() || time.Since(began) != closeFor {
			t.Errorf("then %v after %v", again, time.Since(began))
		}
		if _, err := open(s.path, d, time.Now); err == nil {
			t.Error("the lock was given up while the file may still be written")
		}
		close(d.hang)
		synctest.Wait()
		next, err := open(s.path, d, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		_ = next.Close()
	})
}

func TestOneSuiteAStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	s := mustFile(t, path)
	first := newSuite(t, s)
	if _, err := interceptors.New(interceptors.WithStore(s)); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another suite") {
		t.Errorf("%v for a second suite", err)
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s.Changed(interceptors.Change{}) // by a call that still runs
	if _, err := interceptors.New(interceptors.WithStore(s)); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v after Close", err)
	}

	unused := mustFile(t, path)
	if err := unused.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := interceptors.New(interceptors.WithStore(unused)); err == nil {
		t.Error("a suite took a store that is closed")
	}
	_ = mustFile(t, path).Close() // the lock was given up
}

// TestSymbolicLink: the file it leads to is replaced, and locked, not the link.
func TestSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	write(t, target, encoded(t, sample, time.Now()))
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	s := mustFile(t, link)
	if _, err := File(target); err == nil {
		t.Error("one file is used twice under two names")
	}
	if err := newSuite(t, s).Close(); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); err != nil || to != "target" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if st, err := restored(read(t, target), time.Now()); err != nil || len(st.Breakers) != 2 {
		t.Errorf("%+v, %v", st, err)
	}
}

// TestRelativePath: a program may change its directory.
func TestRelativePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	suite := newSuite(t, mustFile(t, "state"))
	t.Chdir(t.TempDir())
	if err := suite.Close(); err != nil {
		t.Fatal(err)
	}
	read(t, filepath.Join(dir, "state"))
}

func TestModeAndFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	write(t, path, encoded(t, sample, time.Now()))
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	write(t, path+".new", []byte("left by a crash"))
	if err := newSuite(t, mustFile(t, path)).Close(); err != nil {
		t.Fatal(err)
	}
	if got := files(t, path); !slices.Equal(got, []string{"state", "state.lock"}) {
		t.Errorf("left %v", got)
	}
	for _, name := range files(t, path) {
		info, err := os.Stat(filepath.Join(filepath.Dir(path), name))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v; want 0600", name, info.Mode(), err)
		}
	}
}

func BenchmarkUnarySuccess(b *testing.B) {
	suite := newSuite(b, mustFile(b, filepath.Join(b.TempDir(), "state")))
	intercept := suite.UnaryClientInterceptor()
	b.ReportAllocs()
	for b.Loop() {
		_ = intercept(b.Context(), method, nil, nil, nil, fine)
	}
}

// BenchmarkSave is what a change costs the store's goroutine.
func BenchmarkSave(b *testing.B) {
	s := mustFile(b, filepath.Join(b.TempDir(), "state"))
	defer func() { _ = s.Close() }()
	for b.Loop() {
		if err := s.write(sample); err != nil {
			b.Fatal(err)
		}
	}
}

func fine(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil }
