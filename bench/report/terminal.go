package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/astra-grpc/astra/bench/lab"
)

// Terminal prints scenarios as they end. Color paints ours and gates.
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
func (t Terminal) ours(s string) string  { return t.paint("36", s) }

// Scenario prints a scenario's tables and gates.
func (t Terminal) Scenario(s Scenario) {
	fmt.Fprintf(t.Out, "\n%s  %s\n%s\n", t.bold(s.Name), s.Title, t.dim(fmt.Sprintf("%s, %.0f s", s.Kind(), s.Seconds)))
	for _, table := range s.Tables {
		t.table(table)
	}
	fmt.Fprintln(t.Out)
	for _, g := range s.Gates {
		t.gate(g)
	}
}

func (t Terminal) gate(g lab.Gate) {
	verdict := t.green("kept  ")
	if !g.Holds() {
		verdict = t.red("missed")
	}
	note := ""
	if g.Note != "" {
		note = t.dim("  (" + g.Note + ")")
	}
	fmt.Fprintf(t.Out, "  %s %s: %s, %s%s\n", verdict, g.What, withUnit(g.Value, g.Unit), limit(g), note)
}

// table prints a table; ours are marked by »; a cell of ours that a peer beats
// by *, and who does, beneath.
func (t Terminal) table(table lab.Table) {
	lines := [][]string{{table.Title}}
	rivals := make([]string, len(table.Columns))
	for _, c := range table.Columns {
		lines[0] = append(lines[0], heading(c))
	}
	for i, row := range table.Rows {
		line := []string{mark(row) + row.Name}
		for j, cell := range row.Cells {
			s := text(table.Columns[j], cell)
			if name, value, ok := rival(table, i, j); ok {
				s += "*" // the rival is the same for all of ours
				rivals[j] = fmt.Sprintf("%s: %s has %s", table.Columns[j].Name, name, value)
			}
			line = append(line, s)
		}
		lines = append(lines, line)
	}
	fmt.Fprintln(t.Out)
	widths := t.header(lines)
	for i, line := range lines[1:] {
		s := aligned(line, widths)
		if table.Rows[i].Ours {
			s = t.ours(s)
		}
		fmt.Fprintln(t.Out, s)
	}
	for _, r := range rivals {
		if r != "" {
			fmt.Fprintln(t.Out, t.dim("  * "+r))
		}
	}
}

func mark(row lab.Row) string {
	if row.Ours {
		return "» "
	}
	return "  "
}

// headWidth is how wide a column may be because of its heading alone.
const headWidth = 14

// header prints the headings, on several lines where they are long, and returns
// the columns' widths.
func (t Terminal) header(lines [][]string) []int {
	widths := make([]int, len(lines[0]))
	for _, line := range lines[1:] {
		for i, s := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(s)+1)
		}
	}
	var heads [][]string
	height := 0
	for i, s := range lines[0] {
		folded := []string{s}
		if i > 0 {
			folded = fold(s, headWidth)
		}
		for _, s := range folded {
			widths[i] = max(widths[i], utf8.RuneCountInString(s))
		}
		heads = append(heads, folded)
		height = max(height, len(folded))
	}
	for y := range height {
		line := make([]string, len(heads))
		for i, folded := range heads {
			if at := y - (height - len(folded)); at >= 0 { // at the bottom
				line[i] = folded[at]
			}
			if i > 0 && widths[i] > utf8.RuneCountInString(line[i]) && !strings.HasSuffix(line[i], " ") {
				line[i] += " " // over the figures, not over their marks
			}
		}
		fmt.Fprintln(t.Out, t.bold(aligned(line, widths)))
	}
	return widths
}

// fold breaks a text into lines at spaces.
func fold(s string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// aligned is a line of a table: the first column left, figures right, their
// marks beyond.
func aligned(cells []string, widths []int) string {
	var b strings.Builder
	for i, s := range cells {
		pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(s)))
		switch {
		case i == 0:
			b.WriteString(s + pad)
		case strings.HasSuffix(s, "*") || pad == "" || strings.HasSuffix(s, " "):
			b.WriteString("  " + pad + s)
		default:
			b.WriteString("  " + pad[1:] + s + " ")
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// Summary prints what it came to.
func (t Terminal) Summary(r *Report) {
	missed := r.Missed()
	fmt.Fprintf(t.Out, "\n%s in %v, %s\n", t.bold(fmt.Sprintf("%d of %d promises kept", r.gates()-len(missed), r.gates())), r.Took(), r.Machine)
	for _, g := range missed {
		t.gate(g)
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
