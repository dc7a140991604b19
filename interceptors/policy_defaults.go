package interceptors

import (
	"cmp"
	"math"
	"time"

	astracodes "github.com/astra-grpc/astra/codes"
)

// minProbeTTL is how long a probe may take before another is let through.
const minProbeTTL = 10 * time.Second

// withDefaults returns the policy with every zero that stands for something
// replaced by it.
func (p Policy) withDefaults() Policy {
	h := &p.Hedge
	h.NonFatal = cmp.Or(h.NonFatal, astracodes.Retryable)

	r := &p.Retry
	if r.asked() {
		r.Repeat = RepeatAny
	}
	if h.on() {
		r.MaxAttempts = 1 // hedged or retried, not both
	}
	r.MaxAttempts = cmp.Or(r.MaxAttempts, 3)
	r.Codes = cmp.Or(r.Codes, astracodes.Retryable)
	r.BufferBytes = cmp.Or(r.BufferBytes, 256<<10)

	b := &p.Breaker
	b.FailureRate = cmp.Or(b.FailureRate, 0.5)
	b.MinCalls = cmp.Or(b.MinCalls, 20)
	b.Window = cmp.Or(b.Window, 10*time.Second)
	b.Consecutive = cmp.Or(b.Consecutive, 7)
	b.SlowRate = cmp.Or(b.SlowRate, 0.5)
	b.OpenFor = cmp.Or(b.OpenFor, time.Second)
	b.MaxOpenFor = cmp.Or(b.MaxOpenFor, max(b.OpenFor, time.Minute))
	b.ProbeShare = cmp.Or(b.ProbeShare, 0.1)
	b.Probes = cmp.Or(b.Probes, 1)
	b.Failures = cmp.Or(b.Failures, astracodes.Failure)

	g := &p.Budget
	g.Ratio = cmp.Or(g.Ratio, 0.2)
	g.MinPerSecond = cmp.Or(g.MinPerSecond, 0.1)
	g.Burst = cmp.Or(g.Burst, 50)
	return p
}

// burst is Burst, or what a second brings.
func (l Limit) burst() int {
	return cmp.Or(l.Burst, min(maxBurst, int(math.Ceil(l.Rate))))
}
