package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const equivalentsFile = "internal/mutate/equivalent.txt"

// equivalents has the reasons why mutants cannot be told from the code, by what
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
	fmt.Fprintf(out, "%s: of %d mutants %d tried, %d killed, %d equivalent, %d survived: %.0f %%\n",
		r.dir, r.all, r.tried, r.killed, r.same, len(r.survivors), 100*r.score())
	if r.failed > 0 {
		fmt.Fprintf(out, "%s: %d could not be tried\n", r.dir, r.failed)
	}
	for _, m := range r.survivors {
		fmt.Fprintf(out, "  %v\n", m)
	}
}

// The table stands between these lines.
const (
	tableBegin = "<!-- mutation: begin -->\n"
	tableEnd   = "<!-- mutation: end -->\n"
)

// replaceTable writes the results into a document, in place of those there.
func replaceTable(path string, results []result, o options) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(text), tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return fmt.Errorf("%s has no place for the table: want the lines %q and %q", path, strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return os.WriteFile(path, []byte(before+tableBegin+table(results, o)+tableEnd+after), 0o644) //nolint:gosec // a document
}

func table(results []result, o options) string {
	var b strings.Builder
	sample := "all of them"
	if o.sample > 0 {
		sample = fmt.Sprintf("at most %d a package, drawn with seed %d", o.sample, o.seed)
	}
	fmt.Fprintf(&b, "Mutants tried: %s; against the package's own tests, with -short.\n\n", sample)
	b.WriteString("| Package | mutants | tried | killed | equivalent | survived | score |\n|---|---|---|---|---|---|---|\n")
	var lines []string
	for _, r := range results {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %.0f %% |\n", r.dir, r.all, r.tried, r.killed, r.same, len(r.survivors), 100*r.score())
		for _, m := range r.survivors {
			lines = append(lines, fmt.Sprintf("- `%s`\n", strings.ReplaceAll(m.String(), "`", "'")))
		}
	}
	if len(lines) > 0 {
		b.WriteString("\nSurvivors (⟦what is replaced⟧ → by what):\n\n" + strings.Join(lines, ""))
	}
	return b.String()
}
