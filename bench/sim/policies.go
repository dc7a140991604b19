package sim

import (
	"fmt"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// shipped is our policy: defaults, but for the schedule of delays.
func shipped(b jitter.Backoff) policy {
	return policy{
		Contender: lab.Contender{Name: "astra", Config: "defaults" + delays(b), Why: "what we ship", Ours: true},
		ours:      &interceptors.Policy{Retry: interceptors.Retry{Backoff: b}},
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

// but is our policy with a change.
func (p policy) but(change func(*interceptors.Policy)) policy {
	ours := *p.ours
	change(&ours)
	p.ours = &ours
	return p
}

// clockOnly is the breaker whose probes wait for the open time to end.
func clockOnly(p *interceptors.Policy) { p.Breaker.ProbeShare = 1e-9 }

func withoutBreaker(p *interceptors.Policy) { p.Breaker.Disabled = true }

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
