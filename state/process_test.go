//go:build unix

package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

func init() {
	roles["save"] = saveForEver
	roles["hold"] = hold
	roles["outage"] = outage
	roles["full"] = fullDisk
	roles["read-only"] = readOnly
}

// child is a process that a test has started, with this program's code.
type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startChild(t *testing.T, role, path string, change ...func(*exec.Cmd)) *child {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	c := &child{Cmd: exec.CommandContext(ctx, exe)}
	c.Env = append(os.Environ(), roleKey+"="+role, pathKey+"="+path)
	c.Stderr = os.Stderr
	for _, f := range change {
		f(c.Cmd)
	}
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

const pathKey = "ASTRA_STATE_TEST_PATH"

// mine opens the file that the process was given.
func mine() *store {
	s, err := File(os.Getenv(pathKey))
	must(err)
	return s.(*store)
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// say reports to the test.
func say(what any) { fmt.Println(what) }

// saveForEver saves states, each of its own length, and reports each that has
// been saved.
func saveForEver() {
	s := mine()
	first, err := strconv.Atoi(os.Getenv("FIRST"))
	must(err)
	for n := first; ; n++ {
		must(s.write(numbered(n)))
		say(n)
	}
}

func numbered(n int) (st interceptors.State) {
	for i := range 1 + n%40 {
		st.Breakers = append(st.Breakers, interceptors.BreakerRecord{Target: "a", Method: fmt.Sprint("/x.Y/", i), Openings: n})
	}
	return st
}

// TestKilled: a process is killed while it saves, again and again. What is
// found is the last state that it knew to be saved, or the next one.
func TestKilled(t *testing.T) {
	rounds := 200
	switch {
	case testing.Short():
		rounds = 20
	case raceEnabled: // such processes begin slowly, and are the same
		rounds = 50
	}
	path := filepath.Join(t.TempDir(), "state")
	acked, later, leftovers := 0, 0, 0
	for range rounds {
		c := startChild(t, "save", path, func(c *exec.Cmd) { c.Env = append(c.Env, fmt.Sprint("FIRST=", acked+1)) })
		if !c.out.Scan() {
			t.Fatalf("the process ended by itself: %v", c.Wait())
		}
		timer := time.NewTimer(time.Duration(rand.Int64N(int64(3 * time.Millisecond))))
		<-timer.C
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for more := true; more; more = c.out.Scan() {
			n, err := strconv.Atoi(c.out.Text())
			if err != nil {
				break // killed while it reported
			}
			acked = n
		}
		_ = c.Wait()

		if _, err := os.Stat(path + ".new"); err == nil {
			leftovers++
		}
		var seen notices
		s := mustFile(t, path) // the lock died with the process
		suite := newSuite(t, s, interceptors.WithObserver(&seen))
		got := s.live.State()
		if results := seen.results(observe.StateRestored); len(results) != 1 || results[0] != "success" {
			t.Fatalf("restored: %v", results)
		}
		n := got.Breakers[0].Openings
		for _, b := range got.Breakers {
			if b.Openings != n {
				t.Fatalf("a mix: %+v", got)
			}
		}
		if len(got.Breakers) != 1+n%40 || n != acked && n != acked+1 {
			t.Fatalf("found %d breakers of state %d, want all of %d or the next", len(got.Breakers), n, acked)
		}
		if n > acked {
			later++
		}
		if err := suite.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times: %d states, %d found but not acknowledged, %d times between creating and renaming", rounds, acked, later, leftovers)
}

// outage has a breaker open, reports for how long, and waits to be killed.
func outage() {
	saved := make(chan observe.SuiteEvent, 100)
	suite, err := interceptors.New(patient, interceptors.WithStore(mine()), interceptors.WithObserver(&notices{ch: saved}))
	must(err)
	for { // the first saving may have been before
		_ = call(suite, method, down)
		n := <-saved
		if n.Kind != observe.StateSaved {
			continue
		}
		must(n.Err)
		if data, err := os.ReadFile(os.Getenv(pathKey)); err == nil && strings.Contains(string(data), method) {
			break
		}
	}
	say("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// TestKilledInAnOutage is the story from end to end, in real time.
func TestKilledInAnOutage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	c := startChild(t, "outage", path)
	if !c.out.Scan() {
		t.Fatalf("the process ended by itself: %v", c.Wait())
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	suite := newSuite(t, mustFile(t, path), patient)
	if got := rest(t, suite, method); got < 2*time.Second || got > 12*time.Second {
		t.Errorf("open for %v, want what is left of 10 s ± 20 %%", got)
	}
}

// hold has the file until its input ends.
func hold() {
	s := mine()
	say("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	must(s.Close())
}

// ended waits for a process that reports what went wrong.
func (c *child) ended(t *testing.T) {
	t.Helper()
	for c.out.Scan() {
		t.Error(c.out.Text())
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// fullDisk may write no file longer than a few bytes, for a while.
func fullDisk() {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	must(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	small := limit
	small.Cur = 64
	must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small))
	refusedThenSaved(syscall.EFBIG, func() { must(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)) })
}

// readOnly may write nothing to the directory, for a while.
func readOnly() {
	dir := filepath.Dir(os.Getenv(pathKey))
	must(os.Chmod(dir, 0o500))
	refusedThenSaved(syscall.EACCES, func() { must(os.Chmod(dir, 0o700)) })
}

// refusedThenSaved lets a suite live through a disk that does not take what it
// saves, until it is mended. It reports what goes wrong.
func refusedThenSaved(want error, mend func()) {
	var log lines
	saved := make(chan observe.SuiteEvent, 1000)
	path := os.Getenv(pathKey)
	before, err := os.ReadFile(path)
	must(err)
	suite, err := interceptors.New(patient, log.option(), interceptors.WithStore(mine()), interceptors.WithObserver(&notices{ch: saved}))
	must(err)
	if n := <-saved; n.Kind != observe.StateRestored || n.Result != observe.ResultSuccess {
		say(n)
	}
	for range 3 {
		_ = call(suite, fmt.Sprint("/x.Y/", rand.Int()), down) // more than one breaker, so more than one saving
		if n := <-saved; n.Kind != observe.StateSaved || n.Result != observe.ResultFailed || !errors.Is(n.Err, want) {
			say(n)
		}
	}
	if n := log.count("level=WARN"); n != 1 {
		say(fmt.Sprintf("%d warnings, want 1: %s", n, &log))
	}
	if now, err := os.ReadFile(path); err != nil || string(now) != string(before) {
		say(fmt.Sprintf("%v; the file holds %q, want %q", err, now, before))
	}
	if _, err := os.Lstat(path + ".new"); err == nil {
		say("half a file is left")
	}
	mend()
	if err := suite.Close(); err != nil {
		say(err)
	}
	now, err := os.ReadFile(path)
	must(err)
	if doc, err := decode(now); err != nil || len(doc.Breakers) != 2+3 {
		say(fmt.Sprintf("%v; the file holds %q", err, now))
	}
}

func TestRealFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	write(t, path, encoded(t, sample, time.Now()))
	startChild(t, "full", path).ended(t)
}

// TestRealReadOnlyDirectory: in a process that is not root, whom modes do not
// stop.
func TestRealReadOnlyDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // or another user would not get there
		t.Fatal(err)
	}
	path := filepath.Join(dir, "state")
	write(t, path, encoded(t, sample, time.Now()))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "program") // where the other may go
	if err := os.WriteFile(other, program, 0o700); err != nil {
		t.Fatal(err)
	}
	startChild(t, "read-only", path, func(c *exec.Cmd) {
		if os.Getuid() != 0 {
			return
		}
		const nobody = 65534
		for _, name := range []string{dir, path, other} {
			if err := os.Chown(name, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		c.Path, c.Dir = other, dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}).ended(t)
}

// TestPaths: what is wrong with a path is reported at once.
func TestPaths(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	write(t, plain, nil)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	astray := filepath.Join(dir, "astray")
	if err := os.Symlink("nowhere", astray); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, want string }{
		{"", "want the name of a file"},
		{dir, "is a directory: want a file"},
		{dir + "/", "is a directory: want a file"},
		{pipe, "want a regular file"},
		{astray, "symbolic link to no file"},
		{filepath.Join(dir, "no", "state"), filepath.Join(dir, "no") + " does not exist"},
		{filepath.Join(plain, "state"), "not a directory"},
		{filepath.Join(dir, strings.Repeat("x", 300)), "too long"},
		{dir + "/\x00", "invalid argument"},
	} {
		s, err := File(tc.path)
		if err == nil || s != nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("state: path %q: ", tc.path)) {
			t.Errorf("%q: %v, %v; want %q", tc.path, s, err, tc.want)
		}
	}
	if got := files(t, plain); len(got) != 3 {
		t.Errorf("faulty paths left %v", got)
	}
}

// TestNobodyIsFollowed: a link planted where the new file or the lock goes is
// not written through.
func TestNobodyIsFollowed(t *testing.T) {
	dir := t.TempDir()
	path, victim := filepath.Join(dir, "state"), filepath.Join(dir, "victim")
	write(t, victim, []byte("mine"))
	for _, name := range []string{path + ".new", path + ".lock"} {
		if err := os.Symlink(victim, name); err != nil {
			t.Fatal(err)
		}
	}
	var log lines
	suite := newSuite(t, mustFile(t, path), log.option())
	if err := suite.Close(); err == nil {
		t.Error("saved without its lock")
	}
	if log.count("level=WARN") != 1 {
		t.Errorf("want one warning:\n%s", &log)
	}
	if err := os.Remove(path + ".lock"); err != nil {
		t.Fatal(err)
	}
	if err := newSuite(t, mustFile(t, path)).Close(); err != nil {
		t.Error(err)
	}
	if got := string(read(t, victim)); got != "mine" {
		t.Errorf("the victim holds %q", got)
	}
}
