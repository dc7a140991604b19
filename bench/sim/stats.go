package sim

import (
	"fmt"
	"math"
	"slices"

	"github.com/astra-grpc/astra/bench/lab"
)

// sample is one value of each trial. A trial that saw the thing never happen
// has +Inf.
type sample []float64

func (s sample) mean() float64 {
	sum := 0.0
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}

func (s sample) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func (s sample) worst() float64 { return slices.Max(s) }

// average is the mean as a cell, with the least and the most; "never" if there
// is a trial in which it never happened.
func (s sample) average() lab.Cell {
	c := number(s.mean())
	if c.Text == "" {
		c.Low, c.High = round(slices.Min(s)), round(slices.Max(s))
	}
	return c
}

var never = math.Inf(1)

// number is a value as a cell. Infinity is never, not a number what there is
// nothing to measure of; either compares as worse than any time.
func number(v float64) lab.Cell {
	switch {
	case math.IsInf(v, 0):
		return lab.Cell{Value: math.MaxFloat64, Text: "never"}
	case math.IsNaN(v):
		return lab.Cell{Value: math.MaxFloat64, Text: "–"}
	}
	return lab.Cell{Value: round(v)}
}

// round keeps five significant digits: what lies beyond is noise, and would
// make results of one seed differ between processors that round otherwise.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	scale := math.Pow(10, 4-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

func column(name, unit string, better lab.Better, digits int) lab.Column {
	return lab.Column{Name: name, Unit: unit, Better: better, Digits: digits}
}

func gate(value, limit float64, what string, args ...any) lab.Gate {
	return lab.Gate{What: fmt.Sprintf(what, args...), Value: round(value), Limit: limit}
}
