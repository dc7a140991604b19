package breaker

import (
	"math"
	"time"
)

// State is where a breaker stands. The values are those of the
// astra_breaker_state metric.
type State uint8

// Where a breaker can stand.
const (
	Closed   State = iota // calls pass and are counted
	HalfOpen              // a few calls, the probes, pass and decide
	Open                  // no call passes until the open time is over
)

// String returns "closed", "half-open" or "open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case HalfOpen:
		return "half-open"
	case Open:
		return "open"
	}
	return "invalid"
}

// Reason tells why a breaker changed its state.
type Reason uint8

// Why a breaker can change.
const (
	None        Reason = iota
	Consecutive        // failures in a row
	FailureRate        // share of failures in the window
	SlowRate           // share of slow calls in the window
	ProbeFailed        // a probe failed or was slow
	Probing            // the open time is over
	Recovered          // enough probes succeeded
	Restored           // it was open when an earlier process ended
	Fleet              // other instances have opened theirs
)

// String returns the reason as it is written in metric labels.
func (r Reason) String() string {
	switch r {
	case None:
		return "none"
	case Consecutive:
		return "consecutive"
	case FailureRate:
		return "failure_rate"
	case SlowRate:
		return "slow_rate"
	case ProbeFailed:
		return "probe_failed"
	case Probing:
		return "open_time_over"
	case Recovered:
		return "recovered"
	case Restored:
		return "restored"
	case Fleet:
		return "fleet"
	}
	return "invalid"
}

// Outcome is what a call says about the server.
type Outcome uint8

// What a call can say.
const (
	Neutral     Outcome = iota // nothing: cancelled by the caller, or the caller's own fault
	Success                    // it answers
	SlowSuccess                // it answers, too slowly
	Failure                    // it does not serve
	SlowFailure                // it took its time and did not serve
)

func (o Outcome) failed() bool { return o == Failure || o == SlowFailure }
func (o Outcome) slow() bool   { return o == SlowSuccess || o == SlowFailure }

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
	Probes      int           // calls let through at once while half-open; as many successes close
	ProbeTTL    time.Duration // a probe not settled by then gives its place to another
}

// Token is a call's admission. It is settled exactly once; what it says is
// heard only while the breaker stands as it did at admission.
type Token struct {
	gen   uint64
	probe probe
}

// probe is a place among those for probes; serial 0 is none.
type probe struct {
	place  uint32
	serial uint32
}

// Probe reports whether the call was let through to find out if the server is
// back.
func (t Token) Probe() bool { return t.probe.serial != 0 }

// Transition is a change of state; the zero value is no change.
type Transition struct {
	From, To State
	Reason   Reason
}

// Happened reports whether the state changed.
func (t Transition) Happened() bool { return t.From != t.To }

// Machine is a breaker for one owner at a time. Make one with [NewMachine].
type Machine struct {
	cfg    Config
	state  State
	gen    uint64 // counts the transitions, so that late results are known as such
	window window

	consecutive int
	openings    int           // in a row, without closing between them
	until       time.Duration // end of the open time

	places []place // who probes, or still did when a half-open period ended
	serial uint32
	passed int // probes that succeeded in this half-open period
}

type place struct {
	serial  uint32 // 0: free
	expires time.Duration
}

// NewMachine returns a closed breaker.
func NewMachine(cfg Config) Machine {
	return Machine{cfg: cfg, window: newWindow(cfg.Window)}
}

// Reconfigure changes the thresholds and keeps the state: an open breaker
// stays open until the time it has. Counts survive unless the window's length
// changes.
func (m *Machine) Reconfigure(cfg Config) {
	if cfg.Window != m.cfg.Window {
		m.window = newWindow(cfg.Window)
	}
	m.cfg = cfg
}

// Admit asks for a call to pass. If it may not, [Machine.Wait] tells for how
// long.
func (m *Machine) Admit(now time.Duration) (Token, Transition, bool) {
	var change Transition
	if m.state == Open {
		if now < m.until {
			return Token{}, change, false
		}
		change = m.enter(HalfOpen, Probing)
		m.passed = 0
	}
	if m.state == Closed {
		return Token{gen: m.gen}, change, true
	}
	p, ok := m.takePlace(now)
	if !ok {
		return Token{}, change, false
	}
	return Token{m.gen, p}, change, true
}

// Refuses reports whether Admit would refuse a call, and changes nothing.
func (m *Machine) Refuses(now time.Duration) bool {
	switch {
	case m.state == Closed:
		return false
	case m.state == Open && now < m.until:
		return true
	}
	busy := 0
	for _, p := range m.places {
		if p.serial != 0 && p.expires > now {
			busy++
		}
	}
	return busy >= m.cfg.Probes
}

