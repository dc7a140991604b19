package breaker

import "time"

// Status is where a breaker stands, for those who ask about it. Since, Cause and
// Wait are zero while it is closed.
type Status struct {
	State State
	Since time.Duration // when it opened; half-open times, and openings from there, are part of it
	Cause Reason        // why it opened then
	Wait  time.Duration // until the next probe, at the latest; see [Machine.Wait]
}

// Status returns where the breaker stands at a time, as [Machine.At] has it.
func (m *Machine) Status(now time.Duration) Status {
	if m.state == Closed {
		return Status{}
	}
	return Status{State: m.At(now), Since: m.opened, Cause: m.cause, Wait: m.Wait(now)}
}

// Lasts returns what is worth knowing of a change that has just been: how long
// the open time is; of a recovery, how long ago the breaker opened.
func (m *Machine) Lasts(now time.Duration, t Transition) time.Duration {
	switch t.To {
	case Open:
		return max(0, m.until-now)
	case Closed:
		return now - m.opened
	}
	return 0
}

// Status is [Machine.Status]. Of a closed breaker, the usual case, it only reads.
func (g *Guard) Status(now time.Duration) Status {
	if _, closed := g.AdmitClosed(); closed {
		return Status{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.Status(now)
}

// Lasts is [Machine.Lasts].
func (g *Guard) Lasts(now time.Duration, t Transition) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.Lasts(now, t)
}
