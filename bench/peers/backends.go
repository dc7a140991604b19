package peers

import (
	"fmt"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/xds" // registers outlier_detection, which grpc-go has nowhere else

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/interceptors"
)

// The contenders of several backends, as gates look for them.
const (
	BareRoundRobin    = "bare round_robin"
	AstraUnbalanced   = "astra without balancing"
	AstraUnbalanced1  = "astra without balancing, not retried"
	AstraBalanced     = "astra, round_robin"
	AstraBalancedP2C  = "astra, p2c"
	AstraBalancedOnce = "astra, round_robin, not retried"
)

// BackendField is the contenders that call a target of several backends, all with
// a tuning's attempts and backoff, over round_robin unless they choose
// themselves.
func BackendField(t Tuning) []Client {
	once := t
	once.Attempts = 1
	retry := fmt.Sprintf(`"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": %d, "initialBackoff": "%gs", "maxBackoff": "%gs", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]`,
		t.Attempts, t.Base.Seconds(), t.Max.Seconds())
	const (
		roundRobin = `"loadBalancingConfig": [{"round_robin": {}}]`
		outlier    = `"loadBalancingConfig": [{"outlier_detection_experimental": {"interval": "1s", "baseEjectionTime": "5s", "maxEjectionPercent": 50, ` +
			`"failurePercentageEjection": {"threshold": 30, "enforcementPercentage": 100, "minimumHosts": 2, "requestVolume": 5}, "childPolicy": [{"round_robin": {}}]}}]`
	)
	bare := config(BareRoundRobin, roundRobin, "what grpc-go does with several backends and nothing else: it leaves out those it cannot connect to")
	bare.Baseline = true
	settings := "Policy: " + t.String()
	return []Client{
		bare,
		config("grpc-go retry", roundRobin+", "+retry, "our attempts and backoff; its attempts have no timeout, so those that hang are not retried"),
		config("grpc-go outlier_detection + retry", outlier+", "+retry, "as eager as may be: by default it looks every 10 s, for 5 hosts, at 85 % failures; needs the import of xds, 24 MB"),
		several(AstraUnbalanced, settings, "the breaker, the budget and the retries know the target only", t, roundRobin),
		several(AstraUnbalanced1, "Policy: 1 attempt", "a method that may not be repeated", once, roundRobin),
		several(AstraBalanced, settings+"; WithBalancing(Balancing{})", "the default", t, "", interceptors.WithBalancing(interceptors.Balancing{})),
		several(AstraBalancedP2C, settings+`; WithBalancing(Balancing{Policy: "p2c"})`, "chooses by latency, too", t, "", interceptors.WithBalancing(interceptors.Balancing{Policy: "p2c"})),
		several(AstraBalancedOnce, "Policy: 1 attempt; WithBalancing(Balancing{})", "a method that may not be repeated", once, "", interceptors.WithBalancing(interceptors.Balancing{})),
	}
}

func config(name, fields, why string) Client {
	text := "{" + fields + "}"
	return Client{
		Contender: lab.Contender{Name: name, Config: text, Why: why},
		Options: func() ([]grpc.DialOption, func()) {
			return []grpc.DialOption{grpc.WithDefaultServiceConfig(text)}, func() {}
		},
	}
}

// several is ours, over the policy that fields name, or over its own.
func several(name, settings, why string, t Tuning, fields string, opts ...interceptors.Option) Client {
	p := t.policy()
	p.Retry.Repeat = interceptors.RepeatAny // the greeting may be said twice
	return Client{
		Contender: lab.Contender{Name: name, Config: settings, Why: why, Ours: true},
		Options: func() ([]grpc.DialOption, func()) {
			s := Astra(append(opts[:len(opts):len(opts)], interceptors.WithPolicy(p))...)
			dial := s.DialOptions()
			if fields != "" {
				dial = append(dial, grpc.WithDefaultServiceConfig("{"+fields+"}"))
			}
			return dial, func() { _ = s.Close() }
		},
	}
}

// BackendTuning is what all of BackendField have: an attempt that hangs is given
// up after 25 times what it takes.
var BackendTuning = Tuning{Attempts: 3, Base: 20 * time.Millisecond, Max: 50 * time.Millisecond, AttemptTimeout: 500 * time.Millisecond}
