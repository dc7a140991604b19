package real

import (
	"fmt"
	"slices"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/bench/peers"
)

// spread are the values that repeats gave.
type spread []float64

func (s spread) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (s spread) mean() (sum float64) {
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}

// cell is the median, the least and the most; "–" if there is nothing.
func (s spread) cell() lab.Cell {
	if len(s) == 0 {
		return lab.Cell{Text: "–"}
	}
	return lab.Cell{Value: s.median(), Low: slices.Min(s), High: slices.Max(s)}
}

// each collects one value of each of many results.
func each[T any](of []T, value func(T) float64) spread {
	all := make(spread, len(of))
	for i, v := range of {
		all[i] = value(v)
	}
	return all
}

// window and settle are what a recovery takes: in the quarter second from a
// moment on, and in the second from it on too, lest luck count, 95 % of the
// calls are answered.
const (
	window  = 250 * time.Millisecond
	settle  = time.Second
	goodput = 0.95
)

// back returns how long after from goodput is back; ok is false if it is not
// while calls were made.
func back(samples []load.Sample, from time.Duration) (after time.Duration, ok bool) {
	if len(samples) == 0 {
		return 0, false
	}
	last := samples[len(samples)-1].At
	for _, s := range load.Between(samples, from, last-settle) {
		if good(samples, s.At, window) >= goodput && good(samples, s.At, settle) >= goodput {
			return s.At - from, true
		}
	}
	return last - settle - from, false
}

func good(samples []load.Sample, from, length time.Duration) float64 {
	in := load.Between(samples, from, from+length)
	if len(in) == 0 {
		return 0
	}
	return float64(load.Count(in, load.OK)) / float64(len(in))
}

// recovered is how long a recovery took, or that it did not come within the
// time given.
type recovered struct {
	seconds float64
	ok      bool
}

func recovery(samples []load.Sample, from time.Duration) recovered {
	after, ok := back(samples, from)
	return recovered{after.Seconds(), ok}
}

// never is the cell of a value that is at least so much.
func never(seconds float64) lab.Cell {
	return lab.Cell{Value: seconds, Text: fmt.Sprintf("> %.1f", seconds)}
}

// typical is the median recovery, never if that is one that did not come.
func typical(all []recovered) lab.Cell {
	slices.SortFunc(all, func(a, b recovered) int {
		switch {
		case a.seconds < b.seconds:
			return -1
		case a.seconds > b.seconds:
			return 1
		}
		return 0
	})
	if !all[len(all)/2].ok {
		return never(all[len(all)/2].seconds)
	}
	return each(all, seconds).cell()
}

// average and worst are over all; each is never if one recovery did not come.
func average(all []recovered) lab.Cell {
	if mean := each(all, seconds).mean(); missing(all) == 0 {
		return lab.Cell{Value: mean}
	} else {
		return never(mean)
	}
}

func worst(all []recovered) lab.Cell {
	if most := slices.Max(each(all, seconds)); missing(all) == 0 {
		return lab.Cell{Value: most}
	} else {
		return never(most)
	}
}

func seconds(r recovered) float64 { return r.seconds }

func missing(all []recovered) (n int) {
	for _, r := range all {
		if !r.ok {
			n++
		}
	}
	return n
}

// lags are by how much the generator was late, sorted.
func lags(samples []load.Sample) []time.Duration {
	return load.Times(samples, load.Sample.Lag, func(load.Sample) bool { return true })
}

// lag notes in the result how well the generator kept its schedule in all runs.
func lag[T any](r *lab.Result, results [][][]T, of func(T) []time.Duration) *lab.Result {
	var all []time.Duration
	for _, some := range results {
		for _, runs := range some {
			for _, run := range runs {
				all = append(all, of(run)...)
			}
		}
	}
	slices.Sort(all)
	ms := func(q float64) float64 { return float64(load.Quantile(all, q)) / 1e6 }
	told := fmt.Sprintf("The generator was late by %.2f ms in the median, %.2f ms at p99, %.1f ms at most, over %d calls.", ms(0.5), ms(0.99), ms(1), len(all))
	if load.Quantile(all, 0.99) > busy {
		r.Busy = true
		told += " That is much: the machine had other things to do, so take these values with care."
	}
	r.Notes = append(r.Notes, told)
	return r
}

// busy is the lateness at p99 of a machine that is not at rest.
const busy = 20 * time.Millisecond

func contenders(clients []peers.Client) (all []lab.Contender) {
	for _, c := range clients {
		all = append(all, c.Contender)
	}
	return all
}

func rowOf(c peers.Client, cells ...lab.Cell) lab.Row {
	return lab.Row{Name: c.Name, Ours: c.Ours, Baseline: c.Baseline, Cells: cells}
}
