package interceptors

import (
	"fmt"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// ForceOpen has the breaker of a method of a target, by the names that
// [Suite.Snapshot] has, refuse all calls for a time, probes too, whatever it would
// judge. When the time is over the next call is a probe, as after any open time. It
// refuses in [ModeObserve] as well.
//
// A later ForceOpen or ForceClose replaces it, [Suite.Release] ends it. A store
// keeps it, for the rest of its time, past a restart; other instances do not hear
// of it. It is logged, observers receive an [observe.Steered] event, and the
// snapshot shows it.
//
// The error says what is wrong: the time is not from 1 ms to 24 h; no call has
// asked for the pair yet, or not lately; its policy has no breaker; the suite is
// closed. Calls with a [WithCallPolicy] that disables the breaker are not refused.
func (s *Suite) ForceOpen(target, method string, d time.Duration) error {
	return s.steer("force_open", target, method, d)
}

// ForceClose has the breaker of a method of a target let all calls pass for a time,
// and count none. After it, it counts anew. For the rest see [Suite.ForceOpen].
func (s *Suite) ForceClose(target, method string, d time.Duration) error {
	return s.steer("force_close", target, method, d)
}

// Release leaves the breaker of a method of a target to its own judgement, before
// the time of ForceOpen or ForceClose is over. Of one that is open, forced or not,
// the next call is a probe. It does nothing to others. For its errors see
// [Suite.ForceOpen].
func (s *Suite) Release(target, method string) error {
	return s.steer("release", target, method, 0)
}

// steer does what somebody wants of a breaker, and says so everywhere.
func (s *Suite) steer(action, target, method string, d time.Duration) error {
	err := s.force(action, target, method, d)
	e := observe.SuiteEvent{Kind: observe.Steered, Result: observe.ResultSuccess, Err: err}
	attrs := []any{"action", action, "target", text.Name(target), "method", text.Name(method)}
	if action != "release" {
		attrs = append(attrs, "for", d)
	}
	if err != nil {
		e.Result = observe.ResultFailed
		s.Log().Warn("astra: forcing a breaker failed", append(attrs, "err", err)...)
	} else {
		s.Log().Warn("astra: breaker forced by hand", attrs...)
	}
	s.history.steering(SteeringSnapshot{Time: time.Now(), Action: action, Target: text.Name(target), Method: text.Name(method), For: Seconds(d), Error: errorText(err)})
	s.notify(e)
	return err
}

func (s *Suite) force(action, target, method string, d time.Duration) error {
	where := fmt.Sprintf("astra: %s of %s on %s", action, text.Name(method), text.Name(target))
	if action != "release" && (d < time.Millisecond || d > MaxStateAge) {
		return fmt.Errorf("%s: duration %v is out of range: want from 1ms to %v", where, d, MaxStateAge)
	}
	s.mu.Lock()
	p, closed := s.plans[key{target, method}], s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return fmt.Errorf("%s: the suite is closed", where)
	case p == nil:
		return fmt.Errorf("%s: is not in use: want a target and method listed by Suite.Snapshot", where)
	case p.Breaker == nil:
		return fmt.Errorf("%s: its policy (%s) has no breaker", where, p.policy.pattern)
	}
	var t breaker.Transition
	now := s.Now()
	switch action {
	case "force_open":
		t = p.Breaker.Force(now, d, breaker.ForcedOpen)
	case "force_close":
		t = p.Breaker.Force(now, d, breaker.ForcedClosed)
	default:
		t = p.Breaker.Release(now)
	}
	s.report(p.endpoint, t)
	s.forced(p.endpoint, p.Breaker, t)
	return nil
}

// forced reports to the stores what was done by hand, also where the state is the
// one that was.
func (r *registry) forced(e *endpoint, g *breaker.Guard, t breaker.Transition) {
	if len(r.stores) == 0 {
		return
	}
	now := r.Now()
	st := g.Standing(now)
	c := Change{Target: e.target, Method: e.method, To: observe.BreakerState(st.State), Forced: st.Forced.String(), ByHand: true}
	c.From = c.To
	if t.Happened() {
		c.From = observe.BreakerState(t.From)
	}
	if m, ok := g.Snapshot(now); ok {
		c.Left, c.Openings = m.Left, m.Openings
	}
	for _, st := range r.stores {
		st.Changed(c)
	}
}
