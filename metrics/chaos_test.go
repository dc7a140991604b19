package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/metrics"
)

func TestChaos(t *testing.T) {
	i, err := chaos.New(chaos.WithConsent())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	c := metrics.NewChaos(i, metrics.WithConstLabels(prometheus.Labels{"app": "x"}))
	want := func(text string) {
		t.Helper()
		if err := testutil.CollectAndCompare(c, strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	}
	const active = `# HELP astra_chaos_active Whether faults are injected into calls on purpose: 1 while a plan is on, else 0.
# TYPE astra_chaos_active gauge
astra_chaos_active{app="x"} `
	want(active + "0\n")
	if err := i.Start(chaos.Plan{For: time.Hour, Faults: []chaos.Fault{{Method: "/helloworld.Greeter/*", Kind: chaos.Unsent, Share: 1}}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_ = i.UnaryClientInterceptor()(t.Context(), hello, nil, nil, nil, nil)
	}
	counted := `# HELP astra_chaos_injected_total Faults injected into attempts on purpose, by the pattern of their methods and by kind.
# TYPE astra_chaos_injected_total counter
astra_chaos_injected_total{app="x",fault="unsent",pattern="/helloworld.Greeter/*"} 3
`
	want(active + "1\n" + counted)
	i.Stop()
	want(active + "0\n" + counted)
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
