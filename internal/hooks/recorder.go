package hooks

import (
	"context"

	"github.com/astra-grpc/astra/observe"
)

// Recorder is an observer's hooks for one endpoint.
type Recorder struct {
	observer *Observer
	hooks    observe.Hooks
	Bit      uint64 // of a set of recorders; 0: there is no Start hook
}

// Recorders are an endpoint's, sorted by what they are called for.
type Recorders struct {
	All      []*Recorder // those with an Event hook
	Starters []*Recorder
	Summary  []*Recorder // called once for a first success …
	Detailed []*Recorder // … and the others of all
	evicted  []*Recorder // those with an Evicted hook
	Begins   bool        // one of them wants to know that a call or an attempt begins, or when
	Elapsed  bool        // one wants to know how long calls take
	Timed    bool        // … and attempts
}

// Add asks an observer for its hooks for an endpoint. It must not be called with
// a lock held: the observer, and the logger if that panics, may call the suite.
func (rs *Recorders) Add(o *Observer, e observe.Endpoint) {
	h := o.ask(e)
	if !h.Inline && (h.Start != nil || h.FirstSuccess != nil) {
		o.warnNotInline()
		h.Start, h.FirstSuccess = nil, nil
	}
	r := &Recorder{observer: o, hooks: h}
	if h.Start != nil {
		r.Bit = 1 << len(rs.Starters)
		rs.Starters = append(rs.Starters, r)
		rs.Begins = true
	}
	if h.Event != nil {
		rs.All = append(rs.All, r)
		rs.Elapsed = rs.Elapsed || h.Elapsed
		rs.Begins = rs.Begins || h.Elapsed
		rs.Timed = rs.Timed || h.AttemptElapsed
	}
	if h.FirstSuccess != nil {
		rs.Summary = append(rs.Summary, r)
	} else if h.Event != nil {
		rs.Detailed = append(rs.Detailed, r)
	}
	if h.Evicted != nil {
		rs.evicted = append(rs.evicted, r)
	}
}

// Emit hands all recorders an event that no call brought about.
func (rs *Recorders) Emit(ctx context.Context, e observe.Event) {
	for _, r := range rs.All {
		r.Emit(ctx, &e)
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

// Emit hands an event to the Event hook, or to the queue.
func (r *Recorder) Emit(ctx context.Context, e *observe.Event) {
	switch {
	case r.hooks.Inline:
		r.event(ctx, e)
	case r.hooks.Want == nil || r.wants(e):
		r.enqueue(ctx, *e)
	}
}

// HasEvent reports whether there is an Event hook.
func (r *Recorder) HasEvent() bool { return r.hooks.Event != nil }

func (r *Recorder) event(ctx context.Context, e *observe.Event) {
	defer r.observer.recovered()
	r.hooks.Event(ctx, *e)
}

func (r *Recorder) wants(e *observe.Event) (yes bool) {
	defer r.observer.recovered()
	return r.hooks.Want(*e)
}

func (r *Recorder) enqueue(ctx context.Context, e observe.Event) {
	e.Err = r.observer.bound(e.Err)
	r.observer.queue.add(queued{to: r, ctx: ctx, event: e})
}

// Start calls the Start hook; enough: it wants no more events of the call.
func (r *Recorder) Start(ctx context.Context, e observe.Event) (own context.Context, enough bool) {
	own = ctx
	defer r.observer.recovered()
	c, more := r.hooks.Start(ctx, e)
	if c != nil {
		own = c
	}
	return own, !more
}

// FirstSuccess calls the hook of that name.
func (r *Recorder) FirstSuccess(shard uint32) {
	defer r.observer.recovered()
	r.hooks.FirstSuccess(shard)
}

func (r *Recorder) forget() {
	defer r.observer.recovered()
	r.hooks.Evicted()
}
