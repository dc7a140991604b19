package sim

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/jitter"
)

const (
	contentionBase   = 5 * time.Millisecond
	contentionMost   = 2 * time.Second
	contentionTrials = 100
)

// published is what the blog's simulator gives for 100 clients.
var published = map[string]struct{ took, calls float64 }{
	"no backoff":                    {2027, 2421},
	jitter.None.String():            {62862, 1853},
	jitter.Equal.String():           {6658, 812},
	jitter.AWSFull.String():         {4879, 797},
	jitter.AWSDecorrelated.String(): {4530, 1002},
}

// contend lets clients update one row at once, with optimistic locking: read
// the row, write it back if nobody else has meanwhile, else wait and begin
// again. Each message takes a hop of |N(10 ms, 2 ms)|. It returns when the last
// client had its answer, and how many writes were tried.
func contend(e *engine, clients int, wait backoff) (took time.Duration, writes int) {
	hop := func() time.Duration {
		return time.Duration(math.Abs(10+2*e.Rand.NormFloat64()) * float64(time.Millisecond))
	}
	// The blog's delay after the n-th conflict is min(cap, base·2ⁿ), our
	// schedule's base·2ⁿ⁻¹. Only its decorrelated jitter begins at base itself.
	base := 2 * contentionBase
	if wait.Name == jitter.AWSDecorrelated.String() {
		base = contentionBase
	}
	version, left := 0, clients
	var try func(n int, prev time.Duration)
	try = func(n int, prev time.Duration) {
		e.After(hop(), func() {
			read := version
			e.After(hop()+hop(), func() {
				writes++
				back := hop()
				if read == version {
					version++
					if left--; left == 0 {
						took = e.Now() + back
					}
					return
				}
				d := wait.next(n, prev, base, contentionMost, e.Rand.Float64())
				e.After(back+d, func() { try(n+1, d) })
			})
		})
	}
	for range clients {
		try(1, 0)
	}
	e.run(forever)
	return took, writes
}

func contention() lab.Scenario {
	return lab.Scenario{
		Name:  "contention",
		Title: "Many clients, one row: how jitter spreads those who lost",
		About: "The experiment of the AWS Architecture Blog, \"Exponential Backoff And Jitter\" (2015). " +
			"N clients update one row at the same moment, with optimistic locking, until all have: who comes second waits and tries again. " +
			"A message takes |N(10 ms, 2 ms)|, delays grow from 5 ms to 2 s; means of 100 trials. " +
			"Fewer calls are less work for the server, less time is less waiting for the last client.",
		Run: runContention,
	}
}

func runContention(ctx context.Context, o lab.Options) (*lab.Result, error) {
	sizes := []int{10, 30, 50, 70, 90, 100, 110, 130, 150, 170, 190}
	if o.Quick {
		sizes = []int{10, 50, 100}
	}
	none := backoff{
		lab.Contender{Name: "no backoff", Config: "0", Why: "failsafe-go's default for gRPC: retries at once"},
		func(int, time.Duration, time.Duration, time.Duration, float64) time.Duration { return 0 },
	}
	all := append(backoffStrategies(), none)
	w := work{ctx: ctx, progress: o.Progress, all: len(all) * len(sizes)}
	r := &lab.Result{
		Notes: []string{
			"Published figures are those of the blog's own simulator. Its full jitter is our aws-full, its decorrelated our aws-decorrelated.",
			"Exponential backoff without jitter (none) keeps those who collided together, so that they collide again.",
		},
	}
	at100 := lab.Table{Title: "100 clients", Quoted: true, Columns: []lab.Column{
		column("all done", "ms", lab.Lower, 0), column("calls", "", lab.Lower, 0),
		column("published", "ms", lab.Neither, 0), column("published calls", "", lab.Neither, 0),
	}}
	time100 := lab.Chart{Title: "Until all are done", X: "clients", Y: "ms", LogY: true}
	calls := lab.Chart{Title: "Calls", X: "clients", Y: "calls", LogY: true}
	for i, c := range all {
		took := lab.Series{Name: c.Name, Ours: c.Ours}
		made := lab.Series{Name: c.Name, Ours: c.Ours}
		for _, n := range sizes {
			var ms, writes sample
			for trial := range contentionTrials {
				t, k := contend(newEngine(o.Seed, uint64(i)<<32|uint64(n)<<16|uint64(trial)), n, c)
				ms = append(ms, t.Seconds()*1000)
				writes = append(writes, float64(k))
			}
			took.Points = append(took.Points, [2]float64{float64(n), round(ms.mean())})
			made.Points = append(made.Points, [2]float64{float64(n), round(writes.mean())})
			if n == 100 {
				known := number(math.NaN())
				cells := []lab.Cell{ms.average(), writes.average(), known, known}
				if p, ok := published[c.Name]; ok {
					cells[2], cells[3] = number(p.took), number(p.calls)
					r.Gates = append(r.Gates,
						gate(off(ms.mean(), p.took), 5, "%s: time, off the published simulator by %%", c.Name),
						gate(off(writes.mean(), p.calls), 5, "%s: calls, off the published simulator by %%", c.Name))
				}
				at100.Rows = append(at100.Rows, lab.Row{Name: c.Name, Ours: c.Ours, Cells: cells})
			}
			if err := w.step(); err != nil {
				return nil, fmt.Errorf("contention: %w", err)
			}
		}
		r.Contenders = append(r.Contenders, c.Contender)
		time100.Series = append(time100.Series, took)
		calls.Series = append(calls.Series, made)
	}
	r.Tables = []lab.Table{at100}
	r.Charts = []lab.Chart{time100, calls}
	return r, nil
}

func off(got, want float64) float64 { return 100 * math.Abs(got/want-1) }
