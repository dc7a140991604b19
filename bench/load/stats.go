package load

import (
	"slices"
	"time"
)

// Count returns how many of the samples ended so.
func Count(samples []Sample, o Outcome) (n int) {
	for _, s := range samples {
		if s.Outcome == o {
			n++
		}
	}
	return n
}

// Between returns the samples of calls that were to begin from from on, and
// before to, none if that is earlier. Samples are in the order of their beginnings, as Run returns them.
func Between(samples []Sample, from, to time.Duration) []Sample {
	first := func(t time.Duration) int {
		i, _ := slices.BinarySearchFunc(samples, t, func(s Sample, t time.Duration) int { return int(s.At - t) })
		return i
	}
	return samples[first(from):first(max(from, to))]
}

// Times returns one time of each sample that keep holds for, sorted.
func Times(samples []Sample, of func(Sample) time.Duration, keep func(Sample) bool) []time.Duration {
	var all []time.Duration
	for _, s := range samples {
		if keep(s) {
			all = append(all, of(s))
		}
	}
	slices.Sort(all)
	return all
}

// Quantile returns the q-th quantile, q in [0, 1], of sorted values: the least
// one that a share q of them does not exceed. It is 0 for none.
func Quantile[T ~int64 | ~float64](sorted []T, q float64) T {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
