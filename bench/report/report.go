// Package report shows what scenarios found: promises in the terminal, all tables as
// Markdown and on a page with charts, and everything as JSON, to compare with later
// and to calculate with. It knows results and no scenarios.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
)

// Report is a run of the bench. It is stored as JSON.
type Report struct {
	Machine   Machine    `json:"machine"`
	Command   string     `json:"command"`
	Began     time.Time  `json:"began"`
	Seconds   float64    `json:"seconds"` // it took
	Quick     bool       `json:"quick,omitempty"`
	Cut       bool       `json:"cut,omitempty"` // broken off: scenarios are missing
	Seed      uint64     `json:"seed"`
	Scenarios []Scenario `json:"scenarios"`

	// Changes are what is new since an earlier report; nil: none was given.
	Changes *Changes `json:"-"`
}

// Scenario is an experiment, and what it found.
type Scenario struct {
	Name    string  `json:"name"`
	Title   string  `json:"title"`
	About   string  `json:"about"`
	Real    bool    `json:"real"`
	Seconds float64 `json:"seconds"`
	lab.Result
}

// Kind says how it was made.
func (s Scenario) Kind() string {
	if s.Real {
		return "real gRPC over loopback"
	}
	return "simulated in virtual time"
}

// Verdict is what became of a promise of a scenario: "kept", "missed", or "slow".
// A time that was measured depends on the machine, and on what else runs there, so
// one beyond its limit is a warning and no promise broken; on a machine too busy to
// keep the schedule of the calls all are.
func (s Scenario) Verdict(g lab.Gate) string {
	switch {
	case g.Holds():
		return "kept"
	case s.Real && (g.Timed() || s.Busy):
		return "slow"
	default:
		return "missed"
	}
}

// Missed returns the promises that are not kept.
func (r *Report) Missed() []lab.Gate { return r.judged("missed") }

// Slow returns those that a slow or busy machine may be the reason of.
func (r *Report) Slow() []lab.Gate { return r.judged("slow") }

func (r *Report) judged(verdict string) (all []lab.Gate) {
	for _, s := range r.Scenarios {
		for _, g := range s.Gates {
			if s.Verdict(g) == verdict {
				g.What = s.Name + ": " + g.What
				all = append(all, g)
			}
		}
	}
	return all
}

// Gates counts all promises.
func (r *Report) Gates() (n int) {
	for _, s := range r.Scenarios {
		n += len(s.Gates)
	}
	return n
}

// Mode is how thorough the run was.
func (r *Report) Mode() string {
	switch {
	case r.Cut:
		return "broken off, scenarios are missing"
	case r.Quick:
		return "quick: one repeat of short runs"
	default:
		return "full: medians of five repeats, with the least and the most of them"
	}
}

// Took is how long the run took.
func (r *Report) Took() time.Duration {
	return time.Duration(r.Seconds * float64(time.Second)).Round(time.Second)
}

// The files of a report's folder.
const (
	pageFile     = "report.html"
	markdownFile = "report.md"
	resultsFile  = "results.json"
)

// Write puts all files into a folder, which it makes if need be, and returns
// the page's path.
func (r *Report) Write(dir string) (page string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for name, write := range map[string]func(io.Writer) error{
		pageFile: r.HTML, markdownFile: r.Markdown, resultsFile: r.JSON,
	} {
		if err := WriteFile(filepath.Join(dir, name), write); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, pageFile), nil
}

// WriteFile writes one file.
func WriteFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

// JSON writes the report as Read reads it.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// Read reads a report that JSON wrote.
func Read(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s is no report of this program: %w", path, err)
	}
	return r, nil
}

// Kept counts the promises that are kept.
func (r *Report) Kept() int { return r.Gates() - len(r.Missed()) - len(r.Slow()) }
