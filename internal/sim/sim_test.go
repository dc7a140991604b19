package sim_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/inside"
	"github.com/astra-grpc/astra/internal/sim"
	"github.com/astra-grpc/astra/jitter"
)

var world = sim.World{
	Rate: 200, Capacity: 300, Latency: 10 * time.Millisecond, Tail: 0.5, Backends: 3, Clients: 5,
	Deadline: time.Second, Fault: 5 * time.Second, Calm: time.Minute, Share: 0.3, Seed: 1,
}

func outcome(t *testing.T, scenario string, p interceptors.Policy, w sim.World) *sim.Outcome {
	t.Helper()
	sc, ok := sim.Find(scenario)
	if !ok {
		t.Fatalf("no scenario %q", scenario)
	}
	o, err := sc.Run(t.Context(), policy(p), w)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// balanced is the world with the balancing that ships, chosen by a policy.
func balanced(w sim.World, policy string) sim.World {
	w.Balancing = new(inside.BalancingOf(interceptors.Balancing{Policy: policy}))
	return w
}

func TestBalancingLeavesABadBackendAlone(t *testing.T) {
	p := interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: 20 * time.Millisecond, Max: 50 * time.Millisecond}}}
	for _, name := range []string{"round_robin", "p2c"} {
		plain, with := outcome(t, "one-bad", p, world), outcome(t, "one-bad", p, balanced(world, name))
		if with.During < 0.995 || plain.During > 0.97 || with.Load > plain.Load {
			t.Errorf("%s: one bad backend of three: %.4f succeed with %.3f attempts a call, %.4f with %.3f without balancing", name, with.During, with.Load, plain.During, plain.Load)
		}
		bad, ejected := 0, with.Result().Loads[0]
		for _, n := range ejected[12:15] { // the fault is from 10 to 15 s
			bad += n
		}
		if bad > 100 {
			t.Errorf("%s: an ejected backend got %d attempts in 3 s, of 600 calls", name, bad)
		}
		if back := ejected[len(ejected)-3]; back < 30 {
			t.Errorf("%s: %d attempts a second reach the backend when it is well again", name, back)
		}
	}
	if plain, with := outcome(t, "slow", p, world), outcome(t, "slow", p, balanced(world, "p2c")); with.During < 0.99 || with.P99 > plain.P99/2 {
		t.Errorf("a slow backend: %.3f succeed, p99 %.3f s by cost, %.3f and %.3f s in turn", with.During, with.P99, plain.During, plain.P99)
	}
}

func TestARunOfOneSeedIsOneRun(t *testing.T) {
	hedging := interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 20 * time.Millisecond}, Limit: interceptors.Limit{MaxConcurrent: 20, MaxQueue: 10}}
	for _, sc := range sim.Scenarios {
		for name, p := range map[string]interceptors.Policy{"default": {}, "hedging, limited": hedging, "balanced": {}} {
			world := world
			if name == "balanced" {
				world = balanced(world, "p2c")
			}
			a, b := outcome(t, sc.Name, p, world), outcome(t, sc.Name, p, world)
			if !reflect.DeepEqual(a.Result().Samples, b.Result().Samples) || !reflect.DeepEqual(a.Result().Loads, b.Result().Loads) {
				t.Errorf("%s, %s: two runs of one seed differ", sc.Name, name)
			}
			other := world
			other.Seed = 2
			if c := outcome(t, sc.Name, p, other); reflect.DeepEqual(a.Result().Samples, c.Result().Samples) {
				t.Errorf("%s, %s: another seed makes the same run", sc.Name, name)
			}
		}
	}
}

func TestWithoutPoliciesScenariosAreWhatTheySay(t *testing.T) {
	none := interceptors.Policy{
		Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Disabled: true},
	}
	for scenario, want := range map[string][2]float64{ // success during the fault
		"outage": {0, 0}, "partial": {0.65, 0.75}, "stall": {0, 0.25}, "one-bad": {0.65, 0.69}, "slow": {0.6, 0.99}, "herd": {0, 0}, "rolling": {0.7, 0.9}, "calm": {1, 1},
	} {
		o := outcome(t, scenario, none, world)
		if o.During < want[0] || o.During > want[1] {
			t.Errorf("%s: %.3f succeed during the fault, want %.2f to %.2f", scenario, o.During, want[0], want[1])
		}
		if o.Attempts != 1 || o.Opens >= 0 || o.False != 0 || o.Refused != 0 {
			t.Errorf("%s: %.3f attempts a call, opens %v, %v false openings, %.3f refused, of a policy that does nothing", scenario, o.Attempts, o.Opens, o.False, o.Refused)
		}
		if o.Calm < 0.99 {
			t.Errorf("%s: %.3f succeed before the fault", scenario, o.Calm)
		}
	}
}

