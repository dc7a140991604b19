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

// sound reports that a package's tests fail as they are.
func sound(dir string, o options) error {
	out, err := goTest(dir, "", o.timeout)
	if err != nil {
		return fmt.Errorf("the tests of %s fail without any change: %w\n%s", dir, err, out)
	}
	return nil
}

// try runs the tests with the change.
func (m *mutant) try(o options) {
	folder, err := os.MkdirTemp("", "mutate")
	if err != nil {
		m.err = err
		return
	}
	defer func() { _ = os.RemoveAll(folder) }()
	overlay, err := m.overlay(folder)
	if err != nil {
		m.err = err
		return
	}
	m.fate = verdict(goTest(m.dir, overlay, o.timeout))
	if m.fate == survived && o.also != "" {
		m.fate = verdict(goTest(o.also, overlay, 10*o.timeout))
	}
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

var errTimeout = errors.New("the tests did not end in time")

func goTest(dir, overlay string, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout+time.Minute) // to compile takes a while
	defer cancel()
	args := []string{"test", "-short", "-failfast", "-vet=off", "-timeout", timeout.String()}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./"+filepath.ToSlash(dir))...)
	cmd.WaitDelay = 10 * time.Second
	// Some mutants allocate without end: they are to fail, not the machine.
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=1GiB", "GOGC=50")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil || bytes.Contains(out, []byte("panic: test timed out")) {
		return out, errTimeout
	}
	return out, err
}

func verdict(out []byte, err error) fate {
	switch {
	case err == nil:
		return survived
	case errors.Is(err, errTimeout):
		return timedOut
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return invalid
	}
	return killed
}
