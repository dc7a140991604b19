package metrics_test

import (
	"fmt"
	"log"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
)

// Metrics is registered once, and given to every suite of the program.
func ExampleNew() {
	registry := prometheus.NewRegistry() // or prometheus.DefaultRegisterer

	m := metrics.New()
	registry.MustRegister(m)
	suite, err := interceptors.New(interceptors.WithObserver(m))
	if err != nil {
		log.Fatal(err)
	}
	defer suite.Close()

	reloads, err := testutil.GatherAndCount(registry, "astra_config_reloads_total")
	fmt.Println(reloads, err) // series for success and for failed, before either has happened
	// Output: 2 <nil>
}

// Histograms of how long calls and attempts take, and finer buckets of backoffs.
func ExampleWithDurations() {
	m := metrics.New(
		metrics.WithDurations(metrics.Durations{Native: true}), // or Buckets, or both, or neither
		metrics.WithDelayBuckets(0.005, 0.01, 0.025, 0.05),     // beside 0.1 to 16
	)
	fmt.Println(prometheus.NewRegistry().Register(m))
	// Output: <nil>
}

// Two suites that must be distinguished have a Metrics each.
func ExampleWithConstLabels() {
	registry := prometheus.NewRegistry()

	for _, client := range []string{"orders", "search"} {
		m := metrics.New(metrics.WithConstLabels(prometheus.Labels{"client": client}), metrics.WithMaxMethods(50), metrics.WithMaxTargets(5))
		registry.MustRegister(m)
		suite, err := interceptors.New(interceptors.WithObserver(m))
		if err != nil {
			log.Fatal(err)
		}
		defer suite.Close()
	}

	reloads, err := testutil.GatherAndCount(registry, "astra_config_reloads_total")
	fmt.Println(reloads, err)
	// Output: 4 <nil>
}

// Faults that a program injects into itself are counted.
func ExampleNewChaos() {
	injector, err := chaos.New(chaos.WithConsent())
	if err != nil {
		log.Fatal(err)
	}
	c := metrics.NewChaos(injector)
	prometheus.NewRegistry().MustRegister(c)

	err = injector.Start(chaos.Plan{For: time.Minute, Faults: []chaos.Fault{{Method: "*", Kind: chaos.Latency, Share: 0.1, Latency: time.Second}}})
	fmt.Println(err, testutil.CollectAndCount(c, "astra_chaos_active"))
	injector.Stop()
	// Output: <nil> 1
}
