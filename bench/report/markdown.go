package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/astra-grpc/astra/bench/lab"
)

// Markdown writes the report as a document.
func (r *Report) Markdown(w io.Writer) error {
	d := &document{}
	d.line("# What the bench found")
	d.line("")
	d.line("%d of %d promises kept. Made by `%s` on %s in %v (%s; seed %d).", r.gates()-len(r.Missed()), r.gates(),
		r.Command, r.Began.Format("2006-01-02"), r.Took(), r.Mode(), r.Seed)
	d.line("Machine: %s.", r.Machine)
	d.line("")
	d.line("Rows of astra are **bold**. Where a peer does better in a cell of ours, the cell says who and how well. In small print: the least and the most of the repeats.")
	if r.Changes != nil {
		d.changes(r.Changes)
	}
	for _, s := range r.Scenarios {
		d.scenario(s)
	}
	d.line("")
	d.line("## Versions")
	d.line("")
	for _, m := range r.Machine.Modules {
		d.line("- %s %s", m.Path, m.Version)
	}
	_, err := io.WriteString(w, d.String())
	return err
}

type document struct{ strings.Builder }

func (d *document) line(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *document) row(cells ...string) {
	for i, s := range cells {
		cells[i] = strings.ReplaceAll(s, "|", `\|`)
	}
	d.line("| %s |", strings.Join(cells, " | "))
}

func (d *document) scenario(s Scenario) {
	d.line("")
	d.line("## %s: %s", s.Name, s.Title)
	d.line("")
	d.line("%s (%s.)", s.About, s.Kind())
	if len(s.Gates) > 0 {
		d.line("")
		d.row("Promise", "Measured", "", "")
		d.row("---", "---:", "---", "---")
		for _, g := range s.Gates {
			verdict := "kept"
			if !g.Holds() {
				verdict = "**missed**"
			}
			value := withUnit(g.Value, g.Unit)
			if g.Note != "" {
				value += small(g.Note)
			}
			d.row(g.What, value, limit(g), verdict)
		}
	}
	for _, c := range s.Charts {
		d.chart(c)
	}
	for _, t := range s.Tables {
		d.table(t)
	}
	if len(s.Notes) > 0 {
		d.line("")
		for _, n := range s.Notes {
			d.line("- %s", n)
		}
	}
	if len(s.Contenders) > 0 {
		d.line("")
		d.line("<details><summary>How each is set, and why</summary>")
		d.line("")
		d.row("Contender", "Settings", "Why")
		d.row("---", "---", "---")
		for _, c := range s.Contenders {
			d.row(bolden(c.Name, c.Ours), "`"+c.Config+"`", c.Why)
		}
		d.line("")
		d.line("</details>")
	}
}

func (d *document) table(t lab.Table) {
	d.line("")
	d.line("### %s", t.Title)
	d.line("")
	heads, rules := []string{""}, []string{"---"}
	for _, c := range t.Columns {
		heads, rules = append(heads, heading(c)), append(rules, "---:")
	}
	d.row(heads...)
	d.row(rules...)
	for i, row := range t.Rows {
		cells := []string{bolden(row.Name, row.Ours)}
		for j, cell := range row.Cells {
			s := bolden(text(t.Columns[j], cell), row.Ours)
			if b := between(t.Columns[j], cell); b != "" {
				s += small(b)
			}
			if name, value, ok := rival(t, i, j); ok {
				s += small("▾ " + name + ": " + value)
			}
			cells = append(cells, s)
		}
		d.row(cells...)
	}
	if t.Note != "" {
		d.line("")
		d.line("%s", t.Note)
	}
}

func bolden(s string, ours bool) string {
	if ours {
		return "**" + s + "**"
	}
	return s
}

func small(s string) string { return "<br><sub>" + s + "</sub>" }

// chart draws with characters: a line as a row of blocks, bars as bars.
func (d *document) chart(c lab.Chart) {
	d.line("")
	d.line("### %s", c.Title)
	d.line("")
	d.line("```text")
	if len(c.Labels) > 0 {
		d.bars(c)
	} else {
		d.lines(c)
	}
	d.line("```")
}

const blocks = "▁▂▃▄▅▆▇█"

func (d *document) lines(c lab.Chart) {
	_, _, low, high := extent(c)
	width := 0
	for _, s := range c.Series {
		width = max(width, len([]rune(s.Name)))
	}
	for _, s := range c.Series {
		var b strings.Builder
		for _, p := range s.Points {
			at := 0.0
			if high > low {
				at = (scale(p[1], c.LogY) - scale(low, c.LogY)) / (scale(high, c.LogY) - scale(low, c.LogY))
			}
			b.WriteRune([]rune(blocks)[int(math.Round(min(max(at, 0), 1)*7))])
		}
		d.line("%-*s  %s", width, s.Name, b.String())
	}
	if len(c.Series) > 0 && len(c.Series[0].Points) > 0 {
		p := c.Series[0].Points
		d.line("%-*s  %s %s to %s; %s %s to %s", width, "", c.X, figure(p[0][0]), figure(p[len(p)-1][0]), c.Y, figure(low), figure(high))
	}
}

// barWidth is the longest bar's, in characters.
const barWidth = 40

func (d *document) bars(c lab.Chart) {
	_, _, _, high := extent(c)
	for i, name := range c.Labels {
		d.line("%s", name)
		for _, s := range c.Series {
			for _, p := range s.Points {
				if int(p[0]) != i {
					continue
				}
				n := int(math.Round(p[1] / max(high, 1e-12) * barWidth))
				d.line("  %s %s %s", strings.Repeat("█", max(n, 0)), figure(p[1]), s.Name)
			}
		}
	}
}

func (d *document) changes(c *Changes) {
	d.line("")
	d.line("## What changed")
	d.line("")
	d.line("%s.", strings.ToUpper(c.String()[:1])+c.String()[1:])
	if len(c.All) == 0 {
		return
	}
	d.line("")
	d.row("", "Value", "Before", "Now", "By")
	d.row("---", "---", "---:", "---:", "---:")
	for _, ch := range c.All {
		d.row(bolden(ch.Verdict(), ch.Worse), ch.Where(), ch.Old, ch.New, ch.By)
	}
}
