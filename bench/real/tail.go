package real

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

const (
	tailSideBySide = 4
	hedgeDelay     = 10 * time.Millisecond
	// median and sigma of a lognormal of mean 5 and deviation 2 ms.
	serviceMedian = 4642 * time.Microsecond
	serviceSigma  = 0.385
	stragglers    = 0.05
	slower        = 10  // by so much is a straggler
	warmCalls     = 300 // in which those that learn their delay do
)

// tailLab is one setting of the tail scenario.
type tailLab struct {
	name   string
	rate   float64
	slow   float64 // share of stragglers
	errors float64 // share of attempts that fail at once
}

var tailLabs = []tailLab{
	{"stragglers", 500, stragglers, 0},
	{"fast errors", 500, stragglers, 0.05},
	{"all slow", 200, 1, 0},
}

func tail() lab.Scenario {
	return lab.Scenario{
		Name:  "tail",
		Title: "A few answers come late",
		About: "20 workers take 5 ± 2 ms (lognormal), and ten times as long in 5 % of the cases; 500 calls a second. Hedging sends a second " +
			"attempt after a delay and takes the answer that comes first. Then the same with 5 % of the attempts failing at once with UNAVAILABLE, " +
			"which must not win against an attempt that still runs; and, at 200 calls a second, with all answers slow, where hedging is no use and must not add load without bound.",
		Real: true,
		Run:  runTail,
	}
}

// tailRun is what one run found.
type tailRun struct {
	ms            [5]float64 // at quantiles
	extra         float64    // attempts beyond one a call, as a share of calls
	failed        float64    // share of calls
	wrong         float64    // replies that are another's, share of calls
	twice, late   float64    // replies that two attempts wrote to, and after the return; share of calls
	calls, length float64
	lags          []time.Duration // of the generator
}

var quantiles = [5]float64{0.5, 0.9, 0.95, 0.99, 0.999}

func runTail(ctx context.Context, o lab.Options) (*lab.Result, error) {
	length := map[string]time.Duration{"stragglers": 12 * time.Second, "fast errors": 8 * time.Second, "all slow": 5 * time.Second}
	if o.Quick {
		length = map[string]time.Duration{"stragglers": 6 * time.Second, "fast errors": 4 * time.Second, "all slow": 2 * time.Second}
	}
	clients := peers.HedgeField(hedgeDelay)
	results := make([][][]tailRun, len(tailLabs)) // of lab, client, repeat
	var jobs []job
	for l, setting := range tailLabs {
		results[l] = make([][]tailRun, len(clients))
		for c, client := range clients {
			results[l][c] = make([]tailRun, o.Repeats())
			for r := range o.Repeats() {
				jobs = append(jobs, job{length[setting.name], func(ctx context.Context) (err error) {
					results[l][c][r], err = straggle(ctx, client, setting, o.Seed+uint64(r), length[setting.name])
					return err
				}})
			}
		}
	}
	if err := fleet(ctx, o, tailSideBySide, jobs); err != nil {
		return nil, err
	}
	return tailResult(clients, results), nil
}

func straggle(ctx context.Context, c peers.Client, setting tailLab, seed uint64, length time.Duration) (run tailRun, err error) {
	var watch canaries
	r, err := newRig(ctx, c, []flakyserver.Option{flakyserver.WithCapacity(flakyserver.Capacity{
		Workers: 20, Queue: -1, Seed: seed,
		Service: flakyserver.Lognormal(serviceMedian, serviceSigma).Stragglers(setting.slow, slower),
	})}, grpc.WithChainUnaryInterceptor(watch.intercept))
	if err != nil {
		return run, err
	}
	defer r.close()
	r.server.Random(hello, seed, flakyserver.Mix{
		Rate: setting.errors, Steps: []flakyserver.Step{flakyserver.Fail(codes.Unavailable, "at once").AtOnce()},
	})
	var wrong atomic.Int64
	call := func(ctx context.Context, n int) load.Outcome {
		reply := new(greeterpb.HelloReply)
		k := watch.hand(reply)
		err := r.cc.Invoke(ctx, hello, &greeterpb.HelloRequest{Name: strconv.Itoa(n)}, reply)
		k.done.Store(true)
		if err == nil && reply.GetMessage() != "Hello "+strconv.Itoa(n) {
			wrong.Add(1)
		}
		return outcome(err)
	}
	if _, err := (load.Plan{Rate: setting.rate, Calls: warmCalls, Timeout: 5 * time.Second}).Run(ctx, call); err != nil {
		return run, err
	}
	before := r.server.Stats(hello).Attempts
	wrong.Store(0)
	watch.written.Store(0)
	watch.returned.Store(0)
	plan := load.Plan{Rate: setting.rate, Calls: int(length.Seconds() * setting.rate), Timeout: 5 * time.Second}
	samples, err := plan.Run(ctx, call)
	if err != nil {
		return run, err
	}
	// Losers have been cancelled; those that were not end by themselves.
	if err := r.server.Await(ctx, func() bool { s := r.server.Stats(hello); return s.Attempts == s.Ended }); err != nil {
		return run, err
	}
	calls := float64(len(samples))
	run = tailRun{
		extra:  float64(r.server.Stats(hello).Attempts-before)/calls - 1,
		failed: 1 - float64(load.Count(samples, load.OK))/calls,
		wrong:  float64(wrong.Load()) / calls, twice: float64(watch.written.Load()) / calls, late: float64(watch.returned.Load()) / calls,
		calls: calls, length: length.Seconds(), lags: lags(samples),
	}
	times := load.Times(samples, load.Sample.Took, func(s load.Sample) bool { return s.Outcome == load.OK })
	for i, q := range quantiles {
		run.ms[i] = float64(load.Quantile(times, q)) / 1e6
	}
	return run, nil
}

