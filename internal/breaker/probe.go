package breaker

import (
	"math"
	"time"
)

// probe is a slot among those for probes; serial 0 is none.
type probe struct {
	slot   uint32
	serial uint32
}

type probeSlot struct {
	serial  uint32 // 0: free
	expires time.Duration
}

// due reports whether an open breaker may probe: because its time is over or,
// sooner, because enough calls have been refused.
func (m *Machine) due(now time.Duration) bool {
	return now >= m.until || m.forced == NotForced && m.earned(m.cfg.Probes) && now >= m.nextEarlyProbe
}

// earned reports whether the calls refused since the last probe, or the
// opening, pay for so many probes. Probes that would be a burden at low traffic
// are negligible at high traffic, where late detection of a recovered server costs
// most.
func (m *Machine) earned(probes int) bool {
	return float64(m.refused)*m.cfg.ProbeShare >= float64(probes)
}

// takeProbeSlot finds a slot for a probe. Probes of an earlier half-open period
// that still run count too, or there would be more than Probes of them; but
// calls refused meanwhile earn one more, lest probes that hang keep a server
// that is back from being asked. Before the open time is over a slot is not
// enough: what gave it back may have been a probe that said nothing.
func (m *Machine) takeProbeSlot(now time.Duration) (p probe, extra, ok bool) {
	busy, free := 0, -1
	for i, p := range m.probeSlots {
		if p.serial != 0 && p.expires > now {
			busy++
		} else if free < 0 {
			free = i
		}
	}
	extra = busy >= m.cfg.Probes || m.halfOpenedEarly && m.earlyProbesLeft == 0
	switch {
	case extra && !(m.earned(1) && now >= m.nextEarlyProbe):
		return probe{}, false, false
	case !extra && m.halfOpenedEarly:
		m.earlyProbesLeft--
	}
	if free < 0 {
		free = len(m.probeSlots)
		m.probeSlots = append(m.probeSlots, probeSlot{})
	}
	m.serial++
	m.probeSlots[free] = probeSlot{m.serial, later(now, m.cfg.ProbeTTL)}
	m.refused = 0
	m.nextEarlyProbe = later(now, m.earlyGap)
	return probe{uint32(free), m.serial}, extra, true
}

// Refuses reports whether [Machine.Admit] would refuse a call, which counts as
// refused then; if it would not, nothing changes.
func (m *Machine) Refuses(now time.Duration) bool {
	switch m.state {
	case Closed:
		return false
	case Open:
		if m.due(now) {
			return false
		}
	case HalfOpen:
		busy := 0
		for _, p := range m.probeSlots {
			if p.serial != 0 && p.expires > now {
				busy++
			}
		}
		early := m.halfOpenedEarly && now < m.until
		if busy < m.cfg.Probes && !(early && m.earlyProbesLeft == 0) || m.earned(1) && now >= m.nextEarlyProbe {
			return false
		}
	}
	m.refused++
	return true
}

// free gives a probe's slot back, unless it has expired and is another's.
func (m *Machine) free(p probe) {
	if p.serial != 0 && m.probeSlots[p.slot].serial == p.serial {
		m.probeSlots[p.slot] = probeSlot{}
	}
}

// Wait returns after how long it makes sense to try again: the rest of the open
// time; while probes are under way, which may end at any moment, OpenFor, or
// less if one expires before. Further calls that are refused may shorten it.
func (m *Machine) Wait(now time.Duration) time.Duration {
	var wait time.Duration
	var probes int
	switch m.state {
	case Open:
		wait, probes = m.until-now, m.cfg.Probes
	case HalfOpen:
		wait, probes = m.cfg.OpenFor, 1
		for _, p := range m.probeSlots {
			if p.serial != 0 && p.expires > now {
				wait = min(wait, p.expires-now)
			}
		}
		if m.halfOpenedEarly {
			wait = min(wait, m.until-now)
		}
	default:
		return 0
	}
	if m.forced == NotForced && m.earned(probes) {
		wait = min(wait, m.nextEarlyProbe-now)
	}
	return max(0, wait)
}

const (
	// openJitter is how far an open time strays from its mean, to either side, so
	// that clients that saw the same outage do not all probe at once.
	openJitter = 0.2
	// minEarlyGap is the least time between probes that refused calls have earned,
	// as a share of OpenFor, however busy the client.
	minEarlyGap = 0.1
	// minShare is the least ProbeShare by which a success that comes late makes the
	// next call a probe.
	minShare = 1e-3
)

// openTime doubles with every opening in a row, up to most.
func openTime(first, most time.Duration, openings int, u float64) time.Duration {
	d := first
	for range openings {
		if d >= most-d { // 2d ≥ most, without overflow
			d = most
			break
		}
		d *= 2
	}
	low := float64(d) * (1 - openJitter) // as floats, which do not overflow
	high := min(float64(d)*(1+openJitter), float64(most))
	return min(most, time.Duration(low+(high-low)*u))
}

// later does not run past the end of time.
func later(now, d time.Duration) time.Duration {
	if t := now + d; t >= now {
		return t
	}
	return math.MaxInt64
}

// Skipped counts calls that went elsewhere without asking [Machine.Admit]: they
// earn probes, as refused ones do.
func (m *Machine) Skipped(n int) {
	if m.state != Closed {
		m.refused += n
	}
}
