package real

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/load"
	"github.com/astra-grpc/astra/bench/peers"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

const (
	metastableSideBySide = 12
	metastableBefore     = 1250 * time.Millisecond
	metastableDeadline   = 400 * time.Millisecond
	// pictured is the stall of the chart, in seconds.
	pictured = 1.9
)

func metastable() lab.Scenario {
	return lab.Scenario{
		Name:  "metastable",
		Title: "The server stalls once, and its queue keeps it down",
		About: "4 workers of 10 ms behind one queue that also serves those who have given up, which is what makes overload last. " +
			"280 calls a second, each with 400 ms; attempts 100 ms, backoff 25 to 200 ms. Once, all workers stop, for 1.1 to 2.3 s. " +
			"What has queued by then is worth nothing to anybody any more, but is served first. Who keeps sending keeps it so.",
		Real: true,
		Run:  runMetastable,
	}
}

// idleInAStall are contenders that have no timeout for attempts and no breaker:
// in a stall they retry nothing and refuse nothing, so one of grpc-go's with
// and one without throttling stands for them.
func idleInAStall(c peers.Client) bool {
	return slices.Contains([]string{
		"grpc-go retry (documented)", "grpc-go retry + throttling (tuned)", "go-grpc-middleware retry (default)",
		"failsafe-go retry (default)", "failsafe-go retry + budget (default)",
	}, c.Name)
}

// stallRun is what one run found.
type stallRun struct {
	back    recovered
	lost    float64   // calls, for one that was offered during the stall
	wasted  float64   // share of the work done since the stall began
	goodput []float64 // calls answered a quarter second, from the stall's beginning on
	again   int
	lags    []time.Duration // of the generator
}

func runMetastable(ctx context.Context, o lab.Options) (*lab.Result, error) {
	lengths := []float64{1.1, 1.5, 1.9, 2.3}
	after := 9 * time.Second
	if o.Quick {
		lengths, after = []float64{1.1, 1.9}, 7*time.Second
	}
	clients := slices.DeleteFunc(peers.Field(stressed), idleInAStall)
	results := make([][][]stallRun, len(clients)) // of client, length, repeat
	rng := rand.New(rand.NewPCG(o.Seed, 4))
	var jobs []job
	for l, seconds := range lengths {
		for r := range o.Repeats() {
			// Short of the lengths' distance, so that they stay apart.
			stall := ofSeconds(seconds) + time.Duration((2*rng.Float64()-1)*0.15*float64(time.Second))
			for c, client := range clients {
				if results[c] == nil {
					results[c] = make([][]stallRun, len(lengths))
				}
				results[c][l] = append(results[c][l], stallRun{})
				jobs = append(jobs, job{metastableBefore + stall + after, func(ctx context.Context) error {
					run, again, err := undisturbed(func() (stallRun, bool, error) { return stallOnce(ctx, client, stall, after) })
					run.again = again
					results[c][l][r] = run
					return err
				}})
			}
		}
	}
	if err := fleet(ctx, o, metastableSideBySide, jobs); err != nil {
		return nil, err
	}
	return metastableResult(clients, lengths, results, (after - settle).Seconds()), nil
}

// stallOnce is one run; healthy reports whether calls were answered before.
func stallOnce(ctx context.Context, c peers.Client, stall, after time.Duration) (run stallRun, healthy bool, err error) {
	r, err := newRig(ctx, c, []flakyserver.Option{flakyserver.WithCapacity(flakyserver.Capacity{
		Workers: 4, Service: flakyserver.Fixed(10 * time.Millisecond), Queue: -1, ServeExpired: true,
	})})
	if err != nil {
		return run, false, err
	}
	defer r.close()
	var (
		from, to time.Duration
		before   flakyserver.Stats
	)
	plan := load.Plan{
		Rate: rate, Calls: int((metastableBefore + stall + after).Seconds() * rate), Timeout: metastableDeadline,
		Events: []load.Event{
			{At: metastableBefore, Do: func(at time.Duration) {
				r.server.Stall()
				before, from = r.server.Stats(hello), at
			}},
			{At: metastableBefore + stall, Do: func(at time.Duration) {
				r.server.Unstall()
				to = at
			}},
		},
	}
	samples, err := plan.Run(ctx, r.say)
	if err != nil {
		return run, false, err
	}
	stalled, since := load.Between(samples, from, to), load.Between(samples, from, math.MaxInt64)
	if len(stalled) == 0 {
		return run, false, errCut
	}
	end := r.server.Stats(hello)
	served, wasted := float64(end.Served-before.Served), float64(end.Wasted-before.Wasted)
	run = stallRun{
		back:   recovery(samples, to),
		lost:   float64(len(since)-load.Count(since, load.OK)) / float64(len(stalled)),
		wasted: wasted / max(served+wasted, 1),
		lags:   lags(samples),
	}
	for at := from - time.Second; at+window <= samples[len(samples)-1].At; at += window {
		in := load.Between(samples, at, at+window)
		run.goodput = append(run.goodput, 100*float64(load.Count(in, load.OK))/float64(max(len(in), 1)))
	}
	return run, good(samples, 0, from) >= goodput, nil
}

