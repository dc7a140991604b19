package sim

import (
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
)

// The defaults that ship. A test holds them against the table of docs/defaults.md, which other
// tests hold against the code.
var (
	shippedBreaker = breaker.Config{
		FailureRate: 0.5,
		SlowRate:    0.5,
		MinCalls:    20,
		Window:      10 * time.Second,
		Consecutive: 7,
		OpenFor:     time.Second,
		MaxOpenFor:  time.Minute,
		ProbeShare:  0.1,
		Probes:      1,
		ProbeTTL:    10 * time.Second,
	}
	shippedBudget = budget.Config{Ratio: 0.2, MinPerSecond: 0.1, Burst: 50}
)

const shippedAttempts = 3
