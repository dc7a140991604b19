package observe

// SuiteEvent is something that happened to a suite, not to a call.
type SuiteEvent struct {
	Suite  uint64 // numbers the suites of the process, from 1
	Kind   SuiteEventKind
	Result SuiteResult
	Err    error // nil unless something went wrong
}

// SuiteEventKind is what a [SuiteEvent] reports.
type SuiteEventKind uint8

// The kinds of suite events.
const (
	SuiteEventUnknown SuiteEventKind = iota // no event
	Reloaded                                // all policies were replaced (ResultSuccess), or could not be (ResultFailed, Err)
	StateRestored                           // a store was read, when the suite was made
	StateSaved                              // a store was written
	StateShared                             // a breaker was reported to other instances, or by them
	Steered                                 // somebody forced a breaker or a backend, or let go of one (ResultSuccess), or could not (ResultFailed, Err)
	SuiteClosed                             // Suite.Close was called
)

var suiteEventKindNames = [...]string{
	SuiteEventUnknown: "unknown", Reloaded: "reloaded",
	StateRestored: "state_restored", StateSaved: "state_saved", StateShared: "state_shared", Steered: "steered", SuiteClosed: "suite_closed",
}

// String returns the kind in snake case: "state_saved".
func (k SuiteEventKind) String() string { return name(suiteEventKindNames[:], uint8(k)) }

// SuiteResult is how what a [SuiteEvent] reports ended.
type SuiteResult uint8

// The results of suite events.
const (
	ResultUnknown  SuiteResult = iota // not said
	ResultSuccess                     // done
	ResultFailed                      // not done; SuiteEvent.Err says why
	ResultAbsent                      // there was nothing to restore
	ResultStale                       // what there was is too old, or from the future
	ResultRejected                    // what there was makes no sense
	ResultSent                        // reported to other instances
	ResultReceived                    // reported by other instances
)

var suiteResultNames = [...]string{
	ResultUnknown: "unknown", ResultSuccess: "success", ResultFailed: "failed", ResultAbsent: "none",
	ResultStale: "stale", ResultRejected: "rejected", ResultSent: "sent", ResultReceived: "received",
}

// String returns the result as it is written in metric labels; ResultAbsent is
// "none".
func (r SuiteResult) String() string { return name(suiteResultNames[:], uint8(r)) }
