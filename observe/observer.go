// Package observe defines what a suite of package interceptors reports to its
// observers: metrics, logs and traces are observers. It needs no transport, so
// an observer can be written and tested without one; see [NewEndpoint].
package observe

import "context"

// Observer watches the calls of suites that have it by interceptors.WithObserver.
//
// Observe is called once for each pair of target and method, at its first call,
// and again if the suite has forgotten the pair meanwhile. It returns the hooks
// that the suite calls for that pair from then on. Observe runs on the
// goroutine of that first call: it must return at once, and must make no call
// through the suite. It must be safe for concurrent use. A panic in Observe or
// in one of its hooks is recovered, and the first of an observer is logged; the
// call goes on. After a panic in Observe the pair has no hooks.
type Observer interface {
	Observe(Endpoint) Hooks
}

// Hooks are what an [Observer] wants to have called for one [Endpoint]. Nil
// funcs are not called; the zero Hooks observe nothing. A wrapper may copy
// Hooks and replace single funcs: nothing else connects them to the observer.
//
// Without Inline, Event and Evicted are called through the observer's queue, in
// order, on one goroutine of the suite: a slow hook delays no call. The queue
// holds 4096 events of all endpoints together. When it is full, further events
// are dropped, Evicted too, and the first drop is logged. To bound the memory
// that a stuck hook holds, an Err of more than 8 KiB of text and details
// reaches the queue as a copy: a gRPC status of the same code, with the message
// cut to 8 KiB and without details. It still matches the errors of packages
// context and interceptors by errors.Is.
type Hooks struct {
	// Inline calls the hooks on the goroutine of the call, many at a time. They
	// must not block and must not call the suite. No event is dropped.
	Inline bool

	// Elapsed asks for [Event.Elapsed]. Each call then reads the clock twice
	// more.
	Elapsed bool

	// AttemptElapsed asks for [Event.Elapsed] of AttemptEnd. Each attempt then
	// reads the clock twice more.
	AttemptElapsed bool

	// Want reports whether an event is to be queued. It is called on the
	// goroutine of the call, many at a time, and must not block. An event that
	// is not wanted costs only this call. Nil queues all. Want is not called
	// for Inline hooks, nor for Evicted.
	Want func(Event) bool

	// Event receives every event except CallStart and AttemptStart. The context
	// is the call's or, for what happens to an attempt, the attempt's; it may
	// have ended when a queued event arrives.
	Event func(context.Context, Event)

	// Start is called when a call (CallStart) or an attempt (AttemptStart)
	// begins, and returns the context for it and its events: one with a span of
	// the call, say, the parent of the attempts' spans. A nil context leaves
	// ctx as it is. If more is false for a call, no other hook is called for it
	// or its attempts, so a sampler costs nothing for the calls that it leaves
	// out; for an attempt, more is ignored. Start is called only if Inline is
	// set.
	Start func(ctx context.Context, e Event) (own context.Context, more bool)

	// FirstSuccess is called for a call whose first attempt succeeded, instead
	// of Event with an AttemptEnd and a CallEnd. shard is [Event.Shard]. It
	// makes the usual case cheap. It is called only if Inline is set.
	FirstSuccess func(shard uint32)

	// Evicted is called once, when the suite forgets the endpoint: because no
	// call has used it for some time, or at Suite.Close. Calls that still run
	// may send events after it.
	Evicted func()
}

// ChangeLogger is implemented by an [Observer] that logs each change of a
// breaker or a backend itself: the suite's own log then leaves them to it. A
// wrapper that hides the interface has them logged twice.
type ChangeLogger interface {
	LogsChanges()
}

// SuiteObserver is implemented by an [Observer] that receives events of the
// suite itself. SuiteEvent is called on the goroutine where the event happens.
// It must return at once, must not call the suite, and must be safe for
// concurrent use. A panic is recovered and logged, as those of an Observer. A
// wrapper that embeds Observer hides this interface, and must forward it.
type SuiteObserver interface {
	SuiteEvent(SuiteEvent)
}
