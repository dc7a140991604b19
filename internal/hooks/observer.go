// Package hooks calls the hooks of observers: on the caller's goroutine those that
// are inline, through a bounded queue of the observer's own the others, so that a
// slow observer delays no call. It knows what is emitted, not when.
package hooks

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/astra-grpc/astra/observe"
)

// CloseTimeout is how long Close waits for queued events to be delivered.
const CloseTimeout = 5 * time.Second

// Observer is an observer of a suite.
type Observer struct {
	log   func() *slog.Logger
	bound func(error) error // of what is queued
	of    observe.Observer
	queue *queue

	panicked  atomic.Bool // and logged. No sync.Once: a logger may come back here
	notInline sync.Once
}

// NewObserver returns an observer of a suite. bound makes of an error one that
// may be kept in the queue.
func NewObserver(of observe.Observer, log func() *slog.Logger, bound func(error) error) *Observer {
	o := &Observer{of: of, log: log, bound: bound}
	o.queue = newQueue(o)
	return o
}

func (o *Observer) ask(e observe.Endpoint) (h observe.Hooks) {
	defer o.recovered()
	return o.of.Observe(e)
}

// SuiteEvent hands on what concerns the suite.
func (o *Observer) SuiteEvent(e observe.SuiteEvent) {
	defer o.recovered()
	if to, ok := o.of.(observe.SuiteObserver); ok {
		to.SuiteEvent(e)
	}
}

// recovered is deferred around every call of an observer.
func (o *Observer) recovered() {
	if p := recover(); p != nil && o.panicked.CompareAndSwap(false, true) {
		o.log().Error("astra: observer panicked", "observer", o.String(), "panic", p)
	}
}

func (o *Observer) warnNotInline() {
	first := false
	o.notInline.Do(func() { first = true })
	if first { // logged outside: a logger may come back here
		o.log().Warn("astra: observer has the hooks Start or FirstSuccess without Inline: they are not called", "observer", o.String())
	}
}

// String names the observer in the log.
func (o *Observer) String() string { return fmt.Sprintf("%T", o.of) }

// Close ends the observers' goroutines once they have delivered what is
// queued. It waits for all of them side by side; those that are stuck in a hook
// after CloseTimeout are left behind, and not waited for again.
func Close(all []*Observer) {
	for _, o := range all {
		o.queue.end()
	}
	limit := time.NewTimer(CloseTimeout)
	defer limit.Stop()
	for i, o := range all {
		if o.queue.abandoned.Load() {
			continue
		}
		select {
		case <-o.queue.done:
		case <-limit.C:
			for _, o := range all[i:] {
				o.abandon()
			}
			return
		}
	}
}

// abandon gives up an observer that is stuck.
func (o *Observer) abandon() {
	select {
	case <-o.queue.done:
	default:
		if o.queue.abandoned.CompareAndSwap(false, true) {
			o.log().Warn("astra: observer did not return: Close stops waiting for it", "observer", o.String())
		}
	}
}
