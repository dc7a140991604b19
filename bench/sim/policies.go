package sim

import (
	"fmt"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/jitter"
)

// shipped is our policy: defaults, but for the schedule of delays.
func shipped(b jitter.Backoff) policy {
	return policy{
		Contender: lab.Contender{Name: "astra", Config: "defaults" + delays(b), Why: "what we ship", Ours: true},
		loop:      retries(shippedAttempts, b),
		budget:    successFunded(shippedBudget),
		fuse:      ourBreaker(shippedBreaker),
	}
}

func delays(b jitter.Backoff) string {
	if b == (jitter.Backoff{}) {
		return ""
	}
	return fmt.Sprintf(", backoff %v to %v", b.Delay(1), b.Max)
}

// as is the policy under another name.
func (p policy) as(name, config, why string) policy {
	p.Name, p.Config, p.Why = name, config, why
	return p
}

func (p policy) breaking(cfg breaker.Config) policy {
	p.fuse = ourBreaker(cfg)
	return p
}

func (p policy) paying(cfg budget.Config) policy {
	p.budget = successFunded(cfg)
	return p
}

func (p policy) withoutBreaker() policy {
	p.fuse = nil
	return p
}

// clockOnly is the breaker whose probes wait for the open time to end.
func clockOnly() breaker.Config {
	cfg := shippedBreaker
	cfg.ProbeShare = 0
	return cfg
}

var noPolicy = policy{Contender: lab.Contender{Name: "no policy", Config: "one attempt", Why: "what gRPC does unless told otherwise"}}

// middleware is go-grpc-middleware's retry with the delays that the scenario
// gives everybody, and ±10 % as in its default.
func middleware(base, most time.Duration) policy {
	return policy{
		Contender: lab.Contender{
			Name:   "go-grpc-middleware",
			Config: fmt.Sprintf("retry: %d attempts, %v doubling to %v, ±10 %%", shippedAttempts, base, most),
			Why:    "tuned to our attempts and delays; its default is no retry",
		},
		loop: peerRetries(plainLoop{attempts: shippedAttempts, base: base, most: most, formula: spread(0.1)}),
	}
}

// around puts a peer's breaker around the policy, and takes away what it does
// not have.
func (p policy) around(name, config, why string, r func() rule, hold func(int, float64) time.Duration) policy {
	p.Name, p.Config, p.Why = name, config, why
	p.fuse = peerBreaker(r, hold)
	return p
}

func inRow(n int) func() rule { return func() rule { return &row{want: n} } }

// unified is Linkerd's rule of that name.
func unified() rule {
	return anyOf{&row{want: 7}, &share{of: 0.2, calls: 5, window: 10 * time.Second}}
}
