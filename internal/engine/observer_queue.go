package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc/status"
)

const (
	// queueLength is how many events an observer may be behind.
	queueLength = 4096
	// maxErrorBytes bounds the text and details of an error that a queue keeps:
	// servers may send as much as a header list may hold, by default 16 MiB.
	maxErrorBytes = 8 << 10
)

// observerQueue delivers to the hooks of one observer that are not inline.
type observerQueue struct {
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
	to      *recorder
	ctx     context.Context
	event   observe.Event
	evicted bool // no event, but the end of them
}

func newObserverQueue(o *Observer) *observerQueue {
	return &observerQueue{of: o, stop: make(chan struct{}), done: make(chan struct{})}
}

func (q *observerQueue) add(e queued) {
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
			q.of.host.Log().Warn("astra: an observer is too slow: events are dropped", "observer", q.of.String())
		}
	}
}

func (q *observerQueue) run() {
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
func (q *observerQueue) end() {
	q.ending.Do(func() { close(q.stop) }) // first: add looks at it once begin is spent
	q.begin.Do(func() { close(q.done) })
}

// bounded returns err, or a short copy of one that is too large to be queued.
func bounded(err error) error {
	if err == nil {
		return nil
	}
	s, _ := status.FromError(err)
	size := len(s.Message())
	for _, d := range s.Proto().GetDetails() {
		size += len(d.GetValue())
	}
	if size <= maxErrorBytes {
		return err
	}
	text := s.Message()
	if len(text) > maxErrorBytes { // cloned, or the rest would be kept with it
		text = strings.ToValidUTF8(strings.Clone(text[:maxErrorBytes]), "")
	}
	short := &refusal{status: status.New(CodeOf(err), fmt.Sprintf("%s … (cut: %d bytes in all)", text, size))}
	for _, cause := range []error{context.Canceled, context.DeadlineExceeded, ErrBreakerOpen, ErrLimited, ErrPanicked} {
		if errors.Is(err, cause) {
			short.causes = append(short.causes, cause)
		}
	}
	return short
}
