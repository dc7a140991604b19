package interceptors

import (
	"time"

	"github.com/astra-grpc/astra/observe"
)

// Revision identifies a suite's policies, and says why the last replacement
// failed.
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

func (r Revision) snapshot() RevisionSnapshot {
	return RevisionSnapshot{Generation: r.Generation, Since: r.Since, Error: errorText(r.Err), ErrorTime: r.ErrAt}
}

// reloadedLocked records that they were replaced.
func (r *registry) reloadedLocked() {
	r.revision = Revision{Generation: r.revision.Generation + 1, Since: time.Now()}
	r.history.revised(r.revision.snapshot(), ReloadSnapshot{Time: r.revision.Since, Result: observe.ResultSuccess.String(), Generation: r.revision.Generation})
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
	e.Suite = r.number
	for _, o := range r.observers {
		o.SuiteEvent(e)
	}
}
