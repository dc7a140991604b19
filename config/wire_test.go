package config_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
)

// TestOverTheWire changes the file, well and badly, while calls and streams are
// on their way to a server that fails every other attempt: none is lost, and
// the metrics have counted.
func TestOverTheWire(t *testing.T) {
	server, err := flakyserver.Start()
	must(t, err)
	defer server.Close()
	server.Random(flakyserver.Any, 1, flakyserver.Mix{Rate: 0.5, Steps: []flakyserver.Step{flakyserver.Fail(codes.Unavailable, "flaky").Pushback("0")}})

	path := inFolder(t)
	write(t, path, attempts(30))
	noted := &watched{t: t, notices: make(chan observe.SuiteEvent, 1000), log: &journal{}}
	counted := metrics.New()
	suite, err := interceptors.New(interceptors.WithObserver(counted, noted))
	must(t, err)
	defer func() { _ = suite.Close() }()
	must(t, config.Watch(t.Context(), path, suite))
	noted.wait("success")
	conn, err := server.Dial(suite.DialOptions()...)
	must(t, err)
	defer func() { _ = conn.Close() }()
	greeter := greeterpb.NewGreeterClient(conn)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		load  sync.WaitGroup
		calls atomic.Int64
	)
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := greeter.SayHello(t.Context(), &greeterpb.HelloRequest{Name: "Ada"}); err != nil {
					t.Errorf("a call in a reload: %v", err)
					return
				}
				stream, err := greeter.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ada"})
				for n := 0; err == nil && n < 3; n++ {
					_, err = stream.Recv()
				}
				if err == nil {
					_, _ = stream.Recv() // its end
				} else {
					t.Errorf("a stream in a reload: %v", err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for n := range 4 {
		replace(t, path, attempts(31+n))
		noted.wait("success")
		write(t, path, broken)
		noted.wait("failed")
	}
	cancel()
	load.Wait()
	if calls.Load() == 0 {
		t.Error("no calls were made")
	}
	registry := prometheus.NewRegistry()
	must(t, registry.Register(counted))
	for result, want := range map[string]float64{"success": 5, "failed": 4} {
		families, err := registry.Gather()
		must(t, err)
		var got float64
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if f.GetName() == "astra_config_reloads_total" && m.GetLabel()[0].GetValue() == result {
					got = m.GetCounter().GetValue()
				}
			}
		}
		if got != want {
			t.Errorf("astra_config_reloads_total{result=%q} is %v, want %v", result, got, want)
		}
	}
	if n := testutil.CollectAndCount(counted, "astra_config_reloads_total"); n != 2 {
		t.Errorf("%d results counted", n)
	}
}
