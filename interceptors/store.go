package interceptors

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/astra-grpc/astra/observe"
)

// Store carries the state of breakers and budgets to the next process, as
// package state does, or to other instances, as its nested module state/redis
// does. A suite waits for its stores only in [New] and [Suite.Close].
type Store interface {
	// Attach is called once, by New, before it returns. The store may restore
	// state at once, and keeps l for later. If Attach returns an error, New
	// fails. Return one only for misuse; report missing or unreadable state with
	// [StoreHandle.Notify] and log it.
	Attach(l StoreHandle) error
	// Changed is called after a breaker's state has changed, or that of a
	// backend by hand, on the goroutine of the call that changed it: it must
	// return at once and must not call the suite. Calls that still run may
	// change something after Close. A panic in it is recovered, and the first is
	// logged.
	Changed(c Change)
	// Close is called by Suite.Close. It must write what is pending and end the
	// store's goroutines. When called again, it must return the same. A panic in it
	// becomes an error.
	Close() error
}

// handOn reports a change to the stores. A fault of one concerns neither the call
// that brought the change about nor the other stores.
func (r *registry) handOn(c Change) {
	for _, st := range r.stores {
		r.changedIn(st, c)
	}
}

func (r *registry) changedIn(st Store, c Change) {
	defer func() {
		if p := recover(); p != nil && r.storePanicked.CompareAndSwap(false, true) {
			r.Log().Error("astra: store panicked", "store", fmt.Sprintf("%T", st), "panic", p)
		}
	}()
	st.Changed(c)
}

func closeStore(st Store) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("astra: store %T panicked in Close: %v", st, p)
		}
	}()
	return st.Close()
}

// MaxStateAge is the age past which saved state is dropped. It is also the
// longest open time.
const MaxStateAge = 24 * time.Hour

// State is what of a suite is worth keeping: breakers that are not closed and,
// of each target with a retry budget that is not full, the budgets. All times
// in it are durations, counted from the moment it was taken; the store must
// subtract what has passed by the time it restores them.
type State struct {
	Breakers []BreakerRecord
	Budgets  []BudgetRecord
	Backends []BackendRecord // that are ejected or drained; see [WithBalancing]
}

// BackendRecord is the state of a backend that is ejected, on trial or drained.
type BackendRecord struct {
	Target   string        // with its scheme
	Backend  string        // its addresses
	Left     time.Duration // of the time that it is out
	Openings int           // how often in a row
	Age      time.Duration // how long ago all this was so
	Drained  bool          // by hand, for Left; see [Suite.DrainBackend]
}

// BreakerRecord is the state of a breaker that is not closed, or held closed.
type BreakerRecord struct {
	Target, Method string
	// Left is how long it will stay open. 0: it is half-open, or the next call
	// makes it so.
	Left time.Duration
	// Openings is how often it has opened without closing between. Its open
	// time grows with it.
	Openings int
	// Age is how long ago this was recorded. 0: now, by a breaker in use. It is
	// more in a record that was restored and that no call has used yet.
	Age time.Duration
	// Forced is "open" or "closed" if it is held so by hand for Left, see
	// [Suite.ForceOpen]; else "".
	Forced string
}

// BudgetRecord is the state of a retry budget. Methods of a target share one
// as long as their policies agree on Ratio, MinPerSecond and Burst.
type BudgetRecord struct {
	Target                     string
	Ratio, MinPerSecond, Burst float64
	Tokens                     float64
	Age                        time.Duration // since it held these tokens; time has earned more
}

// Level returns the tokens that the budget holds later.
func (b BudgetRecord) Level(later time.Duration) float64 {
	return min(b.Burst, b.Tokens+b.MinPerSecond*(b.Age+later).Seconds())
}

// Change is a breaker's change of state, or that of a backend that somebody has
// drained or returned: then Backend is its address, and Method is "".
type Change struct {
	Target, Method string
	Backend        string
	From, To       observe.BreakerState
	Left           time.Duration // of the open time, if To is BreakerOpen
	Openings       int           // in a row, this one included
	Remote         bool          // reported by a store, not found by this suite itself
	ByHand         bool          // [Suite.ForceOpen], ForceClose, Release, DrainBackend or ReturnBackend: the state may be the one that was
	Forced         string        // what it is held, "open" or "closed", then; else ""
}

// StoreHandle is a running suite as its store sees it. Its methods may be
// called at any time, from any goroutine, but not from within Changed. After
// [Suite.Close] they change nothing.
type StoreHandle struct {
	registry *registry
	store    int
}

// State returns what is worth keeping now.
func (l StoreHandle) State() State { return l.registry.state() }

// Restore hands the suite state of an earlier one. Breakers and budgets begin
// with it when a call first asks for them; those in use are not changed. Open
// times are bounded by the policy's MaxOpenFor, tokens by Burst; budgets also
// get the tokens of the time since. If a budget's policy has changed, it begins
// with the fewest tokens that a budget of its target held. Records that are
// invalid, have names longer than 512 bytes or are older than MaxStateAge are
// dropped, and so are those past 16384. Backends are ejected when a resolver
// first returns them.
func (l StoreHandle) Restore(st State) { l.registry.restore(st) }

// Open opens a closed breaker for r.Left, bounded by the policy, because other
// instances have opened theirs. It has no effect unless the breaker is closed.
func (l StoreHandle) Open(r BreakerRecord) { l.registry.applyRemote(r, quorum) }

// Hint makes a closed breaker open at its next failure, unless a success
// comes before, because another instance has opened its own. For a method not
// called yet the hint holds for r.Left.
func (l StoreHandle) Hint(r BreakerRecord) { l.registry.applyRemote(r, hint) }

// Notify reports to the suite's observers what came of restoring, saving or
// sharing state.
func (l StoreHandle) Notify(e observe.SuiteEvent) {
	l.registry.history.stored(l.store, e)
	l.registry.notify(e)
}

// Logger returns the suite's logger. See [WithLogger].
func (l StoreHandle) Logger() *slog.Logger { return l.registry.Log() }
