package observe

import "time"

// BreakerState is the state of a breaker; its values are those of the
// astra_breaker_state metric.
type BreakerState uint8

// The states of a breaker.
const (
	BreakerClosed   BreakerState = iota // calls pass
	BreakerHalfOpen                     // a few calls pass, to find out
	BreakerOpen                         // no call passes
)

var breakerStateNames = [...]string{BreakerClosed: "closed", BreakerHalfOpen: "half-open", BreakerOpen: "open"}

// String returns "closed", "half-open" or "open".
func (s BreakerState) String() string { return name(breakerStateNames[:], uint8(s)) }

// BreakerStatus is where a breaker stands. Its fields but State are zero while it
// is closed.
type BreakerStatus struct {
	State     BreakerState
	OpenSince time.Time     // when it opened; times half-open, and openings from there, are part of it
	Cause     Reason        // why it opened then
	NextProbe time.Duration // until a call may pass to find out, at the latest; 0: the next one
}

// BudgetStatus is what a retry budget holds.
type BudgetStatus struct {
	Tokens   float64 // retries that it would allow now
	Capacity float64 // tokens held at most
	// EmptySince is when it first refused a retry, if it has not been half full
	// since; zero: it has.
	EmptySince time.Time
}

// LimitState is how far a limit is used.
type LimitState struct {
	InFlight int // calls that hold a slot
	Queued   int // calls that wait
	Max      int // calls that may be in flight; 0: any number
}

// Source is what an [Endpoint] reads. Suites implement it. So may a test of an
// observer, which may embed the interface for the methods that it does not
// need. Its methods must be safe for concurrent use. Endpoint documents them.
type Source interface {
	Target() string
	CanonicalTarget() string
	Method() string
	Breaker() (b BreakerStatus, ok bool)
	Budget() (b BudgetStatus, ok bool)
	LimitState() (s LimitState, ok bool)
}

// Endpoint is a method of a target, with the state that a suite keeps for it.
// Its methods may be called at any time, from any goroutine, also after the
// suite has forgotten the endpoint. The zero Endpoint must not be used.
type Endpoint struct{ source Source }

// NewEndpoint returns an endpoint that reads s, which must not be nil. It is
// for suites, and for tests that call an [Observer] without a suite.
func NewEndpoint(s Source) Endpoint { return Endpoint{s} }

// Target returns the target as the connection was given it, or its name by
// WithTargetName.
func (e Endpoint) Target() string { return e.source.Target() }

// CanonicalTarget returns the target with its scheme.
func (e Endpoint) CanonicalTarget() string { return e.source.CanonicalTarget() }

// Method returns the full method name, "/pkg.Service/Method"; names over 512
// bytes are shortened.
func (e Endpoint) Method() string { return e.source.Method() }

// Breaker returns the breaker's status now; ok is false if the policy has none.
func (e Endpoint) Breaker() (b BreakerStatus, ok bool) { return e.source.Breaker() }

// BreakerState returns the state alone.
func (e Endpoint) BreakerState() (s BreakerState, ok bool) {
	b, ok := e.source.Breaker()
	return b.State, ok
}

// Budget returns the status of the target's retry budget now; ok is false if
// the policy has none.
func (e Endpoint) Budget() (b BudgetStatus, ok bool) { return e.source.Budget() }

// BudgetTokens returns the tokens alone.
func (e Endpoint) BudgetTokens() (tokens float64, ok bool) {
	b, ok := e.source.Budget()
	return b.Tokens, ok
}

// LimitState returns the use of the limit now; ok is false if the policy has
// none.
func (e Endpoint) LimitState() (s LimitState, ok bool) { return e.source.LimitState() }
