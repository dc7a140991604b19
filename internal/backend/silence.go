package backend

import "time"

const (
	// unheard is how many attempts must have begun since a backend last
	// answered for its silence to mean anything.
	unheard = 3
	// usual is how many times the peak of latency silence must last, at least …
	usual = 4
	// … and shortest how long.
	shortest = 50 * time.Millisecond
)

// Pending reports whether so many attempts that began since the last answer may
// be silence. It is the cheap half of [Quiet].
func Pending(n int32) bool { return n >= unheard }

// Quiet reports whether a backend that answered nothing for so long is silent:
// frozen, cut off, or hanging. Where the latency is not known, nothing is.
func Quiet(silence, latency time.Duration) bool {
	return latency > 0 && silence >= max(shortest, usual*latency)
}
