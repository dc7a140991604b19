package sim_test

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
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

// The scenarios: a call each 4 ms, backends that take 5 ms, and a fault from 2 to 8 s.
const (
	gap    = 4 * time.Millisecond
	takes  = 5 * time.Millisecond
	from   = 2 * time.Second
	to     = 8 * time.Second
	length = 14 * time.Second
)

// repeats is how often each scenario is run over gRPC; twice as often simulated.
const repeats = 4

// trouble is what befalls backends, alike over gRPC and simulated.
type trouble struct {
	backends int
	workers  int // of each; 0: any number
	fault    sim.Fault
	deadline time.Duration
}

// seen is what was seen: success and attempts are of the calls that began during
// the fault.
type seen struct{ success, attempts, bad, lost, back float64 } // bad: attempts at the first backend; lost: calls, from then on, for each

func judge(samples []sim.Sample, came, bad int) seen {
	r := &sim.Result{Samples: samples, Setup: sim.Setup{Length: length}}
	during, since := sim.Between(samples, from, to), sim.Between(samples, from, length)
	n := float64(len(during))
	s := seen{success: sim.Success(during), attempts: float64(came) / n, bad: float64(bad) / n, lost: (1 - sim.Success(since)) * float64(len(since)) / n, back: 99}
	if after, ok := r.Back(to); ok {
		s.back = after.Seconds()
	}
	return s
}

// greeter is a backend.
type greeter struct {
	greeterpb.UnimplementedGreeterServer
	began time.Time
	trouble
	hit   bool          // by the fault
	slots chan struct{} // first come first served
	came  atomic.Int64  // during the fault
}

func (g *greeter) SayHello(context.Context, *greeterpb.HelloRequest) (*greeterpb.HelloReply, error) {
	faulty := func() bool { at := time.Since(g.began); return from <= at && at < to }
	if faulty() {
		g.came.Add(1)
		if g.hit && rand.Float64() < g.fault.Fail {
			return nil, status.Error(codes.Unavailable, "bad")
		}
	}
	if g.workers > 0 {
		g.slots <- struct{}{}
		defer func() { <-g.slots }()
	}
	if g.fault.Stall && faulty() {
		time.Sleep(to - time.Since(g.began))
	}
	time.Sleep(takes)
	return &greeterpb.HelloReply{}, nil
}

// overGRPC is the scenario over grpc-go, in memory and in the time of a bubble.
func overGRPC(t *testing.T, p interceptors.Policy, tr trouble, opts ...interceptors.Option) (got seen) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		m := manual.NewBuilderWithScheme("troubled")
		var state resolver.State
		listeners := map[string]*bufconn.Listener{}
		var all []*greeter
		for i := range tr.backends {
			name := "backend" + strconv.Itoa(i)
			g, s := &greeter{began: began, trouble: tr, hit: tr.fault.Backend < 0 || tr.fault.Backend == i, slots: make(chan struct{}, tr.workers)}, grpc.NewServer()
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
		cc, err := grpc.NewClient("troubled:///", append(options, suite.DialOptions()...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		client := greeterpb.NewGreeterClient(cc)
		var calls sync.WaitGroup
		samples := make([]sim.Sample, 0, length/gap)
		for time.Since(began) < length-gap {
			time.Sleep(gap)
			samples = append(samples, sim.Sample{At: time.Since(began)})
			one := &samples[len(samples)-1]
			calls.Go(func() {
				ctx, cancel := context.WithTimeout(context.Background(), tr.deadline)
				defer cancel()
				_, err := client.SayHello(ctx, &greeterpb.HelloRequest{})
				one.OK = err == nil
			})
		}
		calls.Wait()
		came := 0
		for _, g := range all {
			came += int(g.came.Load())
		}
		got = judge(samples, came, int(all[0].came.Load()))
	})
	return got
}

