package interceptors

import (
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/inside"
)

// For the simulator and the command, which no API is to be made for.
func init() {
	inside.PolicyOf = func(policy any, idempotent, named bool) *engine.Policy {
		c := compile(policy.(Policy).withDefaults())
		switch {
		case idempotent:
			c = c.idempotent
		case !named:
			c = c.undeclared
		}
		return &c.Policy
	}
	inside.Complete = func(policy any) any { return policy.(Policy).withDefaults() }
	inside.BalancingOf = func(balancing any) fleet.Config { return balancing.(Balancing).withDefaults().config() }
}