func TestThePolicyDecides(t *testing.T) {
	quick := jitter.Backoff{Base: 20 * time.Millisecond, Max: 50 * time.Millisecond}
	plain := outcome(t, "outage", interceptors.Policy{}, world)
	if plain.Opens < 0 || plain.Opens > 2 || plain.Refused < 0.5 || plain.Load > 0.5 {
		t.Errorf("outage, default: opens %v, %.3f refused, %.3f attempts a call", plain.Opens, plain.Refused, plain.Load)
	}
	if plain.Back < 0 || plain.Back > 2 {
		t.Errorf("outage, default: back after %v", plain.Back)
	}
	storm := outcome(t, "outage", interceptors.Policy{
		Retry: interceptors.Retry{MaxAttempts: 5, Backoff: quick}, Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Disabled: true},
	}, world)
	if storm.Load < 4.5 || storm.Peak < 4 {
		t.Errorf("outage, nothing bounds retries: %.3f attempts a call, %.1f in the worst second", storm.Load, storm.Peak)
	}
	if saved := outcome(t, "one-bad", interceptors.Policy{Retry: interceptors.Retry{Backoff: quick}, Budget: interceptors.Budget{Ratio: 1}}, world); saved.During < 0.95 {
		t.Errorf("one bad backend of three, retried: %.3f succeed", saved.During)
	}
	hedged := interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 30 * time.Millisecond}}
	w := world
	w.Capacity = 0
	sc, _ := sim.Find("slow")
	with, err := sc.Run(t.Context(), idempotent(hedged), w)
	if err != nil {
		t.Fatal(err)
	}
	if without := outcome(t, "slow", interceptors.Policy{}, w); with.P99 > without.P99/1.5 || with.Attempts < 1.05 {
		t.Errorf("one slow backend: p99 %.3f s hedged with %.3f attempts a call, %.3f s not", with.P99, with.Attempts, without.P99)
	}
	if limited := outcome(t, "stall", interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 2}}, world); limited.Refused == 0 {
		t.Error("stall: a limit of 2 refuses nobody")
	}
}

// TestAYearIsSeconds: a call every two minutes, and errors now and then.
func TestAYearIsSeconds(t *testing.T) {
	w := world
	w.Rate, w.Clients, w.Calm, w.Errors = 1.0/120, 1, 365*24*time.Hour, 0.05
	began := time.Now()
	o := outcome(t, "calm", interceptors.Policy{}, w)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("a year took %v", took)
	}
	if o.Calls < 250_000 || o.Success < 0.99 {
		t.Errorf("%d calls in a year, %.4f succeed", o.Calls, o.Success)
	}
	if n := len(o.Result().Loads[0]); n > 3602 {
		t.Errorf("%d counts of a year's load", n)
	}
}

// TestCallsThatNeverEndFail: callers without a deadline, and servers that stand
// still to the end and beyond.
func TestCallsThatNeverEndFail(t *testing.T) {
	r, err := sim.Run(t.Context(), sim.Setup{
		Policy: policy(interceptors.Policy{}), Rate: 100, Even: true, Workers: 1, Latency: time.Millisecond,
		Faults: []sim.Fault{{From: time.Second, To: time.Hour, Backend: -1, Stall: true}}, Length: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if before, since := sim.Between(r.Samples, 0, time.Second), sim.Between(r.Samples, time.Second, time.Hour); sim.Success(before) != 1 || len(since) < 99 || sim.Success(since) != 0 {
		t.Errorf("%.2f succeed before, %.2f of %d since", sim.Success(before), sim.Success(since), len(since))
	}
}

func TestWorkForNobodyIsCounted(t *testing.T) {
	none := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}}
	if o := outcome(t, "stall", none, world); o.Wasted < 0.1 {
		t.Errorf("of a queue of 5 s, whose callers have waited 1 s, %.3f is for nobody", o.Wasted)
	}
	if o := outcome(t, "calm", none, world); o.Wasted > 0.001 {
		t.Errorf("in calm %.3f is for nobody", o.Wasted)
	}
}

func TestCancelledRunsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sc, _ := sim.Find("outage")
	if _, err := sc.Run(ctx, policy(interceptors.Policy{}), world); err != context.Canceled {
		t.Errorf("a cancelled run: %v", err)
	}
}
