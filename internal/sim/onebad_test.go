package sim_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/inside"
	"github.com/astra-grpc/astra/internal/sim"
	"github.com/astra-grpc/astra/jitter"
)

// oneBad is the scenario: a call each 4 ms that waits 2 s, backends that take
// 5 ms, one of which answers UNAVAILABLE from 2 to 8 s.
var oneBad = struct {
	gap, service, deadline, from, to, end time.Duration
}{4 * time.Millisecond, 5 * time.Millisecond, 2 * time.Second, 2 * time.Second, 8 * time.Second, 10 * time.Second}

// seen is what became of the calls that began during the fault.
type seen struct{ success, attempts, bad float64 } // bad: attempts at the bad backend, per call

// greeter is a backend.
type greeter struct {
	greeterpb.UnimplementedGreeterServer
	began time.Time
	bad   bool
	came  atomic.Int64 // during the fault
}

func (g *greeter) SayHello(context.Context, *greeterpb.HelloRequest) (*greeterpb.HelloReply, error) {
	at := time.Since(g.began)
	during := oneBad.from <= at && at < oneBad.to
	if during {
		g.came.Add(1)
	}
	if during && g.bad {
		return nil, status.Error(codes.Unavailable, "bad")
	}
	time.Sleep(oneBad.service)
	return &greeterpb.HelloReply{}, nil
}

// overGRPC is the scenario over grpc-go, in memory and in the time of a bubble.
func overGRPC(t *testing.T, p interceptors.Policy, backends int, opts ...interceptors.Option) seen {
	t.Helper()
	var got seen
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m := manual.NewBuilderWithScheme("onebad")
		var state resolver.State
		listeners := map[string]*bufconn.Listener{}
		var all []*greeter
		for i := range backends {
			name := "backend" + strconv.Itoa(i)
			g, s := &greeter{began: began, bad: i == 0}, grpc.NewServer()
			greeterpb.RegisterGreeterServer(s, g)
			listeners[name] = bufconn.Listen(1 << 16)
			go func() { _ = s.Serve(listeners[name]) }()
			defer s.Stop()
			all = append(all, g)
			state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: name}}})
		}
		m.InitialState(state)
		suite, err := interceptors.New(append(opts, interceptors.WithPolicy(p), interceptors.WithLogger(slog.New(slog.DiscardHandler)))...)
		if err != nil {
			t.Fatal(err)
		}
		options := []grpc.DialOption{
			grpc.WithResolvers(m), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return listeners[addr].DialContext(ctx) }),
		}
		if len(opts) == 0 {
			options = append(options, grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
		}
		cc, err := grpc.NewClient("onebad:///", append(options, suite.DialOptions()...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		client := greeterpb.NewGreeterClient(cc)
		var calls sync.WaitGroup
		var offered, ok atomic.Int64
		for time.Since(began) < oneBad.end {
			time.Sleep(oneBad.gap)
			at := time.Since(began)
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), oneBad.deadline)
				defer cancel()
				_, err := client.SayHello(ctx, &greeterpb.HelloRequest{})
				if oneBad.from <= at && at < oneBad.to {
					offered.Add(1)
					if err == nil {
						ok.Add(1)
					}
				}
			})
		}
		calls.Wait()
		came := 0.0
		for _, g := range all {
			came += float64(g.came.Load())
		}
		n := float64(offered.Load())
		got = seen{float64(ok.Load()) / n, came / n, float64(all[0].came.Load()) / n}
	})
	return got
}

// simulated is the scenario in this package, on average over a few seeds.
func simulated(t *testing.T, p interceptors.Policy, backends int, b *interceptors.Balancing) (mean seen) {
	t.Helper()
	const runs = 8
	for seed := range runs {
		s := sim.Setup{
			Policy: policy(p), Rate: float64(time.Second / oneBad.gap), Even: true, Deadline: oneBad.deadline, Backends: backends, Latency: oneBad.service,
			Faults: []sim.Fault{{From: oneBad.from, To: oneBad.to, Backend: 0, Fail: 1}}, Length: oneBad.end, Seed: uint64(seed),
		}
		if b != nil {
			s.Balancing = new(inside.BalancingOf(*b))
		}
		r, err := sim.Run(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		during := sim.Between(r.Samples, oneBad.from, oneBad.to)
		came, bad := 0, 0
		for i, loads := range r.Loads {
			for _, n := range loads[int(oneBad.from/time.Second):int(oneBad.to/time.Second)] {
				came += n
				if i == 0 {
					bad += n
				}
			}
		}
		n := float64(len(during)) * runs
		mean.success += sim.Success(during) / runs
		mean.attempts += float64(came) / n
		mean.bad += float64(bad) / n
	}
	return mean
}

// TestOneBadIsReal: what is simulated is what grpc-go's own round_robin, and the
// balancing that ships, do with one bad backend.
func TestOneBadIsReal(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of calls over grpc-go")
	}
	quick := interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: 25 * time.Millisecond, Max: 200 * time.Millisecond}}}
	rich := quick
	rich.Budget.Ratio = 1
	for _, tc := range []struct {
		name     string
		policy   interceptors.Policy
		backends int
		balanced bool
	}{
		{"default", interceptors.Policy{}, 2, false},
		{"quick", quick, 2, false},
		{"quick", quick, 3, false},
		{"quick, ratio 1", rich, 3, false},
		{"quick", quick, 2, true},
		{"quick", quick, 3, true},
	} {
		var b *interceptors.Balancing
		var opts []interceptors.Option
		if tc.balanced {
			b = &interceptors.Balancing{}
			opts = append(opts, interceptors.WithBalancing(*b))
		}
		name := fmt.Sprintf("%s, one bad of %d, balanced %v", tc.name, tc.backends, tc.balanced)
		const repeats = 3
		var low, high, mean seen
		for i := range repeats {
			r := overGRPC(t, tc.policy, tc.backends, opts...)
			if i == 0 {
				low, high = r, r
			}
			low = seen{min(low.success, r.success), min(low.attempts, r.attempts), min(low.bad, r.bad)}
			high = seen{max(high.success, r.success), max(high.attempts, r.attempts), max(high.bad, r.bad)}
			mean = seen{mean.success + r.success/repeats, mean.attempts + r.attempts/repeats, mean.bad + r.bad/repeats}
		}
		s := simulated(t, tc.policy, tc.backends, b)
		agree(t, []measured{
			{name + ": calls that succeed, %", 100 * mean.success, 100 * low.success, 100 * high.success, 100 * s.success},
			{name + ": attempts per call", mean.attempts, low.attempts, high.attempts, s.attempts},
		})
		if t.Logf("%s: at the bad one %.4f per call, simulated %.4f", name, mean.bad, s.bad); tc.balanced && (s.bad > 0.1 || mean.bad > 0.1) {
			t.Errorf("%s: the bad backend is not left alone", name)
		}
	}
}
