package sim

import (
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/inside"
)

// The default policy as the engine has it.
var (
	defaults        = inside.PolicyOf(interceptors.Policy{}, true, true)
	shippedBreaker  = defaults.Breaker
	shippedAttempts = defaults.Retry.MaxAttempts
)
