package breaker

import (
	"math"
	"time"
)

// Config sets the thresholds. All fields must be set; the policy's defaults
// and ranges are applied before.
type Config struct {
	FailureRate float64       // open at this share of failures …
	SlowRate    float64       // … or this share of slow calls …
	MinCalls    int           // … once the window holds that many calls
	Window      time.Duration // length of the window
	Consecutive int           // open at this many failures in a row
	OpenFor     time.Duration // mean of the first open time
	MaxOpenFor  time.Duration // no open time is longer
	LateProbe   bool          // a success of a call that was admitted before the opening makes the next call a probe
	ProbeShare  float64       // probes, as a share of the calls refused, that need not wait for the open time to end; 0: none
	Probes      int           // calls let through at once while half-open; as many successes close
	ProbeTTL    time.Duration // a probe not settled by then gives its slot to another
}

// Token is a call's admission. It is settled exactly once; what it says is
// heard only while the breaker stands as it did at admission or, if the call
// passes for its patience, until the breaker closes.
type Token struct {
	gen     uint64
	probe   probe
	early   bool
	patient bool
}

// Probe reports whether the call was let through to find out if the server is
// back.
func (t Token) Probe() bool { return t.probe.serial != 0 }

// Early reports whether the call is a probe that refused calls have earned, or
// passes for its patience. It is worth one attempt.
func (t Token) Early() bool { return t.early }

// Transition is a change of state; the zero value is no change.
type Transition struct {
	From, To State
	Reason   Reason
}

// Happened reports whether the state changed.
func (t Transition) Happened() bool { return t.From != t.To }

// Machine is a breaker for one owner at a time. Make one with [NewMachine].
type Machine struct {
	cfg   Config
	state State
	gen   uint64 // counts the transitions, so that late results are known as such
	calls detector

	answered  bool          // a call of before the opening has succeeded since
	openings  int           // whose time ran out and whose probes failed, and one; 0 while closed
	until     time.Duration // end of the open time
	since     time.Duration // of the state; 0: from the beginning
	why       Reason        // it came to that
	opened    time.Duration // when it left the closed state the last time …
	openedGen uint64        // … what gen was then …
	cause     Reason        // … and why
	cutOff    bool          // it opened because there was no connection
	outlast   time.Duration // calls that have so much time pass all the same; 0: none does
	forced    Force
	release   time.Duration // when forced ends

	refused         int           // calls, since the last probe or the opening
	nextEarlyProbe  time.Duration // before that, they earn no probe
	earlyGap        time.Duration // between two such probes, at least
	halfOpenedEarly bool          // half-open before the open time was over
	earlyProbesLeft int           // then: probes that the period may still have for it

	probeSlots     []probeSlot // who probes, or still did when a half-open period ended
	serial         uint32
	probeSuccesses int // probes that succeeded in this half-open period
}

// NewMachine returns a closed breaker.
func NewMachine(cfg Config) Machine {
	return Machine{cfg: cfg, calls: newDetector(&cfg)}
}

// Reconfigure changes the thresholds and keeps the state: an open breaker
// stays open until the time it has. Counts survive, but those of the window if
// its length changes.
func (m *Machine) Reconfigure(cfg Config) {
	if cfg.Window != m.cfg.Window {
		m.calls.window = newWindow(cfg.Window)
	}
	m.cfg = cfg
}

// Admit asks for a call to pass. If it may not, [Machine.Wait] returns for how
// long.
func (m *Machine) Admit(now time.Duration) (Token, Transition, bool) {
	var change Transition
	switch {
	case m.state == Closed:
		return Token{gen: m.gen}, change, true
	case m.state == Open && !m.due(now):
		m.refused++
		return Token{}, change, false
	case m.state == Open:
		why := Probing
		if m.halfOpenedEarly = now < m.until; m.halfOpenedEarly {
			why, m.earlyProbesLeft = EnoughRefused, m.cfg.Probes
		}
		change = m.enter(now, HalfOpen, why)
		m.probeSuccesses = 0
	case now >= m.until:
		m.halfOpenedEarly = false
	}
	p, extra, ok := m.takeProbeSlot(now)
	if !ok {
		m.refused++
		return Token{}, change, false
	}
	return Token{gen: m.gen, probe: p, early: extra || m.halfOpenedEarly}, change, true
}

// Settle hears how an admitted call ended. Results of calls admitted before
// the last transition fall away, except as [Token] says. u in [0,1) spreads the open time.
func (m *Machine) Settle(now time.Duration, t Token, o Outcome, u float64) Transition {
	return m.SettleAfter(now, t, o, 0, u)
}

