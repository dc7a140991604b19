package sim_test

import (
	"math"
	"testing"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/inside"
	"github.com/astra-grpc/astra/internal/sim"
)

func idempotent(p interceptors.Policy) *engine.Policy { return inside.PolicyOf(p, true, true) }

func policy(p interceptors.Policy) *engine.Policy { return inside.PolicyOf(p, false, false) }

// recorded is the default policy as it was when bench/RESULTS.md was written:
// since then the defaults of these two have changed.
var recorded = interceptors.Policy{Budget: interceptors.Budget{MinPerSecond: 1}, Breaker: interceptors.Breaker{ProbeShare: 0.01}}

// measured is a figure of bench/RESULTS.md, for "astra (default)".
type measured struct {
	what      string
	value     float64 // real gRPC over loopback
	low, high float64 // of its repeats; a simulation within is right
	simulated float64
}

// agree wants each figure within 10 % of the median, or among the repeats.
func agree(t *testing.T, all []measured) {
	t.Helper()
	for _, m := range all {
		off := math.Abs(m.simulated-m.value) / max(m.value, 1e-3)
		within := m.low <= m.simulated && m.simulated <= m.high
		t.Logf("%-45s real %.3f (%.3f to %.3f), simulated %.3f", m.what, m.value, m.low, m.high, m.simulated)
		if off > 0.1 && !within {
			t.Errorf("%s: simulated %.3f, measured %.3f (%.3f to %.3f): want within 10 %%", m.what, m.simulated, m.value, m.low, m.high)
		}
	}
}

// runs returns what a figure is on average over several seeds.
func runs(t *testing.T, s sim.Setup, n int, figure func(*sim.Result) float64) (mean float64) {
	t.Helper()
	for seed := range n {
		s.Seed = uint64(seed)
		r, err := sim.Run(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		mean += figure(r) / float64(n)
	}
	return mean
}

// TestOutageIsTheBenchs: 280 calls a second, a server that answers UNAVAILABLE
// for a while (bench/real/outage.go).
func TestOutageIsTheBenchs(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of virtual time, on one goroutine: nothing for the race detector")
	}
	outage := func(seconds float64) sim.Setup {
		down := time.Duration(seconds * float64(time.Second))
		return sim.Setup{
			Policy: policy(recorded), Rate: 280, Even: true, Deadline: 3 * time.Second, Latency: time.Millisecond,
			Faults: []sim.Fault{{From: time.Second, To: time.Second + down, Backend: -1, Fail: 1}},
			Length: down + 6*time.Second,
		}
	}
	during := func(r *sim.Result) []sim.Sample {
		f := r.Setup.Faults[0]
		return sim.Between(r.Samples, f.From, f.To)
	}
	attempts := func(r *sim.Result) float64 {
		n := 0
		f := r.Setup.Faults[0]
		for i, load := range r.Loads[0] {
			if at := time.Duration(i) * time.Second; at >= f.From && at < f.To {
				n += load
			}
		}
		return float64(n) / float64(len(during(r)))
	}
	open := func(r *sim.Result) float64 {
		for _, s := range during(r) {
			if s.Refused {
				return (s.At - r.Setup.Faults[0].From).Seconds()
			}
		}
		return 99
	}
	back := func(r *sim.Result) float64 {
		after, ok := r.Back(r.Setup.Faults[0].To)
		if !ok {
			return 99
		}
		return after.Seconds()
	}
	// The time back depends on where among the probes the outage happens to end,
	// so it is varied by up to a quarter second, as in the bench.
	unsteady := func(seconds float64) (mean float64) {
		const n = 16
		for i := range n {
			mean += runs(t, outage(seconds+0.5*float64(i)/n-0.25), 1, back) / n
		}
		return mean
	}
	agree(t, []measured{
		{"outage of 5 s: until calls are refused, s", 0.20, 0.20, 0.22, runs(t, outage(5), 10, open)},
		{"outage of 5 s: attempts per call", 0.051, 0.049, 0.051, runs(t, outage(5), 10, attempts)},
		{"outage of 20 s: attempts per call", 0.020, 0.020, 0.020, runs(t, outage(20), 10, attempts)},
		{"outage of 0.8 s: back after, s", 0.09, 0.04, 0.34, unsteady(0.8)},
		{"outage of 5 s: back after, s", 0.14, 0.02, 0.33, unsteady(5)},
		{"outage of 20 s: back after, s", 0.32, 0.05, 0.35, unsteady(20)},
	})
}

