package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

const testsFile = "internal/mutate/tests.txt"

// tests are some of a package's tests.
type tests struct {
	dir string
	run string // go test's -run; "" is all
}

// rule names tests that mutants of files meet.
type rule struct {
	files *regexp.Regexp
	tests tests
}

type rules []rule

// readTests reads lines of three fields, with tabs between: a regular expression of
// files, a directory of tests, and which of them, as for go test's -run.
func readTests(path string) (rules, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all rules
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		fields := strings.Split(line, "\t")
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: %q: want files, directory and tests, with tabs between", path, line)
		}
		files, err := regexp.Compile("^(?:" + fields[0] + ")$")
		if err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		all = append(all, rule{files, tests{fields[1], strings.TrimPrefix(fields[2], ".")}})
	}
	return all, nil
}

// of returns the tests that a mutant meets: of its own package those that the rules
// name, then all others, then those of other packages.
func (all rules) of(m *mutant) []tests {
	var few, others []tests
	for _, r := range all {
		switch {
		case !r.files.MatchString(filepath.ToSlash(m.file)):
		case r.tests.dir == m.dir:
			few = append(few, r.tests)
		default:
			others = append(others, r.tests)
		}
	}
	return append(append(few, tests{dir: m.dir}), others...)
}
