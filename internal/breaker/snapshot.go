package breaker

import "time"

// Snapshot is what of a breaker outlives its process. A closed one leaves
// nothing: it counts anew.
type Snapshot struct {
	Left     time.Duration // of the open time; 0: it is over, the next call is a probe
	Openings int           // in a row, without closing between them
	Forced   Force         // for Left; NotForced: it is as it was judged
}

// Snapshot returns what is worth keeping. ok is false if the breaker is closed.
func (m *Machine) Snapshot(now time.Duration) (s Snapshot, ok bool) {
	switch {
	case m.held(now):
		return Snapshot{Left: m.release - now, Openings: 1, Forced: ForcedClosed}, true
	case m.state == Closed:
		return Snapshot{}, false
	}
	s.Openings = max(1, m.openings)
	if m.state == Open {
		s.Left = max(0, m.until-now)
		if s.Left > 0 {
			s.Forced = m.forced
		}
	}
	return s, true
}

// Restore opens a closed breaker for what is left, MaxOpenFor at most; probes
// follow, and if they fail, open times grow from where they were. One that is
// not closed knows better, and stays as it is.
func (m *Machine) Restore(now time.Duration, s Snapshot, why Reason) Transition {
	switch {
	case s.Forced != NotForced && s.Left > 0:
		return m.Force(now, s.Left, s.Forced, why)
	case s.Forced == ForcedClosed || m.state != Closed || m.held(now):
		return Transition{}
	}
	m.until = now + min(max(0, s.Left), m.cfg.MaxOpenFor)
	m.openings = min(max(1, s.Openings), maxOpenings)
	m.refused, m.halfOpenedEarly, m.cutOff = 0, false, false
	m.earlyGap = openTime(time.Duration(minEarlyGap*float64(m.cfg.OpenFor)), m.cfg.OpenFor, 0, 0.5)
	m.nextEarlyProbe = later(now, m.earlyGap)
	return m.enter(now, Open, why)
}

// maxOpenings doubles any open time past any limit.
const maxOpenings = 64

// Hint leaves a closed breaker one failure short of opening. A success takes
// the advice back; a breaker that is not closed counts anew once it is. Nobody
// has said how long the calls waited that failed elsewhere.
func (m *Machine) Hint() {
	if m.calls.row < m.cfg.Consecutive-1 {
		m.calls.row, m.calls.vain = m.cfg.Consecutive-1, never
	}
}

// Snapshot is [Machine.Snapshot]. Of a closed breaker, the usual case, it only
// reads.
func (g *Guard) Snapshot(now time.Duration) (Snapshot, bool) {
	if _, closed := g.AdmitClosed(); closed && g.Forced(now) == NotForced {
		return Snapshot{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.Snapshot(now)
}

// Restore is [Machine.Restore].
func (g *Guard) Restore(now time.Duration, s Snapshot, why Reason) Transition {
	g.mu.Lock()
	defer g.mu.Unlock()
	change := g.m.Restore(now, s, why)
	g.publish()
	return change
}

// Hint is [Machine.Hint]. What succeeded before takes nothing back.
func (g *Guard) Hint(now time.Duration) {
	before := g.collect(now)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.book(&before)
	g.m.Hint()
}
