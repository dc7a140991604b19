package report

import (
	"math"

	"github.com/astra-grpc/astra/bench/lab"
)

// extent returns the least and the most of all points. Bars and lines on a
// linear axis begin at 0.
func extent(c lab.Chart) (x0, x1, y0, y1 float64) {
	x0, y0 = math.Inf(1), math.Inf(1)
	x1, y1 = math.Inf(-1), math.Inf(-1)
	for _, s := range c.Series {
		for _, p := range s.Points {
			if c.LogX && p[0] <= 0 || c.LogY && p[1] <= 0 {
				continue // no place on the axis
			}
			x0, x1 = min(x0, p[0]), max(x1, p[0])
			y0, y1 = min(y0, p[1]), max(y1, p[1])
		}
	}
	if math.IsInf(x0, 1) {
		return 0, 1, 0, 1
	}
	if !c.LogY {
		y0, y1 = min(y0, 0), max(y1, 0)
	}
	return x0, x1, y0, y1
}

func scale(v float64, log bool) float64 {
	if log {
		return math.Log10(max(v, 1e-12))
	}
	return v
}

// axis maps values to places.
type axis struct {
	low, high  float64 // of the values shown
	log        bool
	begin, end float64 // places
	ticks      []float64
}

// newAxis covers low to high; rounded widens it to the next ticks.
func newAxis(low, high float64, log, rounded bool, begin, end float64, most int) axis {
	a := axis{low: low, high: high, log: log, begin: begin, end: end}
	if a.high <= a.low {
		a.high = a.low + 1
	}
	if log {
		a.logTicks(most)
		return a
	}
	step := niceStep((a.high - a.low) / float64(most))
	if rounded {
		a.low, a.high = math.Floor(a.low/step)*step, math.Ceil(a.high/step-1e-9)*step
	}
	for i := math.Ceil(a.low/step - 1e-9); i*step <= a.high+step*1e-9; i++ {
		a.ticks = append(a.ticks, i*step)
	}
	return a
}

// logTicks are 1, 2 and 5 of every decade, or the decades alone if those are
// many.
func (a *axis) logTicks(most int) {
	for _, among := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
		a.ticks = a.ticks[:0]
		for e := math.Floor(math.Log10(a.low)); e <= math.Ceil(math.Log10(a.high)); e++ {
			for _, m := range among {
				if v := m * math.Pow(10, e); v >= a.low*0.999 && v <= a.high*1.001 {
					a.ticks = append(a.ticks, v)
				}
			}
		}
		if len(a.ticks) <= most {
			return
		}
	}
}

// niceStep is the least of 1, 2, 2.5 and 5 times a power of ten that is not
// below v.
func niceStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*power >= v*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

func (a axis) at(v float64) float64 {
	low, high := scale(a.low, a.log), scale(a.high, a.log)
	if high == low {
		return a.begin
	}
	return a.begin + (scale(v, a.log)-low)/(high-low)*(a.end-a.begin)
}

// tick is a tick's text.
func tick(v float64) string {
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	for digits := range 5 {
		if scaled := v * math.Pow10(digits); math.Abs(scaled-math.Round(scaled)) < 1e-6*max(math.Abs(scaled), 1) {
			return number(v, digits)
		}
	}
	return figure(v)
}
