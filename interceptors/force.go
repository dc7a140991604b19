package interceptors

import (
	"fmt"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// ForceOpen makes the breaker of a method of a target, named as in
// [Suite.Snapshot], refuse all calls for d, without probes. Afterwards the next
// call is a probe, as after any open time. It refuses in [ModeObserve] as well.
//
// A later ForceOpen or ForceClose replaces it, [Suite.Release] ends it. A store
// keeps it past a restart, for the rest of its time; it is not shared with
// other instances. It is logged, observers receive an [observe.Steered] event,
// and the snapshot shows it.
//
// It returns an error if d is not from 1 ms to 24 h, if no call has used the
// pair yet or recently, if its policy has no breaker, or if the suite is
// closed. Calls with a [WithCallPolicy] that disables the breaker are not
// refused.
func (s *Suite) ForceOpen(target, method string, d time.Duration) error {
	return s.forceBreaker(forceOpen, target, method, d)
}

// ForceClose makes the breaker of a method of a target let all calls pass,
// uncounted, for d. Afterwards it starts counting again. For the rest see
// [Suite.ForceOpen].
func (s *Suite) ForceClose(target, method string, d time.Duration) error {
	return s.forceBreaker(forceClose, target, method, d)
}

// Release ends ForceOpen or ForceClose for the breaker of a method of a target
// before its time. If the breaker is open, forced or not, the next call is a
// probe. It has no effect on other breakers. For its errors see
// [Suite.ForceOpen].
func (s *Suite) Release(target, method string) error {
	return s.forceBreaker(release, target, method, 0)
}

// steer has somebody's wish done, and says so everywhere.
func (s *Suite) steer(w SteeringSnapshot, do func() error) error {
	err := do()
	e := observe.SuiteEvent{Kind: observe.Steered, Result: observe.ResultSuccess, Err: err}
	w.Time, w.Target, w.Method, w.Backend, w.Error = time.Now(), text.Name(w.Target), text.Name(w.Method), text.Name(w.Backend), errorText(err)
	what := "breaker"
	attrs := []any{"action", w.Action, "target", w.Target}
	if w.backend() {
		what, attrs = "backend", append(attrs, "backend", w.Backend)
	} else {
		attrs = append(attrs, "method", w.Method)
	}
	if w.timed() {
		attrs = append(attrs, "for", time.Duration(w.For))
	}
	if err != nil {
		e.Result = observe.ResultFailed
		s.Log().Warn("astra: forcing a "+what+" failed", append(attrs, "err", err)...)
	} else {
		s.Log().Warn("astra: "+what+" forced by hand", attrs...)
	}
	s.history.steering(w)
	s.notify(e)
	return err
}

// The actions of [SteeringSnapshot].
const (
	forceOpen  = "force_open"
	forceClose = "force_close"
	release    = "release"
	drain      = "drain"
	giveBack   = "return"
)

func (w *SteeringSnapshot) backend() bool { return w.Action == drain || w.Action == giveBack }

// timed reports whether the action is undone after a time.
func (w *SteeringSnapshot) timed() bool { return w.Action != release && w.Action != giveBack }

// check returns what is wrong with the action itself.
func (w *SteeringSnapshot) check(closed bool) error {
	switch d := time.Duration(w.For); {
	case w.timed() && (d < time.Millisecond || d > MaxStateAge):
		return fmt.Errorf("%s: duration %v is out of range: want from 1ms to %v", w.where(), d, MaxStateAge)
	case closed:
		return fmt.Errorf("%s: the suite is closed", w.where())
	}
	return nil
}

// where names the action, for errors.
func (w *SteeringSnapshot) where() string {
	of := w.Method
	if w.backend() {
		of = w.Backend
	}
	return fmt.Sprintf("astra: %s of %s on %s", w.Action, text.Name(of), text.Name(w.Target))
}

func (s *Suite) forceBreaker(action, target, method string, d time.Duration) error {
	w := SteeringSnapshot{Action: action, Target: target, Method: method, For: Seconds(d)}
	return s.steer(w, func() error { return s.force(&w) })
}

func (s *Suite) force(w *SteeringSnapshot) error {
	s.mu.Lock()
	p, closed := s.plans[key{w.Target, w.Method}], s.closed
	s.mu.Unlock()
	switch err := w.check(closed); {
	case err != nil:
		return err
	case p == nil:
		return fmt.Errorf("%s: is not in use: want a target and method listed by Suite.Snapshot", w.where())
	case p.Breaker == nil:
		return fmt.Errorf("%s: its policy (%s) has no breaker", w.where(), p.policy.pattern)
	}
	var t breaker.Transition
	now := s.Now()
	switch w.Action {
	case forceOpen:
		t = p.Breaker.Force(now, time.Duration(w.For), breaker.ForcedOpen)
	case forceClose:
		t = p.Breaker.Force(now, time.Duration(w.For), breaker.ForcedClosed)
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
	r.handOn(c)
}