func tailResult(clients []peers.Client, results [][][]tailRun) *lab.Result {
	tails := lab.Table{Title: "5 % stragglers", Quoted: true, Columns: []lab.Column{
		ms("p50"), ms("p90"), ms("p95"), ms("p99"), ms("p99.9"),
		{Name: "extra attempts", Unit: "%", Better: lab.Lower, Digits: 1},
		{Name: "replies that two attempts wrote to", Unit: "%", Better: lab.Lower, Digits: 2},
		{Name: "of them after the return", Unit: "%", Better: lab.Lower, Digits: 2},
		{Name: "wrong replies", Unit: "%", Better: lab.Lower, Digits: 2},
	}}
	errors := lab.Table{Title: "5 % stragglers, and 5 % of the attempts fail at once", Columns: []lab.Column{
		{Name: "calls that fail", Unit: "%", Better: lab.Lower, Digits: 2}, ms("p99"), {Name: "extra attempts", Unit: "%", Better: lab.Lower, Digits: 1},
	}}
	slow := lab.Table{Title: "All answers slow", Columns: []lab.Column{
		{Name: "extra attempts", Unit: "%", Better: lab.Lower, Digits: 1}, ms("p99"), {Name: "calls that fail", Unit: "%", Better: lab.Lower, Digits: 2},
	}}
	picture := lab.Chart{Title: "Latency with 5 % stragglers", X: "", Y: "ms", Labels: []string{"p50", "p90", "p95", "p99", "p99.9"}}
	byName := map[string][3][]tailRun{}
	percent := func(runs []tailRun, of func(tailRun) float64) lab.Cell {
		return each(runs, func(r tailRun) float64 { return 100 * of(r) }).cell()
	}
	extra, failed := func(r tailRun) float64 { return r.extra }, func(r tailRun) float64 { return r.failed }
	for c, client := range clients {
		runs := [3][]tailRun{results[0][c], results[1][c], results[2][c]}
		byName[client.Name] = runs
		row, line := rowOf(client), lab.Series{Name: client.Name, Ours: client.Ours}
		for q := range quantiles {
			cell := each(runs[0], func(r tailRun) float64 { return r.ms[q] }).cell()
			row.Cells = append(row.Cells, cell)
			line.Points = append(line.Points, [2]float64{float64(q), cell.Value})
		}
		row.Cells = append(row.Cells, percent(runs[0], extra),
			percent(runs[0], func(r tailRun) float64 { return r.twice }),
			percent(runs[0], func(r tailRun) float64 { return r.late }),
			percent(runs[0], func(r tailRun) float64 { return r.wrong }))
		tails.Rows = append(tails.Rows, row)
		picture.Series = append(picture.Series, line)
		p99 := func(runs []tailRun) lab.Cell { return each(runs, func(r tailRun) float64 { return r.ms[3] }).cell() }
		errors.Rows = append(errors.Rows, rowOf(client, percent(runs[1], failed), p99(runs[1]), percent(runs[1], extra)))
		slow.Rows = append(slow.Rows, rowOf(client, percent(runs[2], extra), p99(runs[2]), percent(runs[2], failed)))
	}
	return lag(&lab.Result{
		Contenders: contenders(clients),
		Tables:     []lab.Table{tails, errors, slow},
		Charts:     []lab.Chart{picture},
		Gates:      tailGates(byName),
		Notes: []string{
			"Latencies are those of calls that succeed, from when they were to begin.",
			"failsafe-go gives all attempts of a call the caller's own reply: where two succeed, both write to it.",
		},
	}, results, func(r tailRun) []time.Duration { return r.lags })
}

func ms(name string) lab.Column {
	return lab.Column{Name: name, Unit: "ms", Better: lab.Lower, Digits: 1}
}

// tailGates are the promises: about all of ours, those about the tail about
// the one with a fixed delay.
func tailGates(byName map[string][3][]tailRun) (gates []lab.Gate) {
	none, fixed := byName["no policy"], byName[peers.AstraHedge]
	p99 := func(runs []tailRun) float64 { return each(runs, func(r tailRun) float64 { return r.ms[3] }).median() }
	gates = append(gates,
		lab.Gate{What: peers.AstraHedge + ": p99 ÷ p99 without a policy", Unit: "×", Times: true, Value: p99(fixed[0]) / p99(none[0]), Limit: 0.3,
			Note: fmt.Sprintf("%.1f ÷ %.1f ms", p99(fixed[0]), p99(none[0]))},
		lab.Gate{What: peers.AstraHedge + ": extra attempts", Unit: "%", Times: true, // answers that take longer than the delay
			Value: 100 * each(fixed[0], func(r tailRun) float64 { return r.extra }).median(), Limit: 9},
	)
	for _, name := range []string{peers.AstraHedge, peers.AstraHedgeP95} {
		runs := byName[name]
		// What the default budget allows: its ratio, and what it holds and earns with time.
		allowed := 100 * (0.2 + (50+runs[2][0].length)/runs[2][0].calls)
		gates = append(gates,
			lab.Gate{What: name + ": calls that fail at 5 % fast errors", Unit: "%", Value: 100 * each(runs[1], func(r tailRun) float64 { return r.failed }).median(), Limit: 0.5},
			lab.Gate{What: name + ": extra attempts when all answers are slow", Unit: "%", Value: 100 * each(runs[2], func(r tailRun) float64 { return r.extra }).median(), Limit: allowed, Note: "the budget's ratio and burst"},
			lab.Gate{What: name + ": replies that two attempts wrote to, or wrong", Unit: "%", Value: 100 * slices.Max(each(runs[0], func(r tailRun) float64 { return r.twice + r.wrong }))},
		)
	}
	return gates
}
