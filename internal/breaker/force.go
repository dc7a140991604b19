package breaker

import "time"

// Force is what somebody has made of a breaker, for a time.
type Force uint8

// What can be made of it.
const (
	NotForced    Force = iota
	ForcedOpen         // no call passes, and none probes
	ForcedClosed       // all do, and none is counted
)

// String returns "", "open" or "closed".
func (f Force) String() string {
	switch f {
	case ForcedOpen:
		return "open"
	case ForcedClosed:
		return "closed"
	}
	return ""
}

// Force holds the breaker open or closed for a time, whatever calls say. After it
// an open one probes, as after any open time; a closed one counts anew. Why is
// [ByHand], or [Restored] for what was so in an earlier process.
func (m *Machine) Force(now, d time.Duration, f Force, why Reason) Transition {
	end := later(now, d)
	m.cutOff, m.outlast = false, 0
	to := Closed
	if f == ForcedOpen {
		to, m.until = Open, end
		m.earlyGap = openTime(time.Duration(minEarlyGap*float64(m.cfg.OpenFor)), m.cfg.OpenFor, 0, 0.5)
	} else {
		m.openings = 0
	}
	t := m.enter(now, to, why)
	m.forced, m.release = f, end
	return t
}

// Release ends what Force began, as if its time were over. One that is not forced
// but open probes at the next call.
func (m *Machine) Release(now time.Duration) Transition {
	switch m.state {
	case Open:
		m.until, m.probeSuccesses, m.halfOpenedEarly = now, 0, false
		return m.enter(now, HalfOpen, ByHand)
	case Closed:
		if m.held(now) {
			m.calls = newDetector(&m.cfg)
			return m.enter(now, Closed, ByHand)
		}
	}
	return Transition{}
}

// held reports whether a closed breaker is held so. The hold that is over is
// forgotten.
func (m *Machine) held(now time.Duration) bool {
	if m.state != Closed || m.forced != ForcedClosed {
		return false
	}
	if now < m.release {
		return true
	}
	m.forced = NotForced
	m.calls = newDetector(&m.cfg)
	return false
}

// Standing is where a breaker stands.
type Standing struct {
	State    State
	Since    time.Duration // the last transition; 0: there was none
	Why      Reason        // of that
	Opened   time.Duration // when it was closed last; 0 while it is
	Cause    Reason        // why it opened then
	Until    time.Duration // end of the open time
	Openings int           // in a row, without closing between them
	Forced   Force
	Release  time.Duration // when Forced ends
	CutOff   bool          // it is open because there was no connection

	gen uint64
}

func (m *Machine) standing() *Standing {
	return &Standing{m.state, m.since, m.why, m.opened, m.cause, m.until, m.openings, m.forced, m.release, m.CutOff(), m.gen}
}

func (s Standing) at(now time.Duration) Standing {
	if now >= s.Release {
		s.Forced = NotForced
	}
	return s
}
