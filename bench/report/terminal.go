package report

import (
	"fmt"
	"io"

	"github.com/astra-grpc/astra/bench/lab"
)

// Terminal prints what scenarios promise, as they end. Tables are in the report.
// Color paints what is kept and what is not.
type Terminal struct {
	Out   io.Writer
	Color bool
}

func (t Terminal) paint(code, s string) string {
	if !t.Color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t Terminal) bold(s string) string  { return t.paint("1", s) }
func (t Terminal) dim(s string) string   { return t.paint("2", s) }
func (t Terminal) red(s string) string   { return t.paint("31", s) }
func (t Terminal) green(s string) string { return t.paint("32", s) }

// Scenario prints a scenario's promises.
func (t Terminal) Scenario(s Scenario) {
	fmt.Fprintf(t.Out, "\n%s  %s\n%s\n", t.bold(s.Name), s.Title, t.dim(fmt.Sprintf("%s, %.0f s", s.Kind(), s.Seconds)))
	for _, g := range s.Gates {
		t.gate(s.Verdict(g), g)
	}
}

func (t Terminal) gate(verdict string, g lab.Gate) {
	paint := map[string]func(string) string{"kept": t.green, "slow": t.bold, "missed": t.red}[verdict]
	note := ""
	if g.Note != "" {
		note = t.dim("  (" + g.Note + ")")
	}
	fmt.Fprintf(t.Out, "  %s %s: %s, %s%s\n", paint(fmt.Sprintf("%-6s", verdict)), g.What, withUnit(g.Value, g.Unit), limit(g), note)
}

// Summary prints the result of the run.
func (t Terminal) Summary(r *Report) {
	fmt.Fprintf(t.Out, "\n%s in %v, %s\n", t.bold(fmt.Sprintf("%d of %d promises kept", r.Kept(), r.Gates())), r.Took(), r.Machine)
	for _, g := range r.Slow() {
		t.gate("slow", g)
	}
	for _, g := range r.Missed() {
		t.gate("missed", g)
	}
	if r.Changes != nil {
		t.changes(r.Changes)
	}
}

func (t Terminal) changes(c *Changes) {
	fmt.Fprintf(t.Out, "\n%s\n", t.bold(c.String()))
	for _, ch := range c.All {
		paint := t.green
		if ch.Worse {
			paint = t.red
		}
		fmt.Fprintf(t.Out, "  %s %s: %s → %s (%s)\n", paint(ch.Verdict()), ch.Where(), ch.Old, ch.New, ch.By)
	}
}
