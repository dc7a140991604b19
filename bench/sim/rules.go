package sim

import (
	"math"
	"time"
)

// rule says when a closed breaker is to open. It hears of every call in turn.
type rule interface {
	reset()
	add(now time.Duration, failed bool) (opens bool)
}

// row opens at so many failures in a row.
type row struct{ want, have int }

func (r *row) reset() { r.have = 0 }
func (r *row) add(_ time.Duration, failed bool) bool {
	if !failed {
		r.have = 0
		return false
	}
	r.have++
	return r.have >= r.want
}

// share opens at a share of failures among the calls of a window, once these
// are enough. The window slides in tenths.
type share struct {
	of     float64
	calls  int
	window time.Duration
	every  bool // also when a success is counted

	epochs         [10]int64
	counts, failed [10]int
}

func (r *share) reset() {
	for i := range r.epochs {
		r.epochs[i] = math.MinInt64
	}
}

func (r *share) add(now time.Duration, fails bool) bool {
	e := int64(now / (r.window / 10))
	slot := e % 10
	if r.epochs[slot] != e {
		r.epochs[slot], r.counts[slot], r.failed[slot] = e, 0, 0
	}
	r.counts[slot]++
	if fails {
		r.failed[slot]++
	} else if !r.every {
		return false
	}
	calls, bad := 0, 0
	for i, at := range r.epochs {
		if at > e-10 {
			calls += r.counts[i]
			bad += r.failed[i]
		}
	}
	return calls >= r.calls && float64(bad) >= r.of*float64(calls)
}

// last opens at a share of failures among the last so many calls.
type last struct {
	of    float64
	ring  []bool
	calls int
	bad   int
}

func (r *last) reset() {
	clear(r.ring)
	r.calls, r.bad = 0, 0
}

func (r *last) add(_ time.Duration, fails bool) bool {
	i := r.calls % len(r.ring)
	if r.ring[i] {
		r.bad--
	}
	r.ring[i] = fails
	if fails {
		r.bad++
	}
	r.calls++
	return r.calls >= len(r.ring) && float64(r.bad) >= r.of*float64(len(r.ring))
}

// cusum opens when failures, less the weight of the successes since, come to a
// limit; below zero they do not go.
type cusum struct{ weight, limit, sum float64 }

// likelihood is the cusum that tests the failure rate p0 against p1, opening at
// the logarithm h of the likelihood ratio.
func likelihood(p0, p1, h float64) *cusum {
	up, down := math.Log(p1/p0), math.Log((1-p0)/(1-p1))
	return &cusum{weight: down / up, limit: h / up}
}

func (r *cusum) reset() { r.sum = 0 }
func (r *cusum) add(_ time.Duration, failed bool) bool {
	if !failed {
		r.sum = math.Max(0, r.sum-r.weight)
		return false
	}
	r.sum++
	return r.sum >= r.limit
}

// any opens when one of its rules does.
type anyOf []rule

func (all anyOf) reset() {
	for _, r := range all {
		r.reset()
	}
}

func (all anyOf) add(now time.Duration, failed bool) (opens bool) {
	for _, r := range all {
		opens = r.add(now, failed) || opens
	}
	return opens
}
