// Package astraredis lets the instances of a fleet report to each other, over Redis,
// which breakers have opened:
//
//	store, err := astraredis.New(client, astraredis.WithInstance(podName))
//	…
//	suite, err := interceptors.New(interceptors.WithStore(store))
//	…
//	defer suite.Close() // then the client
//
// It can be used beside package state's file. The client stays the caller's.
//
// # What an instance does with the word of others
//
// An instance reports a breaker when it opens it for failures of its own: never
// one that it opened on the word of others, so that no word feeds itself. A
// report holds for what the open time has left. A breaker that probes reopen
// again and again is reported at once, then after half of what its last report
// holds for, but 250 ms to 1 s.
//
//	advisory    (the default) A report leaves the others' breakers for that
//	            target and method one failure short of opening: the next
//	            failure opens, a success takes the advice back. One instance
//	            with a bad network does no harm to the others.
//	quorum      ([WithQuorum]) When n other instances have one open, it opens
//	            here as well, for as long as n of them will, bounded by the
//	            policy's MaxOpenFor; then a probe decides. It is judged when
//	            a report comes: one that has been acted upon opens nothing again.
//
// A breaker that is open or probes is left alone in both. For a method that has
// not been called yet, the word waits for the first call as long as it holds.
//
// An instance that has come back finds its own reports and resumes them, as
// long as the method has not been called. For that it needs a name that stays
// ([WithInstance]): without one each start is another instance, and those of
// its earlier lives count for a quorum until they expire.
//
// # Redis away or slow
//
// Nothing waits for Redis: neither a call nor New. While it is away, breakers
// act on what the instance itself sees. That is logged once, and so is its end;
// then what was missed is read, and what is still open is reported
// again. A connection that is silent is tested after 3 s and given up 3 s
// later. A report that hangs in the client may come late by its timeouts.
//
// # In Redis
//
// A sorted set, astra:{namespace}:open, holds the reports by the time they
// expire, by Redis' clock: no instance's clock matters. It has at most 10000
// members of 4 KiB, and expires with its last. Each report is also published on
// the channel astra:{namespace}:news. Method, target and instance names are in
// them, nothing of calls. Scripts (EVAL) are used; Redis 5 or later, a cluster
// too.
//
// What cannot be understood, or is out of range, is ignored and counted. Whoever
// may write to these keys may have breakers opened: keep others out.
//
// # Metrics
//
// An [observe.SuiteObserver], such as package metrics, receives events of the kind
// StateShared: sent and received (reports), rejected (not understood), failed
// (Redis was unreachable). What Close breaks off is reported again, and is no
// failure.
package astraredis
