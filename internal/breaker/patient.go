package breaker

import (
	"math"
	"time"
)

// Calls whose time ran out unanswered show that the server takes longer than
// they had. A call that has much more may well be answered, as it would be
// without a breaker: it passes, until one like it has waited in vain.

// patientTimes is the least time of a call that passes an open breaker, as a
// multiple of the longest that those have waited in vain which opened it.
const patientTimes = 2

// never is for a failure that no call would outlast: the server answered, or
// there was no connection.
const never = math.MaxInt64

// outlasting returns the least time of a call that would outlast one that had
// waited in vain; 0: none would.
func outlasting(waited time.Duration) time.Duration {
	if waited <= 0 || waited > never/patientTimes {
		return 0
	}
	return patientTimes * waited
}

// AdmitPatient asks, for a call that was refused and has so much time, to pass all
// the same. It is worth one attempt.
func (m *Machine) AdmitPatient(d time.Duration) (Token, bool) {
	if m.state == Closed || m.outlast == 0 || d < m.outlast {
		return Token{}, false
	}
	return Token{gen: m.gen, early: true, patient: true}, true
}

// settlePatient hears how a call ended that [Machine.AdmitPatient] let pass, if the
// breaker has not closed since: such calls take long, and probes that fail come and
// go meanwhile. It decides nothing: if it was answered, the next call is a probe.
func (m *Machine) settlePatient(now time.Duration, o Outcome, waited time.Duration) {
	if o == Success {
		m.probeNext(now)
		return
	}
	m.waited(o, waited)
}

// waited makes calls pass no more that would not outlast one which has failed.
func (m *Machine) waited(o Outcome, d time.Duration) {
	switch {
	case !o.failed() || m.outlast == 0:
	case outlasting(d) == 0:
		m.outlast = 0
	default:
		m.outlast = max(m.outlast, outlasting(d))
	}
}

// AdmitPatient is [Machine.AdmitPatient]. While the breaker is closed it takes no
// lock.
func (g *Guard) AdmitPatient(d time.Duration) (Token, bool) {
	if State(g.word.Load()&stateMask) == Closed {
		return Token{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.AdmitPatient(d)
}
