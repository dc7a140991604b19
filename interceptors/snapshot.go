package interceptors

import (
	"strconv"
	"time"
)

// Snapshot is what a suite is doing, for people and their tools: see
// [Suite.Snapshot]. As JSON its names are those of its fields' tags, times are
// RFC 3339 and durations seconds; names are not changed, others may be added.
// It holds nothing of a call's payload, metadata or messages.
type Snapshot struct {
	Time     time.Time          `json:"time"`
	Started  time.Time          `json:"started"` // when New was called
	Closed   bool               `json:"closed"`
	Revision RevisionSnapshot   `json:"revision"`
	Policies []PolicySnapshot   `json:"policies"` // those that methods have, and those given for others
	Targets  []TargetSnapshot   `json:"targets"`
	Methods  []MethodSnapshot   `json:"methods"`  // by target, then method
	Backends []BackendSnapshot  `json:"backends"` // of balancers that the suite has a say in
	Calls    []CallSnapshot     `json:"calls"`    // the last 100 that are notable, the latest first
	Reloads  []ReloadSnapshot   `json:"reloads"`  // the last 20, the latest first
	Stores   []StoreSnapshot    `json:"stores"`
	Steered  []SteeringSnapshot `json:"steered"` // the last 20 times that somebody forced something by hand, the latest first
	// Overflow is true if there are more pairs of target and method than are
	// kept: the others are not here.
	Overflow bool `json:"overflow"`
}

// Seconds is a duration that is written as seconds: 1.5.
type Seconds time.Duration

// MarshalJSON implements [json.Marshaler].
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, time.Duration(s).Seconds(), 'f', -1, 64), nil
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *Seconds) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	*s = Seconds(v * float64(time.Second))
	return err
}

// String returns the duration as Go writes it.
func (s Seconds) String() string { return time.Duration(s).String() }

// RevisionSnapshot is a [Revision].
type RevisionSnapshot struct {
	Generation uint64    `json:"generation"`
	Since      time.Time `json:"since"`
	Error      string    `json:"error,omitempty"` // of the last replacement, if that failed
	ErrorTime  time.Time `json:"error_time,omitzero"`
}

// ReloadSnapshot is a replacement of the policies.
type ReloadSnapshot struct {
	Time       time.Time `json:"time"`
	Result     string    `json:"result"`     // "success" or "failed"
	Generation uint64    `json:"generation"` // from then on
	Error      string    `json:"error,omitempty"`
}

// PolicySnapshot is a policy as calls have it, its defaults filled in.
type PolicySnapshot struct {
	ID      string `json:"id"`      // in MethodSnapshot.Policy, of this snapshot alone
	Pattern string `json:"pattern"` // that it was given for; "*": every method
	// Variant is "idempotent" for methods declared so, if that makes a
	// difference, "undeclared" for those that a policy which hedges does not
	// hedge, or "".
	Variant string `json:"variant,omitempty"`
	// Source is where it comes from: a file and a line ("policy.yaml:7"),
	// "code", or "default" if no policy was given.
	Source   string       `json:"source"`
	Revision uint64       `json:"revision"` // RevisionSnapshot.Generation
	Policy   PolicyFields `json:"policy"`
}

// TargetSnapshot is a target.
type TargetSnapshot struct {
	Target    string           `json:"target"`    // as metrics name it
	Canonical string           `json:"canonical"` // with its scheme
	Methods   int              `json:"methods"`
	NotClosed int              `json:"not_closed"` // of these, those whose breaker is not
	Budgets   []BudgetSnapshot `json:"budgets"`    // a different one for each Budget of its policies
}

// MethodSnapshot is a method of a target.
type MethodSnapshot struct {
	Target string `json:"target"`
	Method string `json:"method"`
	Policy string `json:"policy"` // a PolicySnapshot.ID
	// Pattern is that of its policy.
	Pattern    string           `json:"pattern"`
	Idempotent bool             `json:"idempotent"` // declared by its descriptor
	Fallback   bool             `json:"fallback"`   // there is one
	Breaker    *BreakerSnapshot `json:"breaker,omitempty"`
	Budget     *BudgetSnapshot  `json:"budget,omitempty"`
	Hedge      *HedgeSnapshot   `json:"hedge,omitempty"`
	Limit      *LimitSnapshot   `json:"limit,omitempty"`
	Unwell     *UnwellSnapshot  `json:"unwell,omitempty"` // nil: for a minute no call was notable
}

// UnwellSnapshot is a time in which calls of a method failed, were refused or
// were rescued, less than a minute apart.
type UnwellSnapshot struct {
	Since time.Time `json:"since"` // when the first of these calls ended
	Last  time.Time `json:"last"`
	Count uint64    `json:"count"` // these calls
	// Share is about which share of all recent calls these are. 0: not known,
	// since they are few, or the breaker is not closed, or there is none.
	Share float64 `json:"share,omitzero"`
}

// BreakerSnapshot is the state of a breaker. Times that do not apply are left
// out.
type BreakerSnapshot struct {
	State string    `json:"state"` // "closed", "half-open" or "open"
	Mode  string    `json:"mode"`  // "enforce" or "observe"
	Since time.Time `json:"since,omitzero"`
	Why   string    `json:"why,omitempty"` // an observe.Reason of the state
	// NotClosedSince is when it opened; probes that fail do not change it.
	NotClosedSince time.Time `json:"not_closed_since,omitzero"`
	Cause          string    `json:"cause,omitempty"` // an observe.Reason: why it opened then
	// NoConnection is true of one that is open if the call that opened it last, a probe
	// maybe, found no connection: nobody has answered it.
	NoConnection bool `json:"no_connection,omitempty"`
	// NextProbe is when a call may pass, at the latest.
	NextProbe   time.Time `json:"next_probe,omitzero"`
	Openings    int       `json:"openings"` // in a row
	Refused     uint64    `json:"refused"`  // calls, in all
	WouldRefuse uint64    `json:"would_refuse"`
	Forced      string    `json:"forced,omitempty"` // "open" or "closed": by ForceOpen or ForceClose
	ForcedUntil time.Time `json:"forced_until,omitzero"`
}

