package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const equivalentsFile = "internal/mutate/equivalent.txt"

// equivalents has the reasons why mutants behave as the code does, by what
// identifies them: file, line with the change marked, and what comes in its place.
type equivalents map[string]string

func (m *mutant) identity() string {
	return strings.Join([]string{filepath.ToSlash(m.file), m.context(), m.after}, "\t")
}

// readEquivalents reads lines of four fields, with tabs between: a mutant's
// identity and the reason.
func readEquivalents(path string) (equivalents, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	known := equivalents{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		i := strings.LastIndexByte(line, '\t')
		if strings.Count(line, "\t") != 3 {
			return nil, fmt.Errorf("%s: %q: want file, line, change and reason, with tabs between", path, line)
		}
		known[line[:i]] = line[i+1:]
	}
	return known, nil
}

// result is what became of a package's mutants.
type result struct {
	dir                              string
	seed                             uint64
	sampled                          bool
	all, tried, killed, same, failed int
	survivors                        []*mutant
}

func (r *result) add(m *mutant, known equivalents) {
	if m.err != nil {
		r.failed++
		return
	}
	switch m.fate {
	case invalid:
		return
	case killed, timedOut:
		r.killed++
	case survived:
		if _, ok := known[m.identity()]; ok {
			r.same++
		} else {
			r.survivors = append(r.survivors, m)
		}
	}
	r.tried++
}

// score is the share of mutants killed, of those that can be.
func (r *result) score() float64 { return float64(r.killed) / float64(max(r.tried-r.same, 1)) }

func (r *result) print(out io.Writer) {
	fmt.Fprintf(out, "%s: of %d mutants %d tried (seed %d), %d killed, %d equivalent, %d survived: %.0f %%\n",
		r.dir, r.all, r.tried, r.seed, r.killed, r.same, len(r.survivors), 100*r.score())
	if r.failed > 0 {
		fmt.Fprintf(out, "%s: %d could not be tried\n", r.dir, r.failed)
	}
}

// The table stands between these lines.
const (
	tableBegin = "<!-- mutation: begin -->\n"
	tableEnd   = "<!-- mutation: end -->\n"
)

// replaceTable writes the results into a document, in place of those of the same
// packages.
func replaceTable(path string, results []result) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), tableBegin)
	old, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the table: want the lines %q and %q", path, strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return os.WriteFile(path, []byte(before+tableBegin+table(old, results)+tableEnd+after), 0o644) //nolint:gosec // a document
}

const tableHead = "| Package | mutants | seed | tried | killed | equivalent | survived | score |\n|---|---|---|---|---|---|---|---|\n"

// table returns the results, and what the old table has of other packages.
func table(old string, results []result) string {
	var rows, survivors []string
	tried := func(dir string) bool {
		return slices.ContainsFunc(results, func(r result) bool { return r.dir == dir })
	}
	for line := range strings.Lines(old) {
		switch {
		case strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| Package"):
			if dir, _, _ := strings.Cut(line[2:], " |"); !tried(dir) {
				rows = append(rows, line)
			}
		case strings.HasPrefix(line, "- `"):
			if place, _, _ := strings.Cut(line[3:], ":"); !tried(filepath.ToSlash(filepath.Dir(place))) {
				survivors = append(survivors, line)
			}
		}
	}
	for _, r := range results {
		seed := "–" // all were drawn
		if r.sampled {
			seed = strconv.FormatUint(r.seed, 10)
		}
		rows = append(rows, fmt.Sprintf("| %s | %d | %s | %d | %d | %d | %d | %.0f %% |\n", r.dir, r.all, seed, r.tried, r.killed, r.same, len(r.survivors), 100*r.score()))
		for _, m := range r.survivors {
			survivors = append(survivors, fmt.Sprintf("- `%s`\n", strings.ReplaceAll(m.String(), "`", "'")))
		}
	}
	slices.Sort(rows)
	slices.Sort(survivors)
	text := tableHead + strings.Join(rows, "")
	if len(survivors) > 0 {
		text += "\nSurvivors (⟦what is replaced⟧ → by what):\n\n" + strings.Join(survivors, "")
	}
	return text
}
