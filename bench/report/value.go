package report

import (
	"math"
	"strconv"
	"strings"

	"github.com/astra-grpc/astra/bench/lab"
)

// notMeasured is a cell's text where there is nothing to compare.
const notMeasured = "–"

// number formats a value with the digits given, in groups of three.
func number(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-") // no negative zero
	}
	whole, rest, _ := strings.Cut(s, ".")
	sign := ""
	if strings.HasPrefix(whole, "-") {
		sign, whole = "−", whole[1:]
	}
	for i := len(whole) - 3; i > 0 && len(whole) > 4; i -= 3 {
		whole = whole[:i] + "\u202f" + whole[i:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + whole + rest
}

// figure formats a value of unknown size with the three or so digits that say
// something.
func figure(v float64) string {
	digits := 3
	switch a := math.Abs(v); {
	case a >= 1000:
		digits = 0
	case a >= 100:
		digits = 1
	case a >= 1:
		digits = 2
	}
	s := number(v, digits)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// text is a cell as a table shows it.
func text(c lab.Column, cell lab.Cell) string {
	if cell.Text != "" {
		return cell.Text
	}
	return number(cell.Value, c.Digits)
}

// between is the spread of a cell's repeats, "" if there is none to see.
func between(c lab.Column, cell lab.Cell) string {
	if cell.Text != "" || cell.Low == 0 && cell.High == 0 {
		return ""
	}
	low, high := number(cell.Low, c.Digits), number(cell.High, c.Digits)
	if low == high {
		return ""
	}
	return low + "–" + high
}

// heading is a column's name with its unit.
func heading(c lab.Column) string {
	if c.Unit == "" {
		return c.Name
	}
	return c.Name + ", " + c.Unit
}

// withUnit is a gate's value or limit.
func withUnit(v float64, unit string) string {
	switch unit {
	case "":
		return figure(v)
	case "×":
		return "×" + figure(v)
	}
	return figure(v) + " " + unit
}

// limit is a gate's limit in words.
func limit(g lab.Gate) string {
	if g.AtLeast {
		return "at least " + withUnit(g.Limit, g.Unit)
	}
	return "at most " + withUnit(g.Limit, g.Unit)
}

// beats reports whether a value is better than another, to the digits that are
// shown. Nothing beats what is not measured, and is beaten by it.
func beats(c lab.Column, a, b lab.Cell) bool {
	if c.Better == lab.Neither || a.Text == notMeasured || b.Text == notMeasured {
		return false
	}
	if aNever, bNever := a.Text != "", b.Text != ""; aNever || bNever {
		return !aNever && bNever
	}
	scale := math.Pow10(c.Digits)
	x, y := math.Round(a.Value*scale), math.Round(b.Value*scale)
	if c.Better == lab.Lower {
		return x < y
	}
	return x > y
}

// rival is the peer that does best in a column, if it beats the cell of ours.
func rival(t lab.Table, row, column int) (name, value string, ok bool) {
	ours := t.Rows[row]
	if !ours.Ours || column >= len(ours.Cells) {
		return "", "", false
	}
	best, c := ours.Cells[column], t.Columns[column]
	for _, peer := range t.Rows {
		if peer.Ours || peer.Baseline || column >= len(peer.Cells) || !beats(c, peer.Cells[column], best) {
			continue
		}
		best = peer.Cells[column]
		name, value, ok = peer.Name, text(c, best), true
	}
	return name, value, ok
}