// SettleAfter is Settle of a call that failed because its time ran out: so long the
// longest of its attempts had waited in vain. 0: it did not fail for that.
func (m *Machine) SettleAfter(now time.Duration, t Token, o Outcome, waited time.Duration, u float64) Transition {
	m.free(t.probe)
	switch {
	case t.patient && m.state != Closed && t.gen >= m.openedGen:
		m.settlePatient(now, o, waited)
	case t.gen != m.gen:
		if o == Success && !t.Probe() {
			m.answeredLate(now, t)
		}
	case m.state == Closed:
		return m.count(now, o, waited, u)
	case m.state == HalfOpen:
		return m.judge(now, o, waited, u)
	}
	return Transition{} // no other call is admitted while open
}

func (m *Machine) count(now time.Duration, o Outcome, waited time.Duration, u float64) Transition {
	if o == Neutral || m.held(now) {
		return Transition{}
	}
	reason := m.calls.add(now, &m.cfg, o, waited)
	if reason == None {
		return Transition{}
	}
	m.refused, m.halfOpenedEarly = 0, false
	change := m.open(now, reason, o, u)
	m.outlast = outlasting(m.calls.waited(reason))
	return change
}

func (m *Machine) judge(now time.Duration, o Outcome, waited time.Duration, u float64) Transition {
	switch {
	case o == Neutral:
		return Transition{}
	case o != Success:
		m.waited(o, waited)
		return m.open(now, ProbeFailed, o, u)
	}
	m.probeSuccesses++
	if m.probeSuccesses < m.cfg.Probes {
		return Transition{}
	}
	m.openings = 0
	m.calls = newDetector(&m.cfg)
	return m.enter(now, Closed, Recovered)
}

// open begins an open time. It is longer than the last one if that ran out; a
// probe that came early says nothing about how patient to be with a client
// whose traffic ebbs.
func (m *Machine) open(now time.Duration, why Reason, last Outcome, u float64) Transition {
	m.cutOff = last == Unreached
	if !m.halfOpenedEarly {
		m.openings++
	}
	m.until = later(now, openTime(m.cfg.OpenFor, m.cfg.MaxOpenFor, m.openings-1, u))
	m.earlyGap = openTime(time.Duration(minEarlyGap*float64(m.cfg.OpenFor)), m.cfg.OpenFor, 0, u)
	m.answered = false
	if why != ProbeFailed {
		m.nextEarlyProbe = later(now, m.earlyGap)
	}
	return m.enter(now, Open, why)
}

// CutOff reports whether the breaker is open because there was no connection.
func (m *Machine) CutOff() bool { return m.state == Open && m.cutOff }

// Connected ends the open time of a breaker that is [Machine.CutOff]: there is a
// connection, so calls that the breaker refused from now on might well succeed.
func (m *Machine) Connected(now time.Duration) {
	if m.CutOff() {
		m.until = min(m.until, now)
	}
}

// answeredLate is for the success of a call that was admitted before the breaker
// opened, and has ended since: a server that hung may be back, so that the next
// call is a probe. It is once for an opening, and not where probes are hardly
// ever to come before the open time is over.
func (m *Machine) answeredLate(now time.Duration, t Token) {
	if m.state == Open && m.gen == t.gen+1 {
		m.probeNext(now)
	}
}

// probeNext makes the next call a probe.
func (m *Machine) probeNext(now time.Duration) {
	if m.answered || !m.cfg.LateProbe || m.cfg.ProbeShare < minShare {
		return
	}
	m.answered = true
	m.refused = max(m.refused, int(math.Ceil(float64(m.cfg.Probes)/m.cfg.ProbeShare)))
	m.nextEarlyProbe = now
}

func (m *Machine) enter(now time.Duration, s State, why Reason) Transition {
	t := Transition{m.state, s, why}
	if t.From == Closed {
		m.opened, m.cause, m.outlast = now, why, 0
	}
	m.state, m.since, m.why, m.forced = s, now, why, NotForced
	m.gen++
	if t.From == Closed {
		m.openedGen = m.gen
	}
	return t
}

// At returns the state at a time, without the change that the next call would
// bring about: an open breaker that would let it probe reads as half-open, so
// that one without traffic does not claim to refuse.
func (m *Machine) At(now time.Duration) State {
	if m.state == Open && m.due(now) {
		return HalfOpen
	}
	return m.state
}
