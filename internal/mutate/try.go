package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// programs are the tests of packages, by directory, with all mutants that can be in one
// program.
type programs map[string]program

// build compiles the tests that drawn mutants of a package meet, as many mutants at
// once as can be, and sees that they pass while the code does as it was written. clean
// removes what is left of them.
func build(dir string, drawn []*mutant, o options, out io.Writer) (all programs, clean func(), err error) {
	folder, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, nil, err
	}
	cleans := []func(){func() { _ = os.RemoveAll(folder) }}
	clean = func() {
		for _, clean := range cleans {
			clean()
		}
	}
	overlay, err := combine(folder, dir, drawn)
	if err != nil {
		clean()
		return nil, nil, err
	}
	all = programs{}
	for _, m := range drawn {
		for _, ts := range m.tests {
			if all[ts.dir].binary != "" {
				continue
			}
			cleans = append(cleans, tidy(ts.dir))
			if all[ts.dir], err = sound(ts.dir, filepath.Join(folder, fmt.Sprint("tests", len(all))), overlay, o); err == nil {
				continue
			}
			fmt.Fprintf(out, "%s: mutants are compiled one by one: %v\n", dir, err)
			for _, m := range drawn {
				m.id = 0
			}
			overlay = ""
			if all[ts.dir], err = sound(ts.dir, filepath.Join(folder, fmt.Sprint("tests", len(all))), "", o); err != nil {
				clean()
				return nil, nil, err
			}
		}
	}
	return all, clean, nil
}

// maxOutput is how much is shown of what tests that fail have written.
const maxOutput = 4 << 10

// sound compiles tests and reports if they fail as they are.
func sound(dir, binary, overlay string, o options) (program, error) {
	p := program{binary, dir, 0, o.timeout}
	if f, out := compile(dir, binary, overlay); f == invalid {
		return p, fmt.Errorf("the tests of %s do not compile:\n%s", dir, out)
	}
	began := time.Now()
	f, out := p.run("")
	for try := 1; f != survived && try < 3; try++ { // the machine may be busy
		began = time.Now()
		f, out = p.run("")
	}
	if f != survived {
		return p, fmt.Errorf("the tests of %s fail without any change:\n%s", dir, out[max(0, len(out)-maxOutput):])
	}
	p.timeout = min(o.timeout, 10*time.Since(began)+10*time.Second) // many mutants never end
	return p, nil
}

// try runs the tests with the change, until one notices.
func (m *mutant) try(all programs) {
	for _, ts := range m.tests {
		if m.fate, m.err = m.meet(ts, all); m.err != nil || m.fate != survived {
			return
		}
	}
}

// meet runs tests with the change.
func (m *mutant) meet(ts tests, all programs) (fate, error) {
	p := all[ts.dir]
	if p.mutant = m.id; m.id > 0 {
		f, _ := p.noticed(ts.run)
		return f, nil
	}
	folder, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	overlay, err := m.overlay(folder)
	if err != nil {
		return 0, err
	}
	p.binary = filepath.Join(folder, "tests")
	if f, _ := compile(ts.dir, p.binary, overlay); f == invalid {
		return f, nil
	}
	f, _ := p.noticed(ts.run)
	return f, nil
}

// compile makes a program of a package's tests.
func compile(dir, binary, overlay string) (fate, []byte) {
	args := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", binary} // to link takes as long as to compile
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(args, "./"+filepath.ToSlash(dir))...).CombinedOutput() //nolint:gosec // the go command
	if err != nil {
		return invalid, out
	}
	return survived, out
}

// program is a package's tests, compiled.
type program struct {
	binary, dir string
	mutant      int // that it is to be; 0: none, or the one compiled in
	timeout     time.Duration
}

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+) `)

// noticed runs tests, and what fails once more: alone, so that little else can be why.
func (p program) noticed(tests string) (fate, []byte) {
	f, out := p.run(tests)
	name := failedTest.FindSubmatch(out)
	if f != killed || name == nil || bytes.Contains(out, []byte("\npanic: ")) {
		return f, out
	}
	if f, out := p.run("^" + string(name[1]) + "$"); f != survived {
		return f, out
	}
	return p.run(tests)
}

// run runs tests once.
func (p program) run(tests string) (fate, []byte) {
	if _, err := os.Stat(p.binary); err != nil {
		return survived, nil // the package has no tests
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, "-test.short", "-test.failfast", "-test.timeout", p.timeout.String(), "-test.run", tests) //nolint:gosec // just compiled
	cmd.Dir = p.dir
	cmd.WaitDelay = 10 * time.Second
	// Some mutants allocate without end: they are to fail, not the machine.
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=1GiB", "GOGC=50", fmt.Sprintf("%s=%d", environment, p.mutant))
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
