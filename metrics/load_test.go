package metrics_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/metrics"
)

// TestClientAndServerCountTheSame: 10⁵ calls from 64 goroutines against a
// server with 20 % mixed faults; every attempt that the server saw is in the
// client's counters with the code the server gave it, every call is counted
// once, and each caller gets its own answer, header and trailer.
func TestClientAndServerCountTheSame(t *testing.T) {
	calls, workers := 100_000, 64
	if testing.Short() {
		calls = 5_000
	}
	server, err := flakyserver.Start(flakyserver.WithLog(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	fail := flakyserver.Fail
	server.Random(greeterpb.Greeter_SayHello_FullMethodName, 1, flakyserver.Mix{Rate: 0.2, Steps: []flakyserver.Step{
		fail(codes.Unavailable, "trailers only"),
		fail(codes.Unavailable, "after headers").Header("h", "of a failure").Trailer("t", "of a failure"),
		fail(codes.Unavailable, "with pushback").Pushback("1"),
		fail(codes.Unavailable, "asked to stop").Pushback("-1"),
		fail(codes.Unavailable, "with a hint").RetryInfo(time.Millisecond),
		fail(codes.Unavailable, "late").After(2 * time.Millisecond),
		fail(codes.Unavailable, "after a reply").AfterReplies(1),
		fail(codes.ResourceExhausted, "with a hint").RetryInfo(time.Millisecond),
		fail(codes.ResourceExhausted, "without"),
		fail(codes.DeadlineExceeded, "the server's own"),
		fail(codes.Internal, "a bug"),
		fail(codes.NotFound, "a fact"),
		fail(codes.Canceled, "the server's own"),
	}})

	m := metrics.New()
	suite, err := interceptors.New(interceptors.WithObserver(m), interceptors.WithPolicy(interceptors.Policy{
		Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: time.Millisecond, Max: 4 * time.Millisecond}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = suite.Close() })
	cc, err := server.Dial(suite.DialOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	client := greeterpb.NewGreeterClient(cc)

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var ok, failed, next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(calls); n = next.Add(1) {
				name := fmt.Sprint(n)
				var header, trailer metadata.MD
				var opts []grpc.CallOption
				if rand.IntN(2) == 0 {
					opts = []grpc.CallOption{grpc.Header(&header), grpc.Trailer(&trailer)}
				}
				reply, err := client.SayHello(ctx, &greeterpb.HelloRequest{Name: name}, opts...)
				if err != nil {
					failed.Add(1)
					continue
				}
				ok.Add(1)
				if reply.GetMessage() != "Hello "+name {
					t.Errorf("call %s got %q", name, reply.GetMessage())
				}
				if len(header["h"])+len(trailer["t"]) != 0 {
					t.Errorf("call %s got header %v and trailer %v of a failed attempt", name, header, trailer)
				}
			}
		})
	}
	wg.Wait()

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]float64{}
	for _, f := range families {
		for _, series := range f.GetMetric() {
			value := series.GetCounter().GetValue() + series.GetGauge().GetValue() + float64(series.GetHistogram().GetSampleCount())
			key := f.GetName()
			sums[key] += value
			for _, l := range series.GetLabel() {
				sums[key+" "+l.GetName()+"="+l.GetValue()] += value
			}
		}
	}
	seen := server.Stats(greeterpb.Greeter_SayHello_FullMethodName)
	same := func(what string, got float64, want int64) {
		t.Helper()
		if got != float64(want) {
			t.Errorf("%s: client %v, server %d", what, got, want)
		}
	}
	same("attempts", sums["astra_retry_attempts_total"], seen.Attempts)
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		same("attempts that ended "+c.String(), sums["astra_retry_attempts_total grpc_code="+c.String()], seen.Codes[c])
	}
	same("calls", sums["astra_retry_calls_total"], int64(calls))
	same("calls that succeeded", sums["astra_retry_calls_total outcome=success_first"]+sums["astra_retry_calls_total outcome=success_after_retry"], ok.Load())
	same("calls that failed", sums["astra_retry_calls_total outcome=failed"], failed.Load())
	same("retries", sums["astra_retry_delays_seconds"], seen.Attempts-int64(calls))
	same("backoffs under way", sums["astra_retry_backoff_level"], 0)
	if sums["astra_retry_calls_total outcome=success_after_retry"] < float64(calls)/20 {
		t.Errorf("only %v calls saved: the faults were not there", sums["astra_retry_calls_total outcome=success_after_retry"])
	}
	t.Logf("%d calls, %d attempts, %d failed, saved %v", calls, seen.Attempts, failed.Load(), sums["astra_retry_calls_total outcome=success_after_retry"])
}
