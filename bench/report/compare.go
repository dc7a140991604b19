package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/astra-grpc/astra/bench/lab"
)

// Changes are what is new since another report.
type Changes struct {
	Since    string // when that began
	Compared int    // cells and gates that both have
	Missing  int    // that only the older has
	Quick    bool   // one of the two is quick: their runs differ in length
	All      []Change
}

// Change is a value that is better or worse than it was, by more than the
// repeats differ among themselves.
type Change struct {
	Scenario, Table, Row, Column string
	Ours                         bool
	Old, New, By                 string
	Worse                        bool
	Gate                         bool // a promise is broken, or kept again
	weight                       float64
}

// least is the change that is worth a word, as a share of the older value.
const least = 0.05

// Verdict is the change in a word.
func (c Change) Verdict() string {
	switch {
	case c.Gate && c.Worse:
		return "missed"
	case c.Gate:
		return "kept"
	case c.Worse:
		return "worse"
	}
	return "better"
}

// Where names the value.
func (c Change) Where() string {
	var parts []string
	for _, s := range []string{c.Scenario, c.Table, c.Row, c.Column} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " / ")
}

// String is the comparison in a line.
func (c *Changes) String() string {
	better, worse := 0, 0
	for _, ch := range c.All {
		if ch.Worse {
			worse++
		} else {
			better++
		}
	}
	s := fmt.Sprintf("since %s: %d worse, %d better, %d of %d as before", c.Since, worse, better, c.Compared-worse-better, c.Compared)
	if c.Missing > 0 {
		s += fmt.Sprintf(", %d not measured now", c.Missing)
	}
	if c.Quick {
		s += " (one of the two is quick: runs differ in length, so take this with care)"
	}
	return s
}

// Compare returns what changed from old to now, broken promises first, then by
// how much; worse before better, ours before peers.
func Compare(old, now *Report) *Changes {
	c := &Changes{Since: old.Began.Format("2006-01-02 15:04"), Quick: old.Quick != now.Quick}
	for _, o := range old.Scenarios {
		i := slices.IndexFunc(now.Scenarios, func(s Scenario) bool { return s.Name == o.Name })
		if i < 0 {
			continue // not run
		}
		n := now.Scenarios[i]
		for _, t := range o.Tables {
			c.table(o.Name, t, n.Tables)
		}
		c.gates(o, n)
	}
	slices.SortStableFunc(c.All, func(a, b Change) int {
		return cmp.Or(first(a.Gate, b.Gate), first(a.Worse, b.Worse), first(a.Ours, b.Ours), cmp.Compare(b.weight, a.weight))
	})
	return c
}

// first sorts what holds for one before what does not.
func first(a, b bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	}
	return 0
}

func (c *Changes) table(scenario string, old lab.Table, tables []lab.Table) {
	at := slices.IndexFunc(tables, func(t lab.Table) bool { return t.Title == old.Title })
	for _, oldRow := range old.Rows {
		for j, was := range oldRow.Cells {
			column := old.Columns[j]
			is, ok := lab.Cell{}, false
			if at >= 0 {
				is, ok = lookUp(tables[at], oldRow.Name, column.Name)
			}
			if !ok {
				c.Missing++
				continue
			}
			c.Compared++
			if ch, ok := changed(column, was, is); ok {
				ch.Scenario, ch.Table, ch.Row, ch.Column, ch.Ours = scenario, old.Title, oldRow.Name, column.Name, oldRow.Ours
				c.All = append(c.All, ch)
			}
		}
	}
}

func lookUp(t lab.Table, row, column string) (lab.Cell, bool) {
	i := slices.IndexFunc(t.Rows, func(r lab.Row) bool { return r.Name == row })
	j := slices.IndexFunc(t.Columns, func(c lab.Column) bool { return c.Name == column })
	if i < 0 || j < 0 || j >= len(t.Rows[i].Cells) {
		return lab.Cell{}, false
	}
	return t.Rows[i].Cells[j], true
}

// changed judges one value. Repeats that overlap show nothing.
func changed(c lab.Column, was, is lab.Cell) (Change, bool) {
	better, worse := beats(c, is, was), beats(c, was, is)
	if !better && !worse {
		return Change{}, false
	}
	ch := Change{Old: text(c, was), New: text(c, is), Worse: worse, By: "–", weight: math.Inf(1)}
	if was.Text != "" || is.Text != "" {
		return ch, true
	}
	if told(was) && told(is) && was.Low <= is.High && is.Low <= was.High {
		return Change{}, false
	}
	if was.Value != 0 {
		by := (is.Value - was.Value) / math.Abs(was.Value)
		ch.By, ch.weight = signed(100*by)+" %", math.Abs(by)
	}
	return ch, ch.weight >= least
}

func told(c lab.Cell) bool { return c.Low != 0 || c.High != 0 }

func signed(v float64) string {
	if v > 0 {
		return "+" + figure(math.Round(v*10)/10)
	}
	return figure(math.Round(v*10) / 10)
}

func (c *Changes) gates(old, now Scenario) {
	broken := func(s Scenario, g lab.Gate) bool { return s.Verdict(g) == "missed" }
	for _, was := range old.Gates {
		i := slices.IndexFunc(now.Gates, func(g lab.Gate) bool { return g.What == was.What })
		if i < 0 {
			c.Missing++
			continue
		}
		c.Compared++
		if is := now.Gates[i]; broken(now, is) != broken(old, was) {
			c.All = append(c.All, Change{
				Scenario: old.Name, Column: is.What, Ours: true, Gate: true, Worse: !broken(old, was),
				Old: withUnit(was.Value, was.Unit), New: withUnit(is.Value, is.Unit), By: limit(is),
			})
		}
	}
}
