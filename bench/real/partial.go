package real

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// errorRates are the shares of attempts that fail, in percent.
var errorRates = []float64{1, 5, 10, 20, 50, 100}

const (
	partialRate       = 600 // calls a second
	partialSideBySide = 12
)

func partial() lab.Scenario {
	return lab.Scenario{
		Name:  "partial",
		Title: "A share of the attempts fails",
		About: "Attempts fail at once with UNAVAILABLE by chance, 1 to 100 % of them, whatever became of the others (but of every 100 " +
			"that reach the server, exactly that share, so that the luck of a run does not decide). " +
			"600 calls a second come whatever happens. Counted are the calls that succeed and the attempts that reach the server, " +
			"once the first two seconds, in which budgets spend what they had saved, are over. More attempts than calls is load " +
			"that a failing server has to bear on top.",
		Real: true,
		Run:  runPartial,
	}
}

// partialRun is what one run found.
type partialRun struct {
	success, attempts float64
	lags              []time.Duration // of the generator
}

func runPartial(ctx context.Context, o lab.Options) (*lab.Result, error) {
	t := peers.Tuning{Attempts: 3, Base: 20 * time.Millisecond, Max: 50 * time.Millisecond}
	clients := peers.Field(t)
	clients = slices.Insert(clients, 3, peers.AstraWithoutBreaker(t))
	warmUp, measured := 2*time.Second, 4*time.Second
	if o.Quick {
		warmUp, measured = 2*time.Second, 1800*time.Millisecond
	}
	results := make([][][]partialRun, len(clients)) // of client, error rate, repeat
	var jobs []job
	for c, client := range clients {
		results[c] = make([][]partialRun, len(errorRates))
		for e, percent := range errorRates {
			results[c][e] = make([]partialRun, o.Repeats())
			for r := range results[c][e] {
				jobs = append(jobs, job{warmUp + measured, func(ctx context.Context) (err error) {
					seed := o.Seed + uint64(r)*1000 + uint64(e) // the same luck for all
					results[c][e][r], err = failPartly(ctx, client, percent/100, seed, warmUp, measured)
					return err
				}})
			}
		}
	}
	if err := fleet(ctx, o, partialSideBySide, jobs); err != nil {
		return nil, err
	}
	return partialResult(clients, results), nil
}

func failPartly(ctx context.Context, c peers.Client, share float64, seed uint64, warmUp, measured time.Duration) (run partialRun, err error) {
	r, err := newRig(ctx, c, nil)
	if err != nil {
		return run, err
	}
	defer r.close()
	r.server.Script(hello, deck(share, seed, 5*int((warmUp+measured).Seconds()*partialRate))...)
	var before, after int64
	read := func(n *int64) func(time.Duration) {
		return func(time.Duration) { *n = r.server.Stats(hello).Attempts }
	}
	plan := load.Plan{
		Rate: partialRate, Calls: int((warmUp + measured).Seconds() * partialRate), Timeout: 5 * time.Second,
		Events: []load.Event{{At: warmUp, Do: read(&before)}, {At: warmUp + measured, Do: read(&after)}},
	}
	samples, err := plan.Run(ctx, r.say)
	if err != nil {
		return run, err
	}
	calls := load.Between(samples, warmUp, warmUp+measured)
	if len(calls) == 0 {
		return run, errCut
	}
	return partialRun{
		success:  float64(load.Count(calls, load.OK)) / float64(len(calls)),
		attempts: float64(after-before) / float64(len(calls)),
		lags:     lags(samples),
	}, nil
}

// deck is what at least n attempts meet: the share of them that fails, shuffled.
func deck(share float64, seed uint64, n int) (steps []flakyserver.Step) {
	const block = 100
	rng := rand.New(rand.NewPCG(seed, 2))
	for len(steps) < n {
		from := len(steps)
		for i := range block {
			step := flakyserver.OK()
			if i < int(math.Round(share*block)) {
				step = flakyserver.Fail(codes.Unavailable, "by chance")
			}
			steps = append(steps, step)
		}
		rng.Shuffle(block, func(i, j int) { steps[from+i], steps[from+j] = steps[from+j], steps[from+i] })
	}
	return steps
}

