// Package state lets breakers and retry budgets outlive their process, so that
// clients that crash and restart in an outage do not hammer a dead server with
// fresh breakers and full budgets:
//
//	store, err := state.File("/var/lib/shop/astra.state")
//	…
//	suite, err := interceptors.New(interceptors.WithStore(store))
//	…
//	defer suite.Close() // saves, too
//
// For a fleet of processes, see the nested module state/redis.
//
// # What is kept
//
// Breakers that are not closed, and backends that are ejected, where a suite
// balances load: an open one stays open for the time it had left, bounded by
// the policy's MaxOpenFor; then probes decide as usual (or before, see
// ProbeShare), and if they fail, open times continue to grow. A half-open one
// is half-open again. And budgets that are not full: they begin with the tokens
// they held and those that time has added since. What a closed breaker has
// counted and what an adaptive limit has measured are not kept. State older
// than [interceptors.MaxStateAge], 24 hours, is dropped, from a file or from a
// process that has not used it.
//
// # When it is written
//
// Never by a call. A goroutine of the store's writes when the suite begins,
// after a breaker has changed (at once, then not again for a second), when a
// budget differs by more than a token (a large one by more than a twentieth)
// from what the file would restore, which is checked once a second, and when
// the suite is closed: in an outage about once a second. A process that is
// killed loses what happened since the last write.
//
// # The file
//
// A line with version and SHA-256, then a JSON document. It is replaced whole,
// by a new file (path.new) that is synced, renamed over it, and whose directory
// is synced: after a crash there is the old state or the new. Its mode is 0600.
// It has names of methods and targets, no messages or metadata.
//
// A file that cannot be used (damaged, cut short, larger than 4 MiB, of another
// program or a newer version, unreadable) is renamed to the first free of
// path.rejected-1 to path.rejected-100, with one warning, and the suite begins
// without state. When there are a hundred, the last is replaced. While the file
// cannot be renamed, it is not overwritten, and nothing is saved.
//
// A valid file that was saved more than 24 hours ago is replaced, without a
// warning; so is one saved more than 5 minutes in the future, with one warning,
// since a clock must be wrong.
//
// If the file cannot be written, the suite continues. It logs one warning, and
// another one after each success in between; it tries again after 10 s, and at
// each change of a breaker.
//
// # Clocks
//
// How much of an open time has passed while no process ran is read from the
// wall clock. If it is set back, breakers wait again, for at most what they had
// left; if it is set forward, they probe early.
//
// # Symbolic links
//
// Links in the path are followed once, by [File]: the file they lead to is
// replaced, not the link. Links that another user may have planted, so that
// this process replaces a file for them, are refused: a link to the file must
// belong to root or the user the process runs as; one to a directory may belong
// to the owner of the directory it is in, too. Windows' links are not checked.
// Keep state in a directory that nobody else may write to, not in /tmp: who may
// write to it can open breakers.
//
// # Two processes
//
// A file belongs to one process. [File] locks path.lock, which is not removed,
// and fails while another process, or another store of this one, holds the
// lock. Where the system or the file system has no locks, several processes may
// use the file: the last to save wins.
//
// The mode of the lock is 0600, except in a directory that others may write to,
// where all may read it: the next program may run as another user, as in a
// volume that containers share. It sets aside state that it may not read, and
// saves its own.
//
// # Metrics
//
// An [observe.SuiteObserver], such as package metrics, receives an event for each
// reading and writing:
//
//	StateRestored  success, none (no file), stale (too old, or from the
//	               future; replaced), rejected (set aside),
//	               failed (unreadable; set aside)
//	StateSaved     success, failed
package state
