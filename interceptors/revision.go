package interceptors

import "time"

// Revision tells which policies a suite has, and whether it was told to take
// others that it could not.
type Revision struct {
	// Generation counts: 1 are the policies given to [New], one more each
	// successful [Suite.Reload].
	Generation uint64
	// Since is when they took effect.
	Since time.Time
	// Err is why the last attempt to replace them failed; nil if it did not.
	Err error
	// ErrAt is when that was.
	ErrAt time.Time
}

// Revision returns the revision of the suite's policies.
func (s *Suite) Revision() Revision {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revision
}

// ReloadFailed records that new policies could not be had, from a file that
// cannot be read, say: [Suite.Revision] and observers tell of it. Policies stay
// as they are. A Reload that fails records that itself.
func (s *Suite) ReloadFailed(err error) {
	s.mu.Lock()
	s.revision.Err, s.revision.ErrAt = err, time.Now()
	s.mu.Unlock()
	s.notify(Notice{Kind: Reloaded, Result: "failed", Err: err})
}

// reloaded records that they were replaced, with mu held.
func (s *Suite) reloaded() {
	s.revision = Revision{Generation: s.revision.Generation + 1, Since: time.Now()}
}

// NoticeKind says what a [Notice] tells of.
type NoticeKind uint8

const (
	// Reloaded says that all policies were replaced (Result "success"), or were
	// to be and could not be ("failed", Err).
	Reloaded NoticeKind = iota
	// StateRestored says what came of reading a [Store] at New.
	StateRestored
	// StateSaved says what came of writing to it.
	StateSaved
	// StateShared says what came of telling other instances of a breaker, or
	// of hearing from them.
	StateShared
)

// Notice is something that happens to a suite, not to a call.
type Notice struct {
	Kind   NoticeKind
	Result string // "success", "failed", or another of few words, fit for a label
	Err    error
}

// SuiteObserver is an [Observer] that is told of the suite itself, too. It is
// called where it happens, seldom, and is to return at once without calling
// the suite.
type SuiteObserver interface {
	Observer
	Notice(n Notice)
}

func (s *Suite) notify(n Notice) {
	for _, w := range s.watchers {
		w.notify(n)
	}
}

func (w *watcher) notify(n Notice) {
	defer w.recovered()
	if o, ok := w.observer.(SuiteObserver); ok {
		o.Notice(n)
	}
}
