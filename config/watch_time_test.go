package config_test

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/config"
)

// These run in virtual time, without notifications, which come from outside.

// blindly runs f with a watched file in a bubble.
func blindly(t *testing.T, content string, f func(t *testing.T, w *watched)) {
	path := inFolder(t)
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path, content, config.WatchBlind)
		f(t, w)
		w.stop()
		synctest.Wait()
	})
}

// settle waits for the file to be looked at, and for it to be left alone.
func settle() {
	time.Sleep(5*time.Second + 200*time.Millisecond)
	synctest.Wait()
}

// wantNotices sees what has been logged since it was last asked.
func (w *watched) wantNotices(want string) {
	w.t.Helper()
	var got []string
	for len(w.notices) > 0 {
		got = append(got, (<-w.notices).Result.String())
	}
	if strings.Join(got, " ") != want {
		w.t.Fatalf("notices %v, want %s\n%s", got, want, w.log)
	}
}

func TestWithoutNotifications(t *testing.T) {
	blindly(t, attempts(2), func(t *testing.T, w *watched) {
		if n := w.log.count("level=WARN", "notifications unavailable", "no handles left"); n != 1 {
			t.Errorf("warned %d times:\n%s", n, w.log)
		}
		write(t, w.path, attempts(3))
		settle()
		w.wantNotices("success")
		w.wantAttempts(3)
		if n := w.log.count("level=INFO", "policies replaced", "generation=3"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, w.log)
		}
	})
}

func TestSameContentIsNotTakenAgain(t *testing.T) {
	blindly(t, attempts(2), func(t *testing.T, w *watched) {
		for range 3 {
			replace(t, w.path, attempts(2)) // another file, of the same content
			settle()
		}
		w.wantNotices("")
		if g := w.suite.Revision().Generation; g != 2 {
			t.Errorf("generation %d", g)
		}
	})
}

// TestBadFileChangesNothing, and is counted and logged once.
func TestBadFileChangesNothing(t *testing.T) {
	blindly(t, attempts(2), func(t *testing.T, w *watched) {
		const worse = "methodConfig: {\n"
		for _, content := range []string{broken, broken, worse, broken, ""} {
			write(t, w.path, content)
			settle()
			w.wantAttempts(2)
			if r := w.suite.Revision(); r.Err == nil || r.Generation != 2 {
				t.Errorf("%+v", r)
			}
		}
		w.wantNotices("failed failed failed failed")
		if n := w.log.count("level=ERROR"); n != 3 {
			t.Errorf("three kinds of faults were logged %d times:\n%s", n, w.log)
		}
		if n := w.log.count("level=ERROR", "methodConfig[0].retryPolicy.maxAttempts: 1 is out of range: want 2 or more", "initialBackoff: is missing"); n != 1 {
			t.Errorf("the faults were logged %d times:\n%s", n, w.log)
		}
		// The old content again: taken, so that no error is left behind.
		write(t, w.path, attempts(2))
		settle()
		w.wantNotices("success")
		if r := w.suite.Revision(); r.Err != nil || r.Generation != 3 {
			t.Errorf("%+v", r)
		}
		if n := w.log.count("level=INFO", "valid again"); n != 1 {
			t.Errorf("the recovery was logged %d times:\n%s", n, w.log)
		}
		write(t, w.path, attempts(4))
		settle()
		w.wantNotices("success")
		if n := w.log.count("level=INFO", "valid again"); n != 1 {
			t.Errorf("a file that was valid is reported as valid again:\n%s", w.log)
		}
		// The faults of a file that was well in between are news.
		write(t, w.path, broken)
		settle()
		if n := w.log.count("level=ERROR"); n != 4 {
			t.Errorf("logged %d times:\n%s", n, w.log)
		}
		w.wantNotices("failed")
	})
}

func TestWarningsAreLogged(t *testing.T) {
	const foreign = "loadBalancingPolicy: round_robin\nmethodConfig: [{name: [{}], waitForReady: true, timeout: %, astra: {retry: {}}}]\n"
	with := func(timeout string) string { return strings.ReplaceAll(foreign, "%", timeout) }
	blindly(t, with("1s"), func(t *testing.T, w *watched) {
		for _, timeout := range []string{"0.5s", "0.4s"} {
			write(t, w.path, with(timeout))
			settle()
			w.wantNotices("success")
		}
		for _, key := range []string{"loadBalancingPolicy: has no effect here", "waitForReady: has no effect here"} {
			if n := w.log.count("level=WARN", key); n != 1 {
				t.Errorf("%q was logged %d times:\n%s", key, n, w.log)
			}
		}
		if n := w.log.count("level=WARN", "methodConfig[0].astra.retry.maxAttempts: left out: attempt 2 of 3 would begin"); n != 2 {
			t.Errorf("the policy's warning was logged %d times, want it once for each content that has it:\n%s", n, w.log)
		}
	})
}

// TestHalfWritten: what ends within a word waits for the rest.
func TestHalfWritten(t *testing.T) {
	const whole = "methodConfig:\n- name: [{}]\n  astra:\n    breaker: {disabled: true}\n    budget: {disabled: true}\n    retry:\n      backoff: {base: 1ns, jitter: none}\n      maxAttempts: 12"
	blindly(t, attempts(2), func(t *testing.T, w *watched) {
		write(t, w.path, whole[:len(whole)-1]) // "maxAttempts: 1"
		settle()
		w.wantNotices("")
		w.wantAttempts(2)
		write(t, w.path, whole+"\n")
		time.Sleep(1100 * time.Millisecond)
		synctest.Wait()
		w.wantNotices("success")
		w.wantAttempts(12)
		// If nothing more comes, it is taken as it is.
		began := time.Now()
		write(t, w.path, whole[:len(whole)-1])
		<-w.notices
		if took := time.Since(began); took < 1100*time.Millisecond || took > 6200*time.Millisecond {
			t.Errorf("taken after %v, want a second and a little after it was looked at", took)
		}
		w.wantAttempts(1)
	})
}

// TestEndOfWatch: no change is taken after it.
func TestEndOfWatch(t *testing.T) {
	blindly(t, attempts(2), func(t *testing.T, w *watched) {
		write(t, w.path, attempts(3))
		time.Sleep(5*time.Second + 50*time.Millisecond) // seen, and left alone not long enough
		w.stop()
		settle()
		w.wantNotices("")
		w.wantAttempts(2)
	})
}

// TestHugeFile is not read to its end.
func TestHugeFile(t *testing.T) {
	path := inFolder(t)
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(1<<40)) // with a hole
	must(t, f.Close())
	w := newWatched(t, path)

	if err := config.Watch(t.Context(), path, w.suite); err == nil || !strings.Contains(err.Error(), "too large: want at most 1048576 bytes") {
		t.Error(err)
	}
}
