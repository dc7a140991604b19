package backend

import (
	"math"
	"time"
)

const (
	// memory is how long a peak of latency is remembered: after it, a
	// backend that is fast again costs a third of what it did.
	memory = 3 * time.Second
	// ramp is how long a new or recovered backend gets less than its share.
	ramp = 3 * time.Second
	// first is the share of it that it begins with.
	first = 0.1
	// lesson is the weight of one outcome in the share of successes.
	lesson = 1.0 / 16
	// hopeless is the least share of successes that cost reckons with, so that
	// one that fails all still has a price.
	hopeless = 0.05
)

// Past is what is known of a backend's latency and successes.
type Past struct {
	Latency time.Duration // of what succeeded: its peak, decayed; 0: unknown
	At      time.Duration // when it was last measured
	Bound   time.Duration // how long it has been waited for in vain
	BoundAt time.Duration // when
	Success float64       // share of attempts, the last ones weighing most
	Since   time.Duration // when it was new, or recovered
}

// Unknown returns the past of a backend that is new, or has recovered.
func Unknown(now time.Duration) Past { return Past{Success: 1, Since: now, At: now} }

// Measured returns the past after an attempt that took so long to succeed.
// A latency above the peak is the peak; one below lets it decay.
func (p Past) Measured(now, took time.Duration) Past {
	took = max(took, 1)
	switch {
	case p.Latency == 0 || took >= p.Latency:
		p.Latency = took
	default:
		w := faded(now - p.At)
		p.Latency = max(took, time.Duration(float64(p.Latency)*w+float64(took)*(1-w)))
	}
	p.At = max(p.At, now)
	return p
}

// faded is what is left of a peak after that time.
func faded(since time.Duration) float64 {
	return math.Exp(-float64(max(0, since)) / float64(memory))
}

// AtLeast returns the past after an attempt that did not succeed in so long:
// it was cancelled, ran out of time, or failed. It costs as if it had taken that
// long, if that is longer than any that succeeded; but it is no latency.
func (p Past) AtLeast(now, took time.Duration) Past {
	if took > p.bound(now) {
		p.Bound, p.BoundAt = took, now
	}
	return p
}

// Waiting returns the past while an attempt has been waiting for so long. One that
// waits for longer than any has taken is likely to wait for as long again.
func (p Past) Waiting(now, waited time.Duration) Past {
	if p.Latency == 0 || waited <= p.Latency {
		return p
	}
	return p.AtLeast(now, 2*waited)
}

// Slow reports whether a backend is slow beside another.
func (p Past) Slow(now time.Duration, other Past) bool {
	return other.Latency > 0 && max(p.Latency, p.bound(now)) > 2*other.Latency
}

func (p Past) bound(now time.Duration) time.Duration {
	if p.Bound == 0 {
		return 0
	}
	return time.Duration(float64(p.Bound) * faded(now-p.BoundAt))
}

// Succeeded returns the past after an attempt that succeeded or failed. How fast
// it failed is no latency.
func (p Past) Succeeded(ok bool) Past {
	got := 0.0
	if ok {
		got = 1
	}
	p.Success += lesson * (got - p.Success)
	return p
}

// Share returns what share of its share a backend gets, beside one that is well:
// one that fails gets less, and one that is new, or has recovered, does not get
// all at once. It is for chance to see to. Were it a factor of the cost, all
// calls would go to one backend until it fails as much as the other: those short
// of capacity would be overrun in turn.
func (p Past) Share(now time.Duration) float64 {
	s := max(p.Success, hopeless)
	return s * s * s * min(1, max(first, float64(now-p.Since)/float64(ramp)))
}

// cost is what an attempt costs where so many are in flight. If the latency is
// not known, it is another's.
func (p Past) cost(now time.Duration, inFlight int64, other time.Duration) float64 {
	latency := p.Latency
	if latency == 0 {
		latency = max(other, 1)
	}
	latency = max(latency, p.bound(now))
	return float64(latency) * float64(max(0, inFlight)+1)
}

// Cheaper reports whether an attempt costs less with p, where n are in flight,
// than with q.
func Cheaper(now time.Duration, p Past, n int64, q Past, m int64) bool {
	return p.cost(now, n, q.Latency) < q.cost(now, m, p.Latency)
}
