package real

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

const (
	rate             = 280         // calls a second, of outage and metastable
	wellFor          = time.Second // before the outage
	outageSideBySide = 22
	// short are the outages that recovery is judged by.
	short = 5 * time.Second
	// unsteady is by how much a repeat's outage is longer or shorter, at most:
	// else the luck of one phase between probe and recovery would decide.
	unsteady = 250 * time.Millisecond
)

// stressed is the tuning of outage and metastable.
var stressed = peers.Tuning{Attempts: 3, Base: 25 * time.Millisecond, Max: 200 * time.Millisecond, AttemptTimeout: 100 * time.Millisecond}

func outage() lab.Scenario {
	return lab.Scenario{
		Name:  "outage",
		Title: "The server is down for a while",
		About: "280 calls a second, each with 3 s. After a second every attempt is answered UNAVAILABLE, for 0.8 to 20 s, ± a quarter " +
			"second by chance so that no luck of a probe's phase decides; then the server is well again. Counted are the attempts that a dead " +
			"server gets, when callers begin to be told at once, and when 95 % of the calls are answered again, in the quarter second and in the second from then on.",
		Real: true,
		Run:  runOutage,
	}
}

// outageRun is what one run found.
type outageRun struct {
	attempts float64 // per call, while down
	opens    bool
	open     float64 // seconds until a call is refused
	once     float64 // attempts per call, once open and down
	refused  float64 // share of the calls while down
	took     float64 // µs, a refused call in the median
	back     recovered
	again    int
	lags     []time.Duration // of the generator
}

func runOutage(ctx context.Context, o lab.Options) (*lab.Result, error) {
	lengths := []float64{0.8, 2.3, 3.6, 5, 20}
	after := 5 * time.Second
	if o.Quick {
		lengths, after = []float64{0.8, 2.3, 3.6}, 4*time.Second
	}
	clients := peers.Field(stressed)
	results := make([][][]outageRun, len(clients)) // of client, length, repeat
	rng := rand.New(rand.NewPCG(o.Seed, 3))
	var jobs []job
	for l, seconds := range lengths {
		for r := range o.Repeats() {
			down := ofSeconds(seconds)
			if o.Repeats() > 1 {
				down += time.Duration((2*rng.Float64() - 1) * float64(unsteady)) // the same for all
			}
			for c, client := range clients {
				if results[c] == nil {
					results[c] = make([][]outageRun, len(lengths))
				}
				results[c][l] = append(results[c][l], outageRun{})
				jobs = append(jobs, job{wellFor + down + after, func(ctx context.Context) error {
					run, again, err := undisturbed(func() (outageRun, bool, error) { return goDown(ctx, client, down, after) })
					run.again = again
					results[c][l][r] = run
					return err
				}})
			}
		}
	}
	if err := fleet(ctx, o, outageSideBySide, jobs); err != nil {
		return nil, err
	}
	return outageResult(clients, lengths, results), nil
}

// goDown is one run; healthy reports whether calls were answered before.
func goDown(ctx context.Context, c peers.Client, down, after time.Duration) (run outageRun, healthy bool, err error) {
	r, err := newRig(ctx, c, nil)
	if err != nil {
		return run, false, err
	}
	defer r.close()
	var (
		from, to             time.Duration
		begun, opened, ended int64
		first                sync.Once
		attempts             = func() int64 { return r.server.Stats(hello).Attempts }
	)
	plan := load.Plan{
		Rate: rate, Calls: int((wellFor + down + after).Seconds() * rate), Timeout: 3 * time.Second,
		Events: []load.Event{
			{At: wellFor, Do: func(at time.Duration) {
				begun, from = attempts(), at
				r.server.SetDown(flakyserver.Fail(codes.Unavailable, "down"))
			}},
			{At: wellFor + down, Do: func(at time.Duration) {
				r.server.SetUp()
				ended, to = attempts(), at
			}},
		},
	}
	samples, err := plan.Run(ctx, func(ctx context.Context, n int) load.Outcome {
		o := r.say(ctx, n)
		if o == load.Refused {
			first.Do(func() { opened = attempts() })
		}
		return o
	})
	if err != nil {
		return run, false, err
	}
	offered := load.Between(samples, from, to)
	if len(offered) == 0 {
		return run, false, errCut
	}
	run = outageRun{
		attempts: float64(ended-begun) / float64(len(offered)),
		refused:  float64(load.Count(offered, load.Refused)) / float64(len(offered)),
		back:     recovery(samples, to),
		lags:     lags(samples),
	}
	if i := slices.IndexFunc(offered, func(s load.Sample) bool { return s.Outcome == load.Refused }); i >= 0 {
		run.opens = true
		run.open = (offered[i].Began - from).Seconds()
		run.once = float64(max(ended-opened, 0)) / float64(len(offered)-i)
		refused := load.Times(offered, load.Sample.Own, func(s load.Sample) bool { return s.Outcome == load.Refused })
		run.took = float64(load.Quantile(refused, 0.5)) / 1e3
	}
	return run, good(samples, 0, from) >= goodput, nil
}

func ofSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func outageResult(clients []peers.Client, lengths []float64, results [][][]outageRun) *lab.Result {
	summary := lab.Table{
		Title: "Outages up to 5 s", Quoted: true, Note: "Medians over all runs, with the least and the most; goodput: the mean and the worst of all runs.",
		Columns: []lab.Column{
			{Name: "until calls are refused", Unit: "s", Better: lab.Lower, Digits: 2},
			{Name: "attempts per call, whole outage", Unit: "×", Better: lab.Lower, Digits: 3},
			{Name: "attempts per call, once open", Unit: "%", Better: lab.Lower, Digits: 1},
			{Name: "refused at once", Unit: "%", Better: lab.Higher, Digits: 0},
			{Name: "a refusal takes", Unit: "µs", Better: lab.Lower, Digits: 0},
			{Name: "95 % goodput back, mean", Unit: "s", Better: lab.Lower, Digits: 2},
			{Name: "95 % goodput back, worst", Unit: "s", Better: lab.Lower, Digits: 2},
		},
	}
	recoveries := lab.Table{Title: "95 % goodput back, by length of the outage", Note: "Medians, with the least and the most."}
	loads := lab.Table{Title: "Attempts per call while down, by length of the outage", Note: "Medians, with the least and the most."}
	for _, l := range lengths {
		name := fmt.Sprintf("%g s down", l)
		recoveries.Columns = append(recoveries.Columns, lab.Column{Name: name, Unit: "s", Better: lab.Lower, Digits: 2})
		loads.Columns = append(loads.Columns, lab.Column{Name: name, Unit: "×", Better: lab.Lower, Digits: 3})
	}
	byLength := lab.Chart{Title: "Time until 95 % goodput is back", X: "outage, s", Y: "s", LogX: true}
	var (
		gates []lab.Gate
		again int
	)
	for c, client := range clients {
		var judged []outageRun
		back, made := rowOf(client), rowOf(client)
		line := lab.Series{Name: client.Name, Ours: client.Ours}
		for l, seconds := range lengths {
			runs := results[c][l]
			for _, run := range runs {
				again += run.again
			}
			if ofSeconds(seconds) <= short {
				judged = append(judged, runs...)
			}
			cell := typical(recoveriesOf(runs))
			back.Cells = append(back.Cells, cell)
			made.Cells = append(made.Cells, each(runs, func(r outageRun) float64 { return r.attempts }).cell())
			line.Points = append(line.Points, [2]float64{seconds, cell.Value})
		}
		recoveries.Rows, loads.Rows = append(recoveries.Rows, back), append(loads.Rows, made)
		summary.Rows = append(summary.Rows, rowOf(client, outageCells(judged)...))
		if drawn(client) || client.Name == peers.AstraDefault {
			byLength.Series = append(byLength.Series, line)
		}
		if client.Name == peers.AstraTuned || client.Name == peers.AstraDefault {
			gates = append(gates, outageGates(client.Name, judged)...)
		}
	}
	return lag(&lab.Result{
		Contenders: contenders(clients),
		Tables:     []lab.Table{summary, recoveries, loads},
		Charts:     []lab.Chart{byLength},
		Gates:      gates,
		Notes: []string{
			"Who has no breaker is back at once, and until then sends everything, and retries of everything, to a dead server.",
			"Once open: from the first refused call until the server is well again. Before, the attempts of the calls that open a breaker are made by everyone; at 0.8 s they are most of all.",
			"A call that a breaker lets through to probe makes up to three attempts with a retry inside the breaker.",
			remade(again),
		},
	}, results, func(r outageRun) []time.Duration { return r.lags })
}

func recoveriesOf(runs []outageRun) (all []recovered) {
	for _, r := range runs {
		all = append(all, r.back)
	}
	return all
}

func opening(runs []outageRun) []outageRun {
	return slices.DeleteFunc(slices.Clone(runs), func(r outageRun) bool { return !r.opens })
}

func outageCells(judged []outageRun) []lab.Cell {
	opened, back := opening(judged), recoveriesOf(judged)
	return []lab.Cell{
		each(opened, func(r outageRun) float64 { return r.open }).cell(),
		each(judged, func(r outageRun) float64 { return r.attempts }).cell(),
		each(opened, func(r outageRun) float64 { return 100 * r.once }).cell(),
		each(judged, func(r outageRun) float64 { return 100 * r.refused }).cell(),
		each(opened, func(r outageRun) float64 { return r.took }).cell(),
		average(back),
		worst(back),
	}
}

// probesPerSecond is how many an open breaker lets pass at most.
const probesPerSecond = 10.0

func outageGates(name string, judged []outageRun) []lab.Gate {
	opened, back := opening(judged), recoveriesOf(judged)
	gate := func(what, unit string, value, limit float64) lab.Gate {
		return lab.Gate{What: name + ": " + what, Unit: unit, Value: value, Limit: limit}
	}
	if len(opened) < len(judged) {
		return []lab.Gate{gate("outages at which the breaker does not open", "", float64(len(judged)-len(opened)), 0)}
	}
	return []lab.Gate{
		gate("calls are refused after, median", "s", each(opened, func(r outageRun) float64 { return r.open }).median(), 0.5),
		gate("attempts once open, of calls, mean", "%", each(opened, func(r outageRun) float64 { return 100 * r.once }).mean(), 1.1*100*probesPerSecond/rate),
		gate("95 % goodput back, mean", "s", average(back).Value, 0.75),
		gate("95 % goodput back, worst", "s", worst(back).Value, 1.5),
		gate("a refusal takes, median", "µs", each(opened, func(r outageRun) float64 { return r.took }).median(), 50),
	}
}
