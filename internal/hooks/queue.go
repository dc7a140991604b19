package hooks

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/astra-grpc/astra/observe"
)

// queueLength is how many events an observer may be behind.
const queueLength = 4096

// queue delivers to the hooks of one observer that are not inline.
type queue struct {
	of     *Observer
	events chan queued // made with the goroutine
	begin  sync.Once   // starts the goroutine, at the first event
	stop   chan struct{}
	ending sync.Once
	done   chan struct{}

	behind    atomic.Bool // and logged
	abandoned atomic.Bool // Close has waited for it in vain
}

type queued struct {
	to      *Recorder
	ctx     context.Context
	event   observe.Event
	evicted bool // no event, but the end of them
}

func newQueue(o *Observer) *queue {
	return &queue{of: o, stop: make(chan struct{}), done: make(chan struct{})}
}

func (q *queue) add(e queued) {
	q.begin.Do(func() {
		q.events = make(chan queued, queueLength)
		go q.run()
	})
	select {
	case <-q.stop: // a call that outlives its suite
		return
	default:
	}
	select {
	case q.events <- e:
	default:
		if q.behind.CompareAndSwap(false, true) {
			q.of.log().Warn("astra: observer is too slow: its events are dropped", "observer", q.of.String())
		}
	}
}

func (q *queue) run() {
	defer close(q.done)
	for {
		select {
		case e := <-q.events:
			e.deliver()
		case <-q.stop:
			for {
				select {
				case e := <-q.events:
					e.deliver()
				default:
					return
				}
			}
		}
	}
}

func (e *queued) deliver() {
	if e.evicted {
		e.to.forget()
	} else {
		e.to.event(e.ctx, &e.event)
	}
}

// end has the goroutine return once it has delivered what is queued.
func (q *queue) end() {
	q.ending.Do(func() { close(q.stop) }) // first: add looks at it once begin is spent
	q.begin.Do(func() { close(q.done) })
}
