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
// balances load: an open one goes on for the time it had left, bounded by the
// policy's MaxOpenFor; then probes decide as ever (sooner, if
// refused calls pay for them), and if they fail, open times grow from where they
// were. One that was half-open is so again. And budgets that are not full, which
// begin with what they held and what time has earned since. What a closed breaker
// has counted, and an adaptive limit has found, is not kept. State is dropped once
// it is older than [interceptors.MaxStateAge], 24 hours, be it in a file or in a
// process that has no use for it.
//
// # When it is written
//
// Never by a call. A goroutine of the store's writes when the suite begins,
// after a breaker has changed (at once, then not again for a second), when a
// budget has come to differ by more than a token (of large ones, a twentieth)
// from what the file would give back, which is looked at once a second, and
// when the suite is closed: in an outage about once a second. A process that is
// killed loses at most what happened since.
//
// # The file
//
// A line with version and SHA-256, then a JSON document. It is replaced whole,
// by a new file (path.new) that is synced, renamed over it, and whose directory
// is synced: after a crash there is the old state or the new. It is the
// owner's alone (mode 0600). Method and target names are in it, messages and
// metadata are not.
//
// A file that cannot be used (damaged, cut short, larger than 4 MiB, of another
// program or a newer version, unreadable) is renamed to the first free of
// path.rejected-1 to path.rejected-100, with one warning, and the suite begins
// without state. Once a hundred are there, the last is replaced. Until the file
// could be renamed, it is not overwritten and nothing is saved.
//
// A sound file that was saved more than 24 hours ago is replaced, which is no
// fault. So is one saved more than 5 minutes in the future, with one warning, as
// a clock must be wrong.
//
// If the file cannot be written, the suite goes on. That is warned of once, and
// once more should it happen again after a success; it is tried again after
// 10 s, and at each change of a breaker.
//
// # Clocks
//
// How much of an open time has passed while no process ran is read from the wall
// clock. Set back, it makes breakers wait again, for what they had left at most;
// set forward, it makes them probe early.
//
// # Symbolic links
//
// Links in the path are followed once, by [File]: the file they lead to is
// replaced, not the link. Links that another user may have planted, so that this
// process replaces a file for them, are refused: a link to the file must belong to
// root or the user the process runs as; one to a directory may belong to the
// owner of the directory it is in, too. Windows' links are not checked. Better
// keep state in a directory that nobody else may write to, not in /tmp: whoever
// may can also have breakers opened.
//
// # Two processes
//
// A file is one process's. [File] locks path.lock, which stays behind, and fails
// while another process, or another store of this one, has it. Where the system
// or the file system has no locks, nobody is kept out: the last to save wins,
// whole.
//
// The lock is the owner's alone (mode 0600), except in a directory that others
// may write to, where all may read it: the next program may run as another user,
// as in a volume that containers share. It sets aside the state that it may not
// read, and saves its own.
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
