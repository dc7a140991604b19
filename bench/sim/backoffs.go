package sim

import (
	"math"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/jitter"
)

// backoff is a client's way to wait: the delay before retry n, from 1, after
// the delay prev, 0 for the first. Base and most are what the scenario sets for
// all; u is the chance in [0, 1).
type backoff struct {
	lab.Contender
	next func(n int, prev, base, most time.Duration, u float64) time.Duration
}

// backoffStrategies are ours and those of peers.
func backoffStrategies() []backoff {
	return []backoff{
		ours(jitter.Full, "the default: our contract's formula, ±50 % of the schedule"),
		ours(jitter.Equal, "the upper half of the schedule, AWS' formula of this name"),
		ours(jitter.Decorrelated, "our contract's formula, up to three times the schedule"),
		ours(jitter.None, "what most libraries do unless told otherwise"),
		ours(jitter.AWSFull, "the formula that the AWS Architecture Blog calls full jitter"),
		ours(jitter.AWSDecorrelated, "the formula that it calls decorrelated jitter"),
		{lab.Contender{Name: "grpc-go", Config: "min(max, base·2ⁿ⁻¹) · U[0.8, 1.2)", Why: "gRFC A6 as grpc-go has it; no other jitter can be had"},
			spread(0.2)},
		{lab.Contender{Name: "go-grpc-middleware", Config: "min(max, base·2ⁿ⁻¹) · U[0.9, 1.1)", Why: "its exponential backoff with the jitter of its default; linear is worse here"},
			spread(0.1)},
		{lab.Contender{Name: "constant", Config: "10 · base", Why: "a fixed delay, as hand-written loops have it"},
			func(_ int, _, base, _ time.Duration, _ float64) time.Duration { return 10 * base }},
	}
}

func ours(s jitter.Strategy, why string) backoff {
	formula := map[jitter.Strategy]string{
		jitter.Full:            "d · U[0.5, 1.5)",
		jitter.Equal:           "d/2 + d/2 · U[0, 1)",
		jitter.Decorrelated:    "min(max, d · U[0, 3))",
		jitter.None:            "d",
		jitter.AWSFull:         "U[0, d)",
		jitter.AWSDecorrelated: "min(max, U[base, 3 · previous))",
	}[s]
	return backoff{
		lab.Contender{Name: s.String(), Config: formula + ", d = min(max, base·2ⁿ⁻¹)", Why: why, Ours: true},
		func(n int, prev, base, most time.Duration, u float64) time.Duration {
			return jitter.Backoff{Base: base, Max: most, Jitter: s}.Next(n, prev, u)
		},
	}
}

// spread is exponential backoff that strays by a share to either side.
func spread(share float64) func(int, time.Duration, time.Duration, time.Duration, float64) time.Duration {
	return func(n int, _, base, most time.Duration, u float64) time.Duration {
		d := math.Min(float64(most), float64(base)*math.Pow(2, float64(n-1)))
		return time.Duration(d * (1 - share + 2*share*u))
	}
}
