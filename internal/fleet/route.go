package fleet

import (
	"context"
	"time"
)

// Route is a call's way among backends. That of a call whose attempts go where
// others say is the zero Route, whose methods do nothing. It has one owner at a
// time.
type Route struct {
	fleet     *Fleet
	lastGood  *LastGood
	been      *Call    // nil: nowhere yet
	last      *Backend // on which an attempt ended; nil: on none
	displaced bool
}

// NewRoute returns the route of a call. w is of the calls of its method.
func NewRoute(f *Fleet, w *LastGood) Route { return Route{fleet: f, lastGood: w} }

// On reports whether the suite has a say in where the call goes.
func (r *Route) On() bool { return r.fleet != nil }

// Begin returns an attempt, and the context that it is to have.
func (r *Route) Begin(ctx context.Context, k Kind) (context.Context, *Attempt) {
	r.displaced = false
	if r.fleet == nil {
		return ctx, nil
	}
	a := NewAttempt(ctx, r.fleet, r.been, k)
	r.been = a.call
	return a, a
}

// End settles an attempt.
func (r *Route) End(a *Attempt, now time.Duration, e End) Change {
	ch := a.End(now, e)
	if ch.Backend != nil {
		r.last = ch.Backend
	}
	if e.Good || e.Bad {
		r.lastGood.saw(ch.Backend, e.Good)
	}
	if e.Done && ch.Backend == nil {
		r.fleet.unused()
	}
	r.displaced = e.Bad && a.out() && r.Elsewhere()
	return ch
}

// Answered is [Attempt.Answered].
func (r *Route) Answered(a *Attempt, now time.Duration, shard uint32) Change {
	ch := a.Answered(now, shard)
	r.lastGood.saw(ch.Backend, true)
	return ch
}

// Last returns the address of the backend on which an attempt ended last; "":
// none has.
func (r *Route) Last() string {
	if r.last == nil {
		return ""
	}
	return r.last.Name
}

// Displaced reports whether the last attempt failed on a backend that is out, and
// there is another: the next makes up for a wrong choice of ours, and adds no
// load to the one that it goes to.
func (r *Route) Displaced() bool { return r.displaced }

// Elsewhere reports whether there is a backend that is well, as far as is known,
// and that the call has not been to.
func (r *Route) Elsewhere() bool { return r.fleet != nil && r.been != nil && r.fleet.elsewhere(r.been) }

// AtOnce reports whether the next attempt need not wait if its backend was what
// made the last one fail.
func (r *Route) AtOnce() bool {
	return r.fleet != nil && !r.fleet.registry.Config().KeepBackoff && r.Elsewhere()
}

// Well reports whether calls of the method can go to a backend that is well, so
// that the target as a whole is not to be judged by those that fail: one on which
// the method succeeds, or that is in while others are out.
func (r *Route) Well() bool { return r.fleet != nil && (r.lastGood.well() || r.fleet.divided()) }
