package backend

import (
	"math"
	"sync/atomic"
	"time"
)

// Meter measures one backend. Of updates at the same time one may be lost, which
// an average does not mind; nothing waits.
type Meter struct {
	latency, at, since atomic.Int64
	bound, boundAt     atomic.Int64
	success            atomic.Uint64 // bits of a float64

	inFlight   atomic.Int64
	unanswered atomic.Int32 // attempts begun since it last answered
	quietSince atomic.Int64 // the first of them began
	heard      atomic.Int64 // when it last answered
	waiting    atomic.Int32 // attempts asked and not over …
	waitSince  atomic.Int64 // … since when there has been one
}

// Restart forgets the past: the backend is new, or has recovered.
func (m *Meter) Restart(now time.Duration) {
	m.store(Unknown(now))
	m.unanswered.Store(0)
}

// Past returns what is known.
func (m *Meter) Past() Past {
	return Past{
		Latency: time.Duration(m.latency.Load()),
		At:      time.Duration(m.at.Load()),
		Bound:   time.Duration(m.bound.Load()),
		BoundAt: time.Duration(m.boundAt.Load()),
		Success: math.Float64frombits(m.success.Load()),
		Since:   time.Duration(m.since.Load()),
	}
}

func (m *Meter) store(p Past) {
	m.latency.Store(int64(p.Latency))
	m.at.Store(int64(p.At))
	m.bound.Store(int64(p.Bound))
	m.boundAt.Store(int64(p.BoundAt))
	m.success.Store(math.Float64bits(p.Success))
	m.since.Store(int64(p.Since))
}

// Enter counts an attempt in flight, until Leave.
func (m *Meter) Enter() { m.inFlight.Add(1) }

// Leave is the end of what Enter counted.
func (m *Meter) Leave() { m.inFlight.Add(-1) }

// InFlight returns how many attempts are.
func (m *Meter) InFlight() int64 { return m.inFlight.Load() }

// Ask notes that an attempt began that will be answered soon, if all is well, until
// Over.
func (m *Meter) Ask(now time.Duration) {
	if m.waiting.Load() <= 0 {
		m.waitSince.Store(int64(now))
	}
	m.waiting.Add(1)
	if m.unanswered.Add(1) == 1 {
		m.quietSince.Store(int64(now))
	}
}

// Over is the end of what Ask noted, answered or not.
func (m *Meter) Over() { m.waiting.Add(-1) }

// Heard notes that the backend has answered something.
func (m *Meter) Heard(now time.Duration) {
	if m.unanswered.Load() != 0 {
		m.unanswered.Store(0)
	}
	m.heard.Store(int64(now))
}

// LastHeard returns when the backend last answered.
func (m *Meter) LastHeard() time.Duration { return time.Duration(m.heard.Load()) }

// Pending is [Pending] of the attempts not answered.
func (m *Meter) Pending() bool { return Pending(m.unanswered.Load()) }

// QuietSince returns when the first of the attempts began that are not answered.
func (m *Meter) QuietSince() time.Duration { return time.Duration(m.quietSince.Load()) }

// Expected returns the past, and what an attempt that waits for its answer adds to it:
// a backend that has become slow is so before it answers for the first time. Nobody
// waits for those that were given up.
func (m *Meter) Expected(now time.Duration) Past {
	p := m.Past()
	if m.unanswered.Load() == 0 || m.waiting.Load() <= 0 {
		return p
	}
	return p.Waiting(now, now-time.Duration(max(m.quietSince.Load(), m.waitSince.Load())))
}

// Quiet reports whether the backend is silent. Once nothing is in flight any
// more, it is not: what it was asked has failed, and that is another's to judge.
func (m *Meter) Quiet(now time.Duration) bool {
	return m.Pending() && m.inFlight.Load() > 0 &&
		Quiet(now-time.Duration(m.quietSince.Load()), time.Duration(m.latency.Load()))
}

// Succeeded is [Past.Succeeded] and, if it took long enough to be known,
// [Past.Measured].
func (m *Meter) Succeeded(now, took time.Duration) {
	p := m.Past()
	if took > 0 {
		p = p.Measured(now, took)
		m.latency.Store(int64(p.Latency))
		m.at.Store(int64(p.At))
	}
	if p.Success < 1-rounding {
		m.success.Store(math.Float64bits(p.Succeeded(true).Success))
	}
}

// FastAgain begins anew, as with a backend that has recovered, if an attempt on one
// that had been left out for its cost took at most half of the latency that was
// reckoned with. It reports whether it did: memory of a peak is for backends that
// are asked often, and would keep this one out for as long as it lasts.
func (m *Meter) FastAgain(now, took time.Duration) bool {
	p := m.Past()
	if 2*took > max(p.Latency, p.bound(now)) {
		return false
	}
	m.latency.Store(int64(took))
	m.at.Store(int64(now))
	m.bound.Store(0)
	m.since.Store(int64(now))
	return true
}

// Failed books a failure after that time.
func (m *Meter) Failed(now, took time.Duration) {
	m.success.Store(math.Float64bits(m.Past().Succeeded(false).Success))
	m.AtLeast(now, took)
}

// AtLeast is [Past.AtLeast].
func (m *Meter) AtLeast(now, took time.Duration) {
	p := m.Past()
	if q := p.AtLeast(now, took); q != p {
		m.boundAt.Store(int64(q.BoundAt))
		m.bound.Store(int64(q.Bound))
	}
}
