package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// fate is what became of a mutant.
type fate uint8

const (
	survived fate = iota
	killed
	timedOut
	invalid // does not compile
)

// tidy returns what removes the failures that package rapid keeps beside tests, for
// mutants are to leave none, unless there were some before.
func tidy(dir string) func() {
	kept := filepath.Join(dir, "testdata", "rapid")
	if _, err := os.Stat(kept); err == nil {
		return func() {}
	}
	return func() { _ = os.RemoveAll(kept) }
}

// sound reports that tests fail as they are, and returns what tidies up after them.
func sound(drawn []*mutant, o options) (clean func(), err error) {
	var cleans []func()
	seen := map[string]bool{}
	for _, m := range drawn {
		for _, ts := range m.tests {
			if seen[ts.dir] {
				continue
			}
			seen[ts.dir] = true
			cleans = append(cleans, tidy(ts.dir))
			f, out, err := attempt(tests{dir: ts.dir}, nil, o.timeout)
			if err == nil && f == invalid {
				err = errors.New("they do not compile")
			} else if err == nil && f != survived {
				err = errors.New("see below")
			}
			if err != nil {
				return nil, fmt.Errorf("the tests of %s fail without any change: %w\n%s", ts.dir, err, out)
			}
		}
	}
	return func() {
		for _, clean := range cleans {
			clean()
		}
	}, nil
}

// try runs the tests with the change, until one notices.
func (m *mutant) try(o options) {
	for _, ts := range m.tests {
		if m.fate, _, m.err = attempt(ts, m, o.timeout); m.err != nil || m.fate != survived {
			return
		}
	}
}

// attempt compiles tests, with the change of a mutant if there is one, and runs them.
func attempt(ts tests, m *mutant, timeout time.Duration) (f fate, out []byte, err error) {
	folder, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	binary, err := filepath.Abs(filepath.Join(folder, "tests"))
	if err != nil {
		return 0, nil, err
	}
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary} // to link takes as long as to compile
	if m != nil {
		overlay, err := m.overlay(folder)
		if err != nil {
			return 0, nil, err
		}
		args = append(args, "-overlay", overlay)
	}
	out, err = exec.Command("go", append(args, "./"+filepath.ToSlash(ts.dir))...).CombinedOutput() //nolint:gosec // the go command
	if err != nil {
		return invalid, out, nil
	}
	if _, err := os.Stat(binary); err != nil {
		return survived, out, nil // there are no tests
	}
	f, out = noticed(binary, ts, timeout)
	return f, out, nil
}

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+) `)

// noticed runs tests, and what fails once more: alone, so that little else can be why.
func noticed(binary string, ts tests, timeout time.Duration) (fate, []byte) {
	f, out := once(binary, ts, timeout)
	name := failedTest.FindSubmatch(out)
	if f != killed || name == nil || bytes.Contains(out, []byte("\npanic: ")) {
		return f, out
	}
	if f, out := once(binary, tests{ts.dir, "^" + string(name[1]) + "$"}, timeout); f != survived {
		return f, out
	}
	return once(binary, ts, timeout)
}

// once runs tests.
func once(binary string, ts tests, timeout time.Duration) (fate, []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.short", "-test.failfast", "-test.timeout", timeout.String(), "-test.run", ts.run) //nolint:gosec // just compiled
	cmd.Dir = ts.dir
	cmd.WaitDelay = 10 * time.Second
	// Some mutants allocate without end: they are to fail, not the machine.
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=1GiB", "GOGC=50")
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return survived, out
	case ctx.Err() != nil, bytes.Contains(out, []byte("panic: test timed out")):
		return timedOut, out
	}
	return killed, out
}

// overlay writes the changed file and the overlay file for the compiler.
func (m *mutant) overlay(folder string) (path string, err error) {
	original, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(folder, filepath.Base(m.file))
	if err := os.WriteFile(changed, m.mutated(), 0o600); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(folder, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}
