// Package astraredis lets the instances of a fleet report to each other, over
// Redis, which breakers have opened:
//
//	store, err := astraredis.New(client, astraredis.WithInstance(podName))
//	…
//	suite, err := interceptors.New(interceptors.WithStore(store))
//	…
//	defer suite.Close() // then the client
//
// It can be used beside package state's file. The client stays the caller's.
//
// # What an instance does with reports
//
// An instance reports a breaker when it opens it for failures of its own, never
// one it opened because of another instance's report, so reports cannot
// reinforce themselves. A report is valid for the rest of the open time. If
// probes open a breaker again and again, that is reported at once, then after
// half of the time for which the last report is valid, but at least 250 ms and
// at most 1 s.
//
//	advisory    (the default) A report leaves the others' breakers for that
//	            target and method one failure short of opening: the next
//	            failure opens them, a success cancels the report's effect. One
//	            instance with a bad network does no harm to the others.
//	quorum      ([WithQuorum]) When n other instances have a breaker open, it
//	            opens here as well, for as long as n of them will have it open,
//	            bounded by the policy's MaxOpenFor; then a probe decides. The
//	            quorum is checked when a report arrives; a report that already
//	            opened the breaker does not open it again.
//
// Neither changes a breaker that is open or half-open. For a method that has not
// been called yet, a report waits for the first call while it is valid.
//
// An instance that has restarted finds its own reports and resumes them, as
// long as the method has not been called. For that it needs a stable name
// ([WithInstance]): without one each start is another instance, and the reports
// of earlier ones count for a quorum until they expire.
//
// # Redis away or slow
//
// Nothing waits for Redis: neither a call nor New. While it is unreachable,
// breakers use local state only. That is logged once, and so is its end; then
// missed reports are read, and breakers that are still open are reported again.
// A silent connection is tested after 3 s and closed 3 s later. A report that
// hangs in the client may be late by the client's timeouts.
//
// # In Redis
//
// A sorted set, astra:{namespace}:open, holds the reports by the time they
// expire, by Redis' clock: no instance's clock matters. It has at most 10000
// members of 4 KiB, and expires with its last. Each report is also published on
// the channel astra:{namespace}:news. They contain names of methods, targets
// and instances, nothing of calls. Redis must be 5 or later and allow scripts
// (EVAL); it may be a cluster.
//
// Reports that are malformed or out of range are ignored and counted. Who may
// write to these keys can open breakers: restrict access to them.
//
// # Metrics
//
// An [observe.SuiteObserver], such as package metrics, receives events of the
// kind StateShared: sent and received (reports), rejected (malformed), failed
// (Redis was unreachable). A report that Close interrupts is sent again, and is
// no failure.
package astraredis
