package peers

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/bench/lab"
	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// The names that gates look for.
const (
	AstraDefault   = "astra (default)"
	AstraTuned     = "astra (tuned)"
	AstraUnbroken  = "astra without breaker (tuned)"
	AstraHedge     = "astra hedge, 10ms"
	AstraHedgeP95  = "astra hedge, own p95"
	GobreakerTuned = "gobreaker + middleware retry (tuned)"
)

// tuned is the default policy with a tuning's attempts and backoff.
func (t Tuning) policy() interceptors.Policy {
	return interceptors.Policy{
		Retry:          interceptors.Retry{MaxAttempts: t.Attempts, Backoff: jitter.Backoff{Base: t.Base, Max: t.Max}},
		AttemptTimeout: t.AttemptTimeout,
	}
}

// AstraClients are ours at its defaults and tuned: retry, budget, breaker and
// metrics.
func AstraClients(t Tuning) []Client {
	return []Client{
		astra(lab.Contender{
			Name: AstraDefault, Config: "interceptors.New(): 3 attempts, backoff 500 ms doubling to 8 s, budget 0.2 + 0.1/s, burst 50, breaker",
			Why: "the zero Policy, with metrics",
		}, interceptors.Policy{}),
		astra(lab.Contender{Name: AstraTuned, Config: "Policy: " + t.String(), Why: "all else is the default"}, t.policy()),
	}
}

// AstraWithoutBreaker shows what the budget does alone.
func AstraWithoutBreaker(t Tuning) Client {
	p := t.policy()
	p.Breaker.Disabled = true
	return astra(lab.Contender{Name: AstraUnbroken, Config: "Policy: " + t.String() + ", Breaker.Disabled", Why: "what the budget does alone"}, p)
}

// HedgeField is the contenders of hedging: none, ours and failsafe-go's.
func HedgeField(delay time.Duration) []Client {
	hedge := func(name string, delay time.Duration, config, why string) Client {
		return astra(lab.Contender{Name: name, Config: config, Why: why}, interceptors.Policy{
			Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: delay, NonFatal: astracodes.Of(codes.Unavailable)},
		})
	}
	return append([]Client{
		NoPolicy(),
		hedge(AstraHedge, delay, fmt.Sprintf("Policy.Hedge: 2 attempts, %v, NonFatal UNAVAILABLE", delay), "the delay of its peer; budget and breaker are the default"),
		hedge(AstraHedgeP95, 0, "Policy.Hedge: 2 attempts, Delay 0, NonFatal UNAVAILABLE", "after the method's own p95; budget and breaker are the default"),
	}, failsafeHedges(delay)...)
}

func astra(c lab.Contender, p interceptors.Policy) Client {
	c.Ours = true
	return Client{Contender: c, Options: func() ([]grpc.DialOption, func()) {
		// By its name, since a method is hedged that is meant, or known to be idempotent.
		s := Astra(interceptors.WithMethodPolicy(greeterpb.Greeter_SayHello_FullMethodName, p))
		return s.DialOptions(), func() { _ = s.Close() }
	}}
}
