// Package real has the experiments with real gRPC: flakyserver over loopback,
// calls from package load, every contender with a server and a connection of
// its own. Runs go side by side where that disturbs nothing, in an order that
// mixes contenders and repeats, so that what disturbs the machine disturbs all
// of them alike.
package real

import "github.com/astra-grpc/astra/bench/lab"

// Scenarios are all of them, in the order of the report.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{overheads(), partial(), outage(), metastable(), tail(), backends()}
}
