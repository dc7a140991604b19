package interceptors

import (
	"context"
	"fmt"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/observe"
)

// DrainBackend keeps new attempts away from a backend for d, before it is shut
// down for example, while there is another backend that is neither drained nor
// ejected. Attempts and streams in flight continue. It does so in [ModeObserve]
// as well, and with Eject.Disabled; drained backends do not count toward
// Eject.MaxShare. When the time is over, probes bring the backend back, or the
// next attempt where ejections keep none away.
//
// The backend is given by the target and address that [Suite.Snapshot] lists;
// the name of the target that methods have there will do, too. A later
// DrainBackend replaces it, [Suite.ReturnBackend] ends it. A store keeps it
// past a restart, for the rest of its time; so does the suite if the resolver
// leaves the endpoint out for a while; it is not shared with other instances.
// It is logged, observers receive an [observe.Steered] event, and one of kind
// BackendChange if a method of the target has been called, and the snapshot
// shows it.
//
// It returns an error if d is not from 1 ms to 24 h, if the suite does not
// balance load ([WithBalancing]), if the target has no such backend, or if the
// suite is closed.
func (s *Suite) DrainBackend(target, backend string, d time.Duration) error {
	return s.forceBackend(drain, target, backend, d)
}

// ReturnBackend brings back a backend that is drained by [Suite.DrainBackend]
// or ejected: at once, without a probe, and without its past. It has no effect
// on others. For names and errors see [Suite.DrainBackend].
func (s *Suite) ReturnBackend(target, backend string) error {
	return s.forceBackend(giveBack, target, backend, 0)
}

func (s *Suite) forceBackend(action, target, backend string, d time.Duration) error {
	w := SteeringSnapshot{Action: action, Target: target, Backend: backend, For: Seconds(d)}
	return s.steer(w, func() error {
		if err := w.check(s.view.Load().closed); err != nil {
			return err
		}
		if s.balancing == nil {
			return fmt.Errorf("%s: the suite does not balance load: give New WithBalancing", w.where())
		}
		f := s.fleetNamed(target)
		var all []*fleet.Backend
		if f != nil {
			all = f.Named(backend)
		}
		if len(all) == 0 {
			return fmt.Errorf("%s: is not known: want a target and address of a backend listed by Suite.Snapshot", w.where())
		}
		for _, b := range all {
			now := s.Now()
			var t breaker.Transition
			if action == drain {
				t = b.Drain(now, d)
			} else {
				t = b.Return(now)
			}
			s.reportBackend(f, b, t)
			s.storeBackend(f, b, t)
		}
		return nil
	})
}

// fleetNamed returns the backends of a target by its name, or by the one that its
// methods have; nil: there is none.
func (s *Suite) fleetNamed(target string) (f *fleet.Fleet) {
	for _, f := range s.balancing.registry.Fleets() {
		if f.Target == target {
			return f
		}
	}
	s.table.Load().all(func(p *plan) bool {
		if at := p.located.Load(); at != nil && p.target == target {
			f = at.fleet
		}
		return f == nil
	})
	return f
}

// reportBackend emits a change of a backend that no call has brought about, once
// for its target: on the first of its methods by name.
func (s *Suite) reportBackend(f *fleet.Fleet, b *fleet.Backend, t breaker.Transition) {
	if !t.Happened() {
		return
	}
	var on *endpoint
	s.table.Load().all(func(p *plan) bool {
		if at := p.located.Load(); at != nil && at.fleet == f && (on == nil || p.method < on.method) {
			on = p.endpoint
		}
		return true
	})
	if on == nil {
		return
	}
	e := engine.BackendChange(b.Name, t)
	s.ask(on)
	if s.LogChange != nil {
		s.LogChange(on.method, on.target, e)
	}
	on.recorders.Emit(context.Background(), e)
}

// storeBackend reports to the stores what was done by hand, also where the
// state is the one that was.
func (s *Suite) storeBackend(f *fleet.Fleet, b *fleet.Backend, t breaker.Transition) {
	if len(s.stores) == 0 {
		return
	}
	now := s.Now()
	st := b.Standing(now)
	c := Change{Target: f.Target, Backend: b.Name, To: observe.BreakerState(st.State), Openings: st.Openings, ByHand: true, Forced: st.Forced.String()}
	c.From = c.To
	if t.Happened() {
		c.From = observe.BreakerState(t.From)
	}
	if st.Forced != breaker.NotForced {
		c.Left = st.Release - now
	}
	s.handOn(c)
}