func metastableResult(clients []peers.Client, lengths []float64, results [][][]stallRun, horizon float64) *lab.Result {
	summary := lab.Table{
		Title: "All stalls", Quoted: true, Note: fmt.Sprintf("Goodput: the mean and the worst of all runs, which are watched for %g s; the rest medians, with the least and the most.", horizon),
		Columns: []lab.Column{
			{Name: "95 % goodput back, mean", Unit: "s", Better: lab.Lower, Digits: 2},
			{Name: "95 % goodput back, worst", Unit: "s", Better: lab.Lower, Digits: 2},
			{Name: "not back", Unit: "%", Better: lab.Lower},
			{Name: "calls lost, per call offered during the stall", Unit: "×", Better: lab.Lower, Digits: 2},
			{Name: "work wasted", Unit: "%", Better: lab.Lower},
		},
	}
	byLength := lab.Table{Title: "95 % goodput back, by length of the stall", Note: "Medians, with the least and the most."}
	for _, l := range lengths {
		byLength.Columns = append(byLength.Columns, lab.Column{Name: fmt.Sprintf("%g s", l), Unit: "s", Better: lab.Lower, Digits: 2})
	}
	picture := lab.Chart{
		Title: fmt.Sprintf("Calls answered in time, around a stall of about %g s", pictured), X: "s since the stall began", Y: "% of the calls, each quarter second",
	}
	again := 0
	ours, best, who := math.Inf(1), math.Inf(1), ""
	for c, client := range clients {
		var all []stallRun
		row := rowOf(client)
		for l, seconds := range lengths {
			all = append(all, results[c][l]...)
			for _, run := range results[c][l] {
				again += run.again
			}
			row.Cells = append(row.Cells, typical(stallRecoveries(results[c][l])))
			if seconds == pictured && drawn(client) {
				picture.Series = append(picture.Series, lab.Series{Name: client.Name, Ours: client.Ours, Points: pictureOf(results[c][l])})
			}
		}
		byLength.Rows = append(byLength.Rows, row)
		back := stallRecoveries(all)
		mean := average(back)
		summary.Rows = append(summary.Rows, rowOf(client,
			mean, worst(back),
			lab.Cell{Value: 100 * float64(missing(back)) / float64(len(back))},
			each(all, func(r stallRun) float64 { return r.lost }).cell(),
			each(all, func(r stallRun) float64 { return 100 * r.wasted }).cell(),
		))
		switch {
		case client.Name == peers.AstraTuned:
			ours = mean.Value
		case !client.Ours && mean.Value < best:
			best, who = mean.Value, client.Name
		}
	}
	return lag(&lab.Result{
		Contenders: contenders(clients),
		Tables:     []lab.Table{summary, byLength},
		Charts:     []lab.Chart{picture},
		Gates: []lab.Gate{
			{What: peers.AstraTuned + ": 95 % goodput back, mean", Unit: "s", Value: ours, Limit: 1},
			{What: peers.AstraTuned + ": the same, by the best peer's", Unit: "×", Value: ours / best, Limit: 1, Note: fmt.Sprintf("%s: %.2f s", who, best)},
		},
		Notes: []string{
			"A call that comes during the stall is lost to everyone but for the last 400 ms of it, so 1 lost per call offered is about the least there can be.",
			"grpc-go's own retries know no timeout for attempts, so here they retry nothing. The same holds for the retries of go-grpc-middleware and failsafe-go by default, which are left out.",
			remade(again),
		},
	}, results, func(r stallRun) []time.Duration { return r.lags })
}

func stallRecoveries(runs []stallRun) (all []recovered) {
	for _, r := range runs {
		all = append(all, r.back)
	}
	return all
}

// pictureOf is the mean of the runs, from a second before the stall on.
func pictureOf(runs []stallRun) (points [][2]float64) {
	n := len(slices.MinFunc(runs, func(a, b stallRun) int { return len(a.goodput) - len(b.goodput) }).goodput)
	for i := range n {
		mean := each(runs, func(r stallRun) float64 { return r.goodput[i] }).mean()
		points = append(points, [2]float64{-1 + (float64(i)+0.5)*window.Seconds(), mean})
	}
	return points
}
