package interceptors

import "github.com/astra-grpc/astra/internal/engine"

// For the simulator and the command, which no API is to be made for.
func init() {
	engine.PolicyOf = func(policy any, idempotent, named bool) *engine.Policy {
		c := compile(policy.(Policy).withDefaults())
		switch {
		case idempotent:
			c = c.idempotent
		case !named:
			c = c.undeclared
		}
		return &c.Policy
	}
	engine.Complete = func(policy any) any { return policy.(Policy).withDefaults() }
}
