package engine

import (
	"context"

	"github.com/astra-grpc/astra/observe"
)

// recorder is an observer's hooks for one endpoint.
type recorder struct {
	observer *Observer
	hooks    observe.Hooks
	bit      uint64 // in Call.mutedStarters, if there is a Start hook
}

// Recorders are an endpoint's, sorted by what they are called for.
type Recorders struct {
	all      []*recorder // those with an Event hook
	starters []*recorder
	summary  []*recorder // called once for a first success …
	detailed []*recorder // … and the others of all
	evicted  []*recorder // those with an Evicted hook
	elapsed  bool        // one wants to know how long calls take
}

// Add asks an observer for its hooks for an endpoint. It must not be called with
// a lock held: the observer, and the logger if that panics, may call the suite.
func (rs *Recorders) Add(o *Observer, e observe.Endpoint) {
	h := o.ask(e)
	if !h.Inline && (h.Start != nil || h.FirstSuccess != nil) {
		o.warnNotInline()
		h.Start, h.FirstSuccess = nil, nil
	}
	r := &recorder{observer: o, hooks: h}
	if h.Start != nil {
		r.bit = 1 << len(rs.starters)
		rs.starters = append(rs.starters, r)
	}
	if h.Event != nil {
		rs.all = append(rs.all, r)
		rs.elapsed = rs.elapsed || h.Elapsed
	}
	if h.FirstSuccess != nil {
		rs.summary = append(rs.summary, r)
	} else if h.Event != nil {
		rs.detailed = append(rs.detailed, r)
	}
	if h.Evicted != nil {
		rs.evicted = append(rs.evicted, r)
	}
}

// Emit hands all recorders an event that no call brought about.
func (rs *Recorders) Emit(ctx context.Context, e observe.Event) {
	for _, r := range rs.all {
		r.emit(ctx, &e)
	}
}

// Evict calls the Evicted hooks. It must not be called with a lock held, as Add.
func (rs *Recorders) Evict() {
	for _, r := range rs.evicted {
		if r.hooks.Inline {
			r.forget()
		} else {
			r.observer.queue.add(queued{to: r, evicted: true})
		}
	}
}

func (r *recorder) emit(ctx context.Context, e *observe.Event) {
	switch {
	case r.hooks.Inline:
		r.event(ctx, e)
	case r.hooks.Want == nil || r.wants(e):
		r.enqueue(ctx, *e)
	}
}

func (r *recorder) event(ctx context.Context, e *observe.Event) {
	defer r.observer.recovered()
	r.hooks.Event(ctx, *e)
}

func (r *recorder) wants(e *observe.Event) (yes bool) {
	defer r.observer.recovered()
	return r.hooks.Want(*e)
}

func (r *recorder) enqueue(ctx context.Context, e observe.Event) {
	e.Err = bounded(e.Err)
	r.observer.queue.add(queued{to: r, ctx: ctx, event: e})
}

func (r *recorder) start(ctx context.Context, e observe.Event) (own context.Context, enough bool) {
	own = ctx
	defer r.observer.recovered()
	c, more := r.hooks.Start(ctx, e)
	if c != nil {
		own = c
	}
	return own, !more
}

func (r *recorder) firstSuccess(shard uint32) {
	defer r.observer.recovered()
	r.hooks.FirstSuccess(shard)
}

func (r *recorder) forget() {
	defer r.observer.recovered()
	r.hooks.Evicted()
}
