// Package lab says what an experiment of the bench is: a [Scenario] that is run
// and gives a [Result], which the report prints, draws, stores and compares.
// Scenarios know nothing of reports, reports nothing of scenarios.
package lab

import (
	"context"
	"math"
	"slices"
)

// Scenario is an experiment.
type Scenario struct {
	Name  string // short, for -run: "outage"
	Title string // a line
	About string // what is done, what is measured and why; a paragraph
	Real  bool   // real gRPC over loopback; false: simulated in virtual time
	Run   func(ctx context.Context, o Options) (*Result, error)
}

// Options are how it is run.
type Options struct {
	Quick bool   // minutes for all scenarios together, instead of a full run
	Seed  uint64 // of everything drawn by chance
	// Progress is called with how much of the work is done, from 0 to 1, and may be
	// called from any goroutine. It is never nil.
	Progress func(done float64)
}

// Repeats returns how often a real experiment is made: full runs give the
// median of five, quick ones what they get.
func (o Options) Repeats() int {
	if o.Quick {
		return 1
	}
	return 5
}

// Result is what a scenario found. It is stored as JSON and compared with
// later ones by the names in it, so these stay the same from run to run.
type Result struct {
	Contenders []Contender `json:"contenders"`
	Tables     []Table     `json:"tables"`
	Charts     []Chart     `json:"charts,omitempty"`
	Gates      []Gate      `json:"gates,omitempty"`
	Notes      []string    `json:"notes,omitempty"` // what the reader should know
	// Busy is that the machine could not keep the experiment's schedule, so that a
	// promise that seems missed may be the machine's fault.
	Busy bool `json:"busy,omitempty"`
}

// Contender is a policy that was tried: what it is, and why it is no straw man.
type Contender struct {
	Name   string `json:"name"`
	Config string `json:"config"` // a line: its settings
	Why    string `json:"why"`    // a line: why these
	Ours   bool   `json:"ours,omitempty"`
}

// Table is measured values, a row a contender (or another subject).
type Table struct {
	Title   string   `json:"title"`
	Note    string   `json:"note,omitempty"`   // a line under it
	Quoted  bool     `json:"quoted,omitempty"` // people quote it: it is in RESULTS.md, too
	Columns []Column `json:"columns"`
	Rows    []Row    `json:"rows"`
}

// Better says which of two values of a column is the better one.
type Better int

// Which is better.
const (
	Neither Better = iota // the column describes, and does not judge
	Lower
	Higher
)

// Column is what is measured, in which unit ("ms", "%", "×", "/s", "ns", "").
type Column struct {
	Name   string `json:"name"`
	Unit   string `json:"unit,omitempty"`
	Better Better `json:"better,omitempty"`
	Digits int    `json:"digits"` // after the decimal point
}

// Row is one subject's values.
type Row struct {
	Name     string `json:"name"`
	Ours     bool   `json:"ours,omitempty"`
	Baseline bool   `json:"baseline,omitempty"` // no policy at all: nobody to be beaten by
	Cells    []Cell `json:"cells"`              // one a column
}

// Cell is a value. A report marks those of ours that a peer beats.
type Cell struct {
	Value float64 `json:"value"`
	// Text stands in place of the value where there is none: "–" where nothing
	// is measured, else it is as bad as can be ("never"), and Value, if it is
	// not 0, says at least how bad.
	Text string `json:"text,omitempty"`
	// Low and High are the least and most of the repeats; both 0: not known.
	Low  float64 `json:"low,omitempty"`
	High float64 `json:"high,omitempty"`
}

// Chart is a picture: lines over x, or bars by name if there are labels.
type Chart struct {
	Title  string   `json:"title"`
	X      string   `json:"x"`
	Y      string   `json:"y"`
	LogX   bool     `json:"logX,omitempty"`
	LogY   bool     `json:"logY,omitempty"`
	Labels []string `json:"labels,omitempty"` // of bars: Points' x is the index
	Series []Series `json:"series"`
}

// Series is one line or set of bars.
type Series struct {
	Name   string       `json:"name"`
	Ours   bool         `json:"ours,omitempty"`
	Points [][2]float64 `json:"points"`
}

// Gate is a promise about a value: at most Limit, or at least.
type Gate struct {
	What    string  `json:"what"`
	Unit    string  `json:"unit,omitempty"`
	Value   float64 `json:"value"`
	Limit   float64 `json:"limit"`
	AtLeast bool    `json:"atLeast,omitempty"`
	Times   bool    `json:"times,omitempty"` // Value is a quotient of times
	Note    string  `json:"note,omitempty"`
}

// Holds reports whether the promise is kept, to the nine digits that sums of
// shares are good for.
func (g Gate) Holds() bool {
	slack := 1e-9 * math.Abs(g.Limit)
	if g.AtLeast {
		return g.Value >= g.Limit-slack
	}
	return g.Value <= g.Limit+slack
}

// Timed reports whether the promise is about a time, or about a quotient of times.
// Where that is measured, and not simulated, it depends on the machine and on what
// else runs there.
func (g Gate) Timed() bool {
	return g.Times || slices.Contains([]string{"ns", "µs", "ms", "s"}, g.Unit)
}
