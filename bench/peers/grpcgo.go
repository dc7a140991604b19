package peers

import (
	"fmt"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/bench/lab"
)

// grpcGoClients are grpc-go's own retries, by service config. It has no policy
// without one, so the example of its documentation (gRFC A6) stands for a
// default. It has no timeout for attempts and retries no DEADLINE_EXCEEDED
// that a client's own deadline causes.
func grpcGoClients(t Tuning) []Client {
	const (
		exampleThrottle = `"maxTokens": 10, "tokenRatio": 0.1`
		ourThrottle     = `"maxTokens": 100, "tokenRatio": 0.2`
	)
	policy := func(attempts int, base, most time.Duration) string {
		return fmt.Sprintf(`{"maxAttempts": %d, "initialBackoff": "%gs", "maxBackoff": "%gs", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}`,
			attempts, base.Seconds(), most.Seconds())
	}
	documented, tuned := policy(4, 100*time.Millisecond, time.Second), policy(t.Attempts, t.Base, t.Max)
	return []Client{
		grpcGo("grpc-go retry (documented)", documented, "", "the example of gRFC A6 and of gRPC's retry guide: grpc-go has no default"),
		grpcGo("grpc-go retry (tuned)", tuned, "", "our attempts and backoff; it has no timeout for attempts"),
		grpcGo("grpc-go retry + throttling (documented)", documented, exampleThrottle, "the same with A6's example of retryThrottling"),
		grpcGo("grpc-go retry + throttling (tuned)", tuned, ourThrottle, "our attempts and backoff; half of 100 tokens is our burst of 50, 0.2 our ratio"),
	}
}

func grpcGo(name, policy, throttling, why string) Client {
	config := fmt.Sprintf(`{"methodConfig": [{"name": [{}], "retryPolicy": %s}]`, policy)
	if throttling != "" {
		config += fmt.Sprintf(`, "retryThrottling": {%s}`, throttling)
	}
	config += "}"
	return Client{
		Contender: lab.Contender{Name: name, Config: config, Why: why},
		Options: func() ([]grpc.DialOption, func()) {
			return []grpc.DialOption{grpc.WithDefaultServiceConfig(config)}, func() {}
		},
	}
}
