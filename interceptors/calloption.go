package interceptors

import (
	"errors"

	"github.com/astra-grpc/astra/internal/engine"
	"google.golang.org/grpc"
)

// WithCallPolicy replaces the policy of one call, as a whole. It does nothing
// on a connection without a suite.
//
// State stays the method's: the breaker and its thresholds are shared with the
// method's other calls, so only Breaker.Disabled, Breaker.Failures,
// Breaker.SlowCall and Budget.Disabled take effect; Limit is ignored. Of
// several such options the last wins. If the policy is invalid, the call fails
// before any attempt, with INVALID_ARGUMENT and every fault. An option may be
// created once and used for many calls, also concurrently, which saves
// validating the policy each time.
func WithCallPolicy(p Policy) grpc.CallOption {
	if faults := p.validate("call policy"); len(faults) > 0 {
		return callOption{err: engine.BadCallPolicy(errors.Join(faults...))}
	}
	return callOption{policy: compile(p.clone().withDefaults())}
}

// NoRetry makes one call with a single attempt. The rest of its policy applies.
// It does nothing on a connection without a suite.
func NoRetry() grpc.CallOption { return callOption{} }

// callOption is one of ours: a policy, its faults, or neither: no retry.
type callOption struct {
	grpc.EmptyCallOption

	policy *compiled
	err    error
}

// override is what the options of a call change in its method's policy; the
// last option wins.
type override struct {
	policy  *compiled // nil: the method's
	noRetry bool
	err     error
}

func readCallOptions(opts []grpc.CallOption) (o override) {
	for _, opt := range opts {
		ours, ok := opt.(callOption)
		switch {
		case !ok:
		case ours.err != nil:
			o.err = ours.err
		case ours.policy != nil:
			o = override{policy: ours.policy}
		default:
			o.noRetry = true
		}
	}
	return o
}

// apply returns the policy that a call of the plan's method has. One given for
// the call names its method as exactly as can be.
func (o override) apply(p *plan) *compiled {
	c := p.policy
	if o.policy != nil {
		c = o.policy
		if p.idempotent {
			c = c.idempotent
		}
	}
	if o.noRetry {
		c = c.single
	}
	return c
}