// TestPartialIsTheBenchs: 600 calls a second, a share of the attempts fails
// (bench/real/partial.go).
func TestPartialIsTheBenchs(t *testing.T) {
	partial := func(share float64) sim.Setup {
		return sim.Setup{
			Policy: policy(recorded), Rate: 600, Even: true, Dealt: true, Deadline: 5 * time.Second, Latency: time.Millisecond,
			Faults: []sim.Fault{{To: 6 * time.Second, Backend: -1, Fail: share}}, Length: 6 * time.Second,
		}
	}
	success := func(r *sim.Result) float64 {
		return 100 * sim.Success(sim.Between(r.Samples, 2*time.Second, time.Hour))
	}
	attempts := func(r *sim.Result) float64 {
		n := 0
		for _, load := range r.Loads[0][2:6] {
			n += load
		}
		return float64(n) / float64(len(sim.Between(r.Samples, 2*time.Second, time.Hour)))
	}
	agree(t, []measured{
		{"10 % fail: calls that succeed, %", 100, 99.9, 100, runs(t, partial(0.1), 5, success)},
		{"10 % fail: attempts per call", 1.111, 1.101, 1.113, runs(t, partial(0.1), 5, attempts)},
		{"20 % fail: calls that succeed, %", 95.4, 95.2, 95.5, runs(t, partial(0.2), 5, success)},
		{"20 % fail: attempts per call", 1.196, 1.195, 1.199, runs(t, partial(0.2), 5, attempts)},
		{"50 % fail: calls that succeed, %", 32.8, 30.3, 37.3, runs(t, partial(0.5), 10, success)},
		{"50 % fail: attempts per call", 0.638, 0.614, 0.740, runs(t, partial(0.5), 10, attempts)},
	})
}

// TestStallIsTheBenchs: four workers of 10 ms, 280 calls a second that wait for
// 400 ms, a server that stalls (bench/real/metastable.go).
func TestStallIsTheBenchs(t *testing.T) {
	var all, lost, wasted float64
	lengths := []float64{1.1, 1.5, 1.9, 2.3}
	for _, seconds := range lengths {
		stall := time.Duration(seconds * float64(time.Second))
		s := sim.Setup{
			Policy: policy(recorded), Rate: 280, Even: true, Deadline: 400 * time.Millisecond,
			Workers: 4, Latency: 10 * time.Millisecond,
			Faults: []sim.Fault{{From: 2 * time.Second, To: 2*time.Second + stall, Backend: -1, Stall: true}},
			Length: 2*time.Second + stall + 9*time.Second,
		}
		all += runs(t, s, 5, func(r *sim.Result) float64 {
			after, ok := r.Back(r.Setup.Faults[0].To)
			if !ok {
				return 99
			}
			return after.Seconds()
		}) / float64(len(lengths))
		lost += runs(t, s, 5, func(r *sim.Result) float64 {
			f := r.Setup.Faults[0]
			since := sim.Between(r.Samples, f.From, time.Hour)
			return (1 - sim.Success(since)) * float64(len(since)) / float64(len(sim.Between(r.Samples, f.From, f.To)))
		}) / float64(len(lengths))
		wasted += runs(t, s, 5, func(r *sim.Result) float64 { return float64(r.Wasted) }) / float64(len(lengths))
	}
	agree(t, []measured{
		{"stall: 95 % goodput back, mean, s", 0.38, 0.31, 0.60, all},
		{"stall: calls lost, per call offered", 1.23, 1.14, 1.44, lost},
	})
	t.Logf("wasted %.0f", wasted)
}