// BudgetSnapshot is the state of a retry budget.
type BudgetSnapshot struct {
	Tokens       float64 `json:"tokens"`
	Capacity     float64 `json:"capacity"`
	Ratio        float64 `json:"ratio"`
	MinPerSecond float64 `json:"min_per_second"`
	// EmptySince is when it first refused a retry, if it has not been half full
	// since.
	EmptySince time.Time `json:"empty_since,omitzero"`
}

// HedgeSnapshot is when hedges start.
type HedgeSnapshot struct {
	Delay    Seconds `json:"delay_seconds"` // after the attempt before; 0: not known yet
	Measured bool    `json:"measured"`      // from the method's own latency
}

// LimitSnapshot is the use of a limit.
type LimitSnapshot struct {
	Mode        string `json:"mode"` // "enforce" or "observe"
	InFlight    int    `json:"in_flight"`
	Queued      int    `json:"queued"`
	Max         int    `json:"max"` // 0: any number
	Adaptive    bool   `json:"adaptive"`
	Refused     uint64 `json:"refused"`
	WouldRefuse uint64 `json:"would_refuse"`
}

// BackendSnapshot is a server behind a target, of suites that balance load: see
// [WithBalancing].
type BackendSnapshot struct {
	Target    string    `json:"target"` // with its scheme
	Address   string    `json:"address"`
	State     string    `json:"state"`     // "in", "out" (ejected) or "on_trial" (it gets probes)
	Connected bool      `json:"connected"` // there is a connection to it
	Believed  bool      `json:"believed"`  // false: so many of the target's are out that none is believed to be
	Mode      string    `json:"mode"`      // of ejections: "enforce" or "observe"
	Since     time.Time `json:"since,omitzero"`
	Why       string    `json:"why,omitempty"` // an observe.Reason of the state
	// NotInSince is when it was ejected; probes that fail do not change it.
	NotInSince time.Time `json:"not_in_since,omitzero"`
	Cause      string    `json:"cause,omitempty"`     // an observe.Reason: why it was ejected then
	NextProbe  time.Time `json:"next_probe,omitzero"` // when it is tried, at the latest
	Succeeded  uint64    `json:"succeeded"`           // attempts, in all
	Failed     uint64    `json:"failed"`
	// WouldAvoid counts attempts that would have gone elsewhere, were the mode to
	// enforce.
	WouldAvoid  uint64    `json:"would_avoid"`
	Forced      string    `json:"forced,omitempty"` // "out": by DrainBackend
	ForcedUntil time.Time `json:"forced_until,omitzero"`
}

// CallSnapshot is a call that failed, was refused, or succeeded only after a
// retry or by its fallback. Consecutive refusals of a method for the same
// reason share one.
type CallSnapshot struct {
	Time      time.Time         `json:"time"`      // when it ended
	LastTime  time.Time         `json:"last_time"` // when the last of Count did
	Count     uint64            `json:"count"`
	Target    string            `json:"target"`
	Method    string            `json:"method"`
	Outcome   string            `json:"outcome"`          // an observe.Outcome
	Code      string            `json:"code"`             // of the error that the caller saw, or would have without its fallback
	Reason    string            `json:"reason,omitempty"` // an observe.Reason: why it was not retried, or was refused
	Exhausted bool              `json:"exhausted"`        // it was not retried because its attempts were used up
	Attempts  int               `json:"attempts"`         // how many there were
	Hedges    int               `json:"hedges"`           // of them
	Waited    Seconds           `json:"waited_seconds"`   // in backoffs
	Trail     []AttemptSnapshot `json:"trail,omitempty"`  // those that failed: the first seven and the last; and the one that succeeded
}

// AttemptSnapshot is an attempt of a [CallSnapshot].
type AttemptSnapshot struct {
	Number int       `json:"number"`
	Kind   string    `json:"kind"` // an observe.AttemptKind
	Code   string    `json:"code"`
	Time   time.Time `json:"time"`                   // when it ended
	Delay  Seconds   `json:"delay_seconds,omitzero"` // planned, before the next
}

// StoreSnapshot is a [Store] and its last report.
type StoreSnapshot struct {
	Store  string    `json:"store"`           // its type
	Event  string    `json:"event,omitempty"` // an observe.SuiteEventKind
	Result string    `json:"result,omitempty"`
	Time   time.Time `json:"time,omitzero"`
	Error  string    `json:"error,omitempty"`
	// FailingSince is when what it reports began to fail.
	FailingSince time.Time `json:"failing_since,omitzero"`
}

// SteeringSnapshot is a use of [Suite.ForceOpen], [Suite.ForceClose],
// [Suite.Release], [Suite.DrainBackend] or [Suite.ReturnBackend].
type SteeringSnapshot struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"` // "force_open", "force_close", "release", "drain", "return"
	Target  string    `json:"target"`
	Method  string    `json:"method"`            // "" of the last two
	Backend string    `json:"backend,omitempty"` // its address, of these
	For     Seconds   `json:"for_seconds,omitzero"`
	Error   string    `json:"error,omitempty"`
}
