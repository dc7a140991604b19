package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/observe"
)

// recorder is one observer's interest in one endpoint.
type recorder struct {
	watcher  *Watcher
	endpoint observe.Endpoint
	to       observe.Recorder // nil: does not care, or is not asked yet
	asked    bool
	bit      uint64 // a Starter's in call.deaf
}

// recorders are an endpoint's, sorted by what they want to be told.
type Recorders struct {
	All      []*recorder
	starters []starter
	terse    []terse     // those told of a first success in one word …
	verbose  []*recorder // … and the others
	timed    bool        // one wants to know how long calls take
}

type starter struct {
	*recorder
	to observe.Starter
}

type terse struct {
	*recorder
	to observe.SuccessRecorder
}

func (rs *Recorders) Add(r *recorder) {
	rs.All = append(rs.All, r)
	rs.timed = rs.timed || r.watcher.timed
	if !r.watcher.inline || r.to == nil {
		rs.verbose = append(rs.verbose, r)
		return
	}
	if to, ok := r.to.(observe.Starter); ok {
		r.bit = 1 << len(rs.starters)
		rs.starters = append(rs.starters, starter{r, to})
	}
	if to, ok := r.to.(observe.SuccessRecorder); ok {
		rs.terse = append(rs.terse, terse{r, to})
	} else {
		rs.verbose = append(rs.verbose, r)
	}
}

// queueLength is how many events an observer may be behind.
const queueLength = 4096

// drainFor is how long Close waits for an observer to hear what is queued.
const drainFor = 5 * time.Second

// watcher is an observer of a suite, with its queue if it is not told in line.
type Watcher struct {
	host     *Host
	observer observe.Observer
	inline   bool
	timed    bool
	selects  observe.SelectiveObserver // nil: wants all

	events   chan queued
	begin    sync.Once // starts the goroutine, at the first event
	stopping sync.Once
	stop     chan struct{}
	done     chan struct{}

	panicked, behind atomic.Bool // and logged. No sync.Once: a logger may come back here
}

type queued struct {
	to      *recorder
	ctx     context.Context
	event   observe.Event
	evicted bool // no event, but the end of them
}

func NewWatcher(h *Host, o observe.Observer) *Watcher {
	w := &Watcher{host: h, observer: o}
	_, w.timed = o.(observe.TimedObserver)
	if _, w.inline = o.(observe.InlineObserver); !w.inline {
		w.selects, _ = o.(observe.SelectiveObserver)
		w.events = make(chan queued, queueLength)
		w.stop = make(chan struct{})
		w.done = make(chan struct{})
	}
	return w
}

// recorder returns the observer's interest in an endpoint. A queued observer is
// not asked yet: that is done by its goroutine.
func (w *Watcher) Recorder(e observe.Endpoint) *recorder {
	r := &recorder{watcher: w, endpoint: e}
	if w.inline {
		r.ask()
	}
	return r
}

func (r *recorder) ask() {
	defer r.watcher.recovered()
	r.asked = true
	r.to = r.watcher.observer.Method(r.endpoint)
}

// tell brings an event to its observer.
func (r *recorder) Tell(ctx context.Context, e *observe.Event) {
	switch w := r.watcher; {
	case w.inline:
		if r.to != nil {
			r.record(ctx, e)
		}
	case w.selects == nil || w.chosen(e):
		w.enqueue(queued{to: r, ctx: ctx, event: *e})
	}
}

func (w *Watcher) chosen(e *observe.Event) (yes bool) {
	defer w.recovered()
	return w.selects.Select(*e)
}

// evict tells the observer that no more will come.
func (r *recorder) Evict() {
	if !r.watcher.inline {
		r.watcher.enqueue(queued{to: r, evicted: true})
	} else {
		r.forget()
	}
}

func (w *Watcher) enqueue(q queued) {
	w.begin.Do(func() { go w.run() })
	select {
	case w.events <- q:
	default:
		if w.behind.CompareAndSwap(false, true) {
			w.host.Log().Warn("astra: an observer is too slow: events are dropped", "observer", fmt.Sprintf("%T", w.observer))
		}
	}
}

func (r *recorder) record(ctx context.Context, e *observe.Event) {
	defer r.watcher.recovered()
	r.to.Record(ctx, *e)
}

func (s *starter) start(ctx context.Context, e observe.Event) (own context.Context, enough bool) {
	own = ctx
	defer s.watcher.recovered()
	c, more := s.to.Start(ctx, e)
	if c != nil {
		own = c
	}
	return own, !more
}

func (t *terse) succeeded(lane uint32) {
	defer t.watcher.recovered()
	t.to.Succeeded(lane)
}

func (r *recorder) forget() {
	defer r.watcher.recovered()
	if f, ok := r.to.(interface{ Evicted() }); ok {
		f.Evicted()
	}
}

// recovered is deferred around every call of an observer.
func (w *Watcher) recovered() {
	if p := recover(); p != nil && w.panicked.CompareAndSwap(false, true) {
		w.host.Log().Error("astra: an observer panicked", "observer", fmt.Sprintf("%T", w.observer), "panic", p)
	}
}

func (w *Watcher) run() {
	defer close(w.done)
	for {
		select {
		case q := <-w.events:
			w.deliver(q)
		case <-w.stop:
			for {
				select {
				case q := <-w.events:
					w.deliver(q)
				default:
					return
				}
			}
		}
	}
}

func (w *Watcher) deliver(q queued) {
	r := q.to
	switch {
	case q.evicted:
		r.forget()
		return
	case !r.asked:
		r.ask()
	}
	if r.to != nil {
		r.record(q.ctx, &q.event)
	}
}

// close ends the goroutine once it has delivered what is queued; one that is
// stuck in its observer is left behind after a while.
func (w *Watcher) Close() {
	if w.inline {
		return
	}
	w.begin.Do(func() { close(w.done) })
	w.stopping.Do(func() { close(w.stop) })
	limit := time.NewTimer(drainFor)
	defer limit.Stop()
	select {
	case <-w.done:
	case <-limit.C:
		w.host.Log().Warn("astra: an observer did not return: Close does not wait for it", "observer", fmt.Sprintf("%T", w.observer))
	}
}

func (w *Watcher) Notify(n observe.Notice) {
	defer w.recovered()
	if o, ok := w.observer.(observe.SuiteObserver); ok {
		o.Notice(n)
	}
}