// simulated is the scenario in this package, in several runs.
func simulated(t *testing.T, p interceptors.Policy, tr trouble, b *interceptors.Balancing) (all []seen) {
	t.Helper()
	tr.fault.From, tr.fault.To = from, to
	for seed := range uint64(2 * repeats) {
		s := sim.Setup{
			Policy: policy(p), Rate: float64(time.Second / gap), Even: true, Deadline: tr.deadline, Backends: tr.backends, Workers: tr.workers, Latency: takes,
			Faults: []sim.Fault{tr.fault}, Length: length, Seed: seed,
		}
		if b != nil {
			s.Balancing = new(inside.BalancingOf(*b))
		}
		r, err := sim.Run(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		came, bad := 0, 0
		for i, loads := range r.Loads {
			for _, n := range loads[int(from/time.Second):int(to/time.Second)] {
				came += n
				if i == 0 {
					bad += n
				}
			}
		}
		all = append(all, judge(r.Samples, came, bad))
	}
	return all
}

// summary is the mean of a figure, and the standard error of that.
func summary(all []seen, of func(seen) float64) (mean, unsure float64) {
	n := float64(len(all))
	for _, s := range all {
		mean += of(s) / n
	}
	for _, s := range all {
		unsure += (of(s) - mean) * (of(s) - mean) / (n - 1)
	}
	return mean, math.Sqrt(unsure / n)
}

// TestSimulationIsReal within 10 %, or four standard errors where chance is larger:
// what is simulated is what grpc-go with the interceptors
// does, with its own round_robin and with the balancing that ships.
func TestSimulationIsReal(t *testing.T) {
	if testing.Short() {
		t.Skip("thousands of calls over grpc-go")
	}
	quick := interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: 25 * time.Millisecond, Max: 200 * time.Millisecond}}}
	rich, hasty := quick, quick
	rich.Budget.Ratio = 1
	hasty.AttemptTimeout = 100 * time.Millisecond
	one := sim.Fault{Fail: 1}
	success := func(s seen) float64 { return 100 * s.success }
	attempts := func(s seen) float64 { return s.attempts }
	for _, tc := range []struct {
		name     string
		policy   interceptors.Policy
		trouble  trouble
		balanced bool
	}{
		{"one bad of 2, defaults", interceptors.Policy{}, trouble{2, 0, one, 2 * time.Second}, false},
		{"one bad of 2, quick", quick, trouble{2, 0, one, 2 * time.Second}, false},
		{"one bad of 3, quick", quick, trouble{3, 0, one, 2 * time.Second}, false},
		{"one bad of 3, ratio 1", rich, trouble{3, 0, one, 2 * time.Second}, false},
		{"one bad of 2, balanced", quick, trouble{2, 0, one, 2 * time.Second}, true},
		{"one bad of 3, balanced", quick, trouble{3, 0, one, 2 * time.Second}, true},
		{"outage, defaults", interceptors.Policy{}, trouble{1, 0, sim.Fault{Backend: -1, Fail: 1}, 2 * time.Second}, false},
		{"outage, quick", quick, trouble{1, 0, sim.Fault{Backend: -1, Fail: 1}, 2 * time.Second}, false},
		{"20 % fail, quick", quick, trouble{1, 0, sim.Fault{Backend: -1, Fail: 0.2}, 2 * time.Second}, false},
		{"50 % fail, quick", quick, trouble{1, 0, sim.Fault{Backend: -1, Fail: 0.5}, 2 * time.Second}, false},
		{"stall, quick", hasty, trouble{1, 2, sim.Fault{Backend: -1, Stall: true}, 400 * time.Millisecond}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b *interceptors.Balancing
			var opts []interceptors.Option
			if tc.balanced {
				b = &interceptors.Balancing{}
				opts = append(opts, interceptors.WithBalancing(*b))
			}
			var grpcs []seen
			for range repeats {
				grpcs = append(grpcs, overGRPC(t, tc.policy, tc.trouble, opts...))
			}
			sims := simulated(t, tc.policy, tc.trouble, b)
			var all []measured
			// least is what one opening of a breaker more or less makes of a figure:
			// of so few repeats, few have one.
			compare := func(what string, least float64, of func(seen) float64) {
				mean, unsure := summary(grpcs, of)
				simulated, alike := summary(sims, of)
				chance := max(least, 4*math.Hypot(unsure, alike))
				all = append(all, measured{what, mean, mean - chance, mean + chance, simulated})
			}
			if f := tc.trouble.fault; f.Fail < 1 || f.Backend >= 0 {
				if !f.Stall {
					compare("calls that succeed, %", 3, success)
				}
			} else {
				compare("back after, s", 0, func(s seen) float64 { return s.back })
			}
			compare("attempts per call", 0, attempts)
			compare("calls lost, per call offered", 0.03, func(s seen) float64 { return s.lost })
			agree(t, all)
			bad, _ := summary(sims, func(s seen) float64 { return s.bad })
			if tc.balanced && bad > 0.1 {
				t.Errorf("the bad backend is not left alone: %.3f attempts per call", bad)
			}
		})
	}
}
