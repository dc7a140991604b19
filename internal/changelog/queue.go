package changelog

import (
	"context"
	"sync"
	"time"

	"github.com/astra-grpc/astra/observe"
)

// queueLength is how many records may wait for a slow handler; what comes when
// there are as many is dropped.
const queueLength = 256

// Queue logs changes on a goroutine that lives as long as there is something to
// log, so that a slow handler delays no call, and nothing is to be closed.
type Queue struct {
	changes *Changes

	mu      sync.Mutex // guards what follows
	waiting []waiting
	idle    chan struct{} // closed when all is logged; nil: it is
}

type waiting struct {
	method, target string
	event          observe.Event
}

// NewQueue returns a queue that is empty.
func NewQueue(c *Changes) *Queue { return &Queue{changes: c} }

// Add has an event logged, if it is wanted.
func (q *Queue) Add(method, target string, e observe.Event) {
	if !q.wants(e) {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= queueLength {
		return
	}
	q.waiting = append(q.waiting, waiting{method, target, e})
	if q.idle == nil {
		q.idle = make(chan struct{})
		go q.run()
	}
}

func (q *Queue) wants(e observe.Event) (yes bool) {
	defer func() { _ = recover() }() // of the program's handler, on a call's goroutine
	return q.changes.Wants(e)
}

func (q *Queue) run() {
	for {
		q.mu.Lock()
		all := q.waiting
		q.waiting = nil
		if len(all) == 0 {
			close(q.idle)
			q.idle = nil
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		for _, w := range all {
			q.log(w)
		}
	}
}

// log survives a handler that panics: there is nowhere to report that.
func (q *Queue) log(w waiting) {
	defer func() { _ = recover() }()
	q.changes.Log(context.Background(), w.method, w.target, w.event)
}

// Wait returns when all is logged, or after a time.
func (q *Queue) Wait(most time.Duration) {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	if idle == nil {
		return
	}
	limit := time.NewTimer(most)
	defer limit.Stop()
	select {
	case <-idle:
	case <-limit.C:
	}
}