// takePlace finds a place for a probe. Probes of an earlier half-open period
// that still run count too, or there would be more than Probes of them.
func (m *Machine) takePlace(now time.Duration) (probe, bool) {
	busy, free := 0, -1
	for i, p := range m.places {
		if p.serial != 0 && p.expires > now {
			busy++
		} else if free < 0 {
			free = i
		}
	}
	if busy >= m.cfg.Probes {
		return probe{}, false
	}
	if free < 0 {
		free = len(m.places)
		m.places = append(m.places, place{})
	}
	expires := now + m.cfg.ProbeTTL
	if expires < now { // past the end of time
		expires = math.MaxInt64
	}
	m.serial++
	m.places[free] = place{m.serial, expires}
	return probe{uint32(free), m.serial}, true
}

// Wait returns after how long it makes sense to try again: the rest of the open
// time; while probes are under way, which may end at any moment, OpenFor, or
// less if one expires before.
func (m *Machine) Wait(now time.Duration) time.Duration {
	switch m.state {
	case Open:
		return max(0, m.until-now)
	case HalfOpen:
		first := m.cfg.OpenFor
		for _, p := range m.places {
			if p.serial != 0 && p.expires > now {
				first = min(first, p.expires-now)
			}
		}
		return first
	}
	return 0
}

// Settle hears how an admitted call ended. Results of calls admitted before
// the last transition fall away. u in [0,1) spreads the open time.
func (m *Machine) Settle(now time.Duration, t Token, o Outcome, u float64) Transition {
	m.free(t.probe)
	if t.gen != m.gen {
		return Transition{}
	}
	switch m.state {
	case Closed:
		return m.count(now, o, u)
	case HalfOpen:
		return m.judge(now, o, u)
	}
	return Transition{} // no call is admitted while open
}

func (m *Machine) count(now time.Duration, o Outcome, u float64) Transition {
	if o == Neutral {
		return Transition{}
	}
	m.window.add(now, o)
	if o.failed() {
		m.consecutive++
	} else {
		m.consecutive = 0
		if !o.slow() {
			return Transition{}
		}
	}
	if reason := m.trips(now); reason != None {
		return m.open(now, reason, u)
	}
	return Transition{}
}

func (m *Machine) trips(now time.Duration) Reason {
	if m.consecutive >= m.cfg.Consecutive {
		return Consecutive
	}
	seen := m.window.sum(now)
	calls := float64(seen.calls)
	switch {
	case seen.calls < uint64(m.cfg.MinCalls):
		return None
	case float64(seen.failed) >= m.cfg.FailureRate*calls:
		return FailureRate
	case float64(seen.slow) >= m.cfg.SlowRate*calls:
		return SlowRate
	}
	return None
}

// free gives a probe's place back, unless it has expired and is another's.
func (m *Machine) free(p probe) {
	if p.serial != 0 && m.places[p.place].serial == p.serial {
		m.places[p.place] = place{}
	}
}

func (m *Machine) judge(now time.Duration, o Outcome, u float64) Transition {
	switch {
	case o == Neutral:
		return Transition{}
	case o != Success:
		return m.open(now, ProbeFailed, u)
	}
	m.passed++
	if m.passed < m.cfg.Probes {
		return Transition{}
	}
	m.openings = 0
	m.consecutive = 0
	m.window = newWindow(m.cfg.Window)
	return m.enter(Closed, Recovered)
}

func (m *Machine) open(now time.Duration, why Reason, u float64) Transition {
	m.until = now + openTime(m.cfg.OpenFor, m.cfg.MaxOpenFor, m.openings, u)
	m.openings++
	return m.enter(Open, why)
}

func (m *Machine) enter(s State, why Reason) Transition {
	t := Transition{m.state, s, why}
	m.state = s
	m.gen++
	return t
}

// At returns the state at a time, without the change that the next call would
// bring about: an open breaker whose time is over reads as half-open, so that
// one without traffic does not claim to refuse.
func (m *Machine) At(now time.Duration) State {
	if m.state == Open && now >= m.until {
		return HalfOpen
	}
	return m.state
}

// spread is how far an open time strays from its mean, to either side, so that
// clients that saw the same outage do not all probe at once.
const spread = 0.2

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
	low := float64(d) * (1 - spread) // as floats, which do not overflow
	high := min(float64(d)*(1+spread), float64(most))
	return min(most, time.Duration(low+(high-low)*u))
}
