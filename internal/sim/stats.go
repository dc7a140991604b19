package sim

import (
	"math"
	"slices"
	"time"
)

// Between returns the calls that came from a time to another.
func Between(all []Sample, from, to time.Duration) []Sample {
	at := func(t time.Duration) int {
		i, _ := slices.BinarySearchFunc(all, t, func(s Sample, t time.Duration) int { return int(s.At - t) })
		return i
	}
	return all[at(from):at(max(to, from))]
}

// Success is the share of calls that succeeded; 1 of none.
func Success(all []Sample) float64 {
	return share(all, func(s Sample) bool { return s.OK }, 1)
}

// RefusedShare is the share of calls that breaker or limit refused.
func RefusedShare(all []Sample) float64 {
	return share(all, func(s Sample) bool { return s.Refused }, 0)
}

func share(all []Sample, is func(Sample) bool, ofNone float64) float64 {
	n := 0
	for _, s := range all {
		if is(s) {
			n++
		}
	}
	if len(all) == 0 {
		return ofNone
	}
	return float64(n) / float64(len(all))
}

// AttemptsPerCall is how many each made, on average.
func AttemptsPerCall(all []Sample) float64 {
	n := 0
	for _, s := range all {
		n += s.Attempts
	}
	return float64(n) / float64(max(len(all), 1))
}

// Quantile is how long calls took, at most, of the fastest share q.
func Quantile(all []Sample, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	took := make([]time.Duration, 0, len(all))
	for _, s := range all {
		took = append(took, s.Took)
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}

// The windows that recovery is judged by, as in the bench.
const (
	quarter  = 250 * time.Millisecond
	goodput  = 0.95
	steadier = time.Second
)

// Back returns how long after a time 95 % of the calls succeed again, in the
// quarter second and in the second from then on; ok is false if that never is.
func (r *Result) Back(from time.Duration) (after time.Duration, ok bool) {
	for _, s := range Between(r.Samples, from, math.MaxInt64) {
		if s.At+steadier > r.Setup.Length {
			break
		}
		if s.OK && Success(Between(r.Samples, s.At, s.At+quarter)) >= goodput && Success(Between(r.Samples, s.At, s.At+steadier)) >= goodput {
			return s.At - from, true
		}
	}
	return 0, false
}
