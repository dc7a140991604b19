package sim

import "github.com/astra-grpc/astra/bench/lab"

// Scenarios returns the simulated scenarios.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{probing(), hotos(), herd(), contention(), detection()}
}