func partialResult(clients []peers.Client, results [][][]partialRun) *lab.Result {
	var columns []lab.Column
	for _, percent := range errorRates {
		columns = append(columns, lab.Column{Name: fmt.Sprintf("at %g %%", percent), Digits: 1})
	}
	success := lab.Table{Title: "Calls that succeed, in %, by the share of attempts that fail", Quoted: true, Columns: slices.Clone(columns)}
	loads := lab.Table{
		Title: "Attempts per call, by the share of attempts that fail", Quoted: true, Columns: slices.Clone(columns),
		Note: "Fewer is less load; below 1 a breaker refuses calls. No policy makes one each, and saves nobody.",
	}
	for i := range columns {
		success.Columns[i].Better = lab.Higher
		loads.Columns[i].Better, loads.Columns[i].Digits = lab.Lower, 3
	}
	saved := lab.Chart{Title: "Calls that succeed", X: "attempts that fail, %", Y: "%", LogX: true}
	cost := lab.Chart{Title: "What it costs", X: "attempts that fail, %", Y: "attempts per call", LogX: true}
	value := map[string][]partialRun{} // medians, by contender, one an error rate
	for c, client := range clients {
		s, l := rowOf(client), rowOf(client)
		sLine := lab.Series{Name: client.Name, Ours: client.Ours}
		lLine := sLine
		for e, percent := range errorRates {
			runs := results[c][e]
			won := each(runs, func(r partialRun) float64 { return 100 * r.success })
			made := each(runs, func(r partialRun) float64 { return r.attempts })
			s.Cells, l.Cells = append(s.Cells, won.cell()), append(l.Cells, made.cell())
			sLine.Points = append(sLine.Points, [2]float64{percent, won.median()})
			lLine.Points = append(lLine.Points, [2]float64{percent, made.median()})
			value[client.Name] = append(value[client.Name], partialRun{success: won.median() / 100, attempts: made.median()})
		}
		success.Rows, loads.Rows = append(success.Rows, s), append(loads.Rows, l)
		if drawn(client) || client.Name == peers.AstraUnbroken {
			saved.Series, cost.Series = append(saved.Series, sLine), append(cost.Series, lLine)
		}
	}
	ours, alone := value[peers.AstraTuned], value[peers.AstraUnbroken]
	at := func(percent float64) int { return slices.Index(errorRates, percent) }
	return lag(&lab.Result{
		Contenders: contenders(clients),
		Tables:     []lab.Table{success, loads},
		Charts:     []lab.Chart{saved, cost},
		Gates: []lab.Gate{
			{What: "success at 10 % errors", Value: ours[at(10)].success, Limit: 0.99, AtLeast: true},
			{What: "attempts per call at 10 % errors", Value: ours[at(10)].attempts, Limit: 1.12},
			{What: "success at 20 % errors", Value: ours[at(20)].success, Limit: 0.95, AtLeast: true},
			{What: "attempts per call at 20 % errors", Value: ours[at(20)].attempts, Limit: 1.21},
			{What: "attempts per call at 100 % errors, breaker off", Value: alone[at(100)].attempts, Limit: 1.01},
			{What: "attempts per call at 100 % errors, breaker on", Value: ours[at(100)].attempts, Limit: 0.05},
		},
		Notes: []string{
			"grpc-go's throttling is a cliff: above half its tokens it allows all retries, below none.",
			"go-grpc-middleware, failsafe-go's retry and grpc-go's without throttling make three or four attempts of each call to a server of which nothing is left.",
		},
	}, results, func(r partialRun) []time.Duration { return r.lags })
}

// drawn are the contenders that charts show: all would be a tangle.
func drawn(c peers.Client) bool {
	return slices.Contains([]string{
		"no policy", peers.AstraTuned, "grpc-go retry (tuned)", "grpc-go retry + throttling (documented)",
		"failsafe-go retry + budget (tuned)", peers.GobreakerTuned,
	}, c.Name)
}
