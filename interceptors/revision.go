package interceptors

import (
	"time"

	"github.com/astra-grpc/astra/observe"
)

// Revision is which policies a suite has, and why others that it was to take were
// refused.
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
// cannot be read, say: [Suite.Revision] and a [observe.SuiteObserver] report it.
// Policies stay as they are. A Reload that fails records that itself.
func (s *Suite) ReloadFailed(err error) {
	s.mu.Lock()
	s.revision.Err, s.revision.ErrAt = err, time.Now()
	s.history.revised(s.revision, err)
	s.mu.Unlock()
	s.notify(observe.SuiteEvent{Kind: observe.Reloaded, Result: observe.ResultFailed, Err: err})
}

// reloadedLocked records that they were replaced.
func (r *registry) reloadedLocked() {
	r.revision = Revision{Generation: r.revision.Generation + 1, Since: time.Now()}
	r.history.revised(r.revision, nil)
	r.viewLocked()
}

// view is what of a registry can be read without its lock.
type view struct {
	policies   patternTable[*compiled]
	generation uint64
	closed     bool
}

func (r *registry) viewLocked() {
	r.view.Store(&view{r.policies, r.revision.Generation, r.closed})
}

func (r *registry) notify(e observe.SuiteEvent) {
	for _, o := range r.observers {
		o.SuiteEvent(e)
	}
}
