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
	herdClients  = 1000
	herdOutage   = 10 * time.Second
	herdCapacity = 200.0 // served a second …
	herdBurst    = 20.0  // … and this many at once
	herdBase     = 100 * time.Millisecond
	herdMost     = 10 * time.Second
	herdBucket   = 100 * time.Millisecond
	herdTrials   = 20
)

// stampede is what one way to wait makes of the return of a server.
type stampede struct {
	attempts int             // in all
	served   []time.Duration // since the return, when each client was, in order
	arrivals []int           // in each 100 ms since the return
}

// stampedeOf lets all clients fail at the same moment.
func stampedeOf(e *engine, wait backoff) *stampede {
	s := &stampede{attempts: herdClients}
	tokens, filled := herdBurst, herdOutage
	var again func(n int, prev time.Duration)
	again = func(n int, prev time.Duration) {
		d := wait.next(n, prev, herdBase, herdMost, e.Rand.Float64())
		e.After(d, func() {
			s.attempts++
			if since := e.Now() - herdOutage; since >= 0 {
				i := int(since / herdBucket)
				for len(s.arrivals) <= i {
					s.arrivals = append(s.arrivals, 0)
				}
				s.arrivals[i]++
				tokens = math.Min(herdBurst, tokens+herdCapacity*(e.Now()-filled).Seconds())
				filled = e.Now()
				if tokens >= 1 {
					tokens--
					s.served = append(s.served, since)
					return
				}
			}
			again(n+1, d)
		})
	}
	for range herdClients {
		again(1, 0)
	}
	e.run(forever)
	return s
}

// until is when a share of the clients had been served.
func (s *stampede) until(share float64) float64 {
	return s.served[int(math.Ceil(share*herdClients))-1].Seconds()
}

// used is the share of the capacity of the first five seconds that was put to
// use.
func (s *stampede) used() float64 {
	n := 0
	for n < len(s.served) && s.served[n] < 5*time.Second {
		n++
	}
	return 100 * float64(n) / (5*herdCapacity + herdBurst)
}

func (s *stampede) peak() float64 {
	most := 0
	for _, n := range s.arrivals {
		most = max(most, n)
	}
	return float64(most)
}

func herd() lab.Scenario {
	return lab.Scenario{
		Name:  "herd",
		Title: "A thousand clients come back after an outage",
		About: "1000 clients fail at the same moment, and the server stays away for 10 s. Then it serves 200 a second, 20 at once, and refuses the rest at once. " +
			"Each client tries until it is served; delays grow from 100 ms to 10 s. " +
			"Measured is how many arrive in the busiest 100 ms after the return, where 20 can be served, and how long it takes until all are served, where 5 s are possible. " +
			"Means of 20 trials.",
		Run: runHerd,
	}
}

func runHerd(ctx context.Context, o lab.Options) (*lab.Result, error) {
	all := backoffStrategies()
	w := work{ctx: ctx, progress: o.Progress, all: len(all) * herdTrials}
	table := lab.Table{Title: "After the return of the server", Quoted: true, Columns: []lab.Column{
		column("busiest 100 ms", "attempts", lab.Lower, 0),
		column("half served", "s", lab.Lower, 1),
		column("95 % served", "s", lab.Lower, 1),
		column("all served", "s", lab.Lower, 1),
		column("capacity used in 5 s", "%", lab.Higher, 0),
		column("attempts", "", lab.Lower, 0),
	}}
	served := lab.Chart{Title: "Clients served (one trial)", X: "s since the return", Y: "clients"}
	r := &lab.Result{}
	measured := map[string][]sample{}
	for i, c := range all {
		got := make([]sample, len(table.Columns))
		for trial := range herdTrials {
			s := stampedeOf(newEngine(o.Seed, uint64(i)<<32|uint64(trial)), c)
			for j, v := range []float64{s.peak(), s.until(0.5), s.until(0.95), s.until(1), s.used(), float64(s.attempts)} {
				got[j] = append(got[j], v)
			}
			if trial == 0 {
				line := lab.Series{Name: c.Name, Ours: c.Ours}
				for at := 0.0; at <= 20; at += 0.5 {
					n := 0
					for n < len(s.served) && s.served[n] < seconds(at) {
						n++
					}
					line.Points = append(line.Points, [2]float64{at, float64(n)})
				}
				served.Series = append(served.Series, line)
			}
			if err := w.step(); err != nil {
				return nil, fmt.Errorf("herd: %w", err)
			}
		}
		row := lab.Row{Name: c.Name, Ours: c.Ours}
		for _, s := range got {
			row.Cells = append(row.Cells, s.average())
		}
		table.Rows = append(table.Rows, row)
		r.Contenders = append(r.Contenders, c.Contender)
		measured[c.Name] = got
	}
	full, aws := measured[jitter.Full.String()], measured[jitter.AWSFull.String()]
	r.Tables = []lab.Table{table}
	r.Charts = []lab.Chart{served}
	r.Gates = []lab.Gate{
		gate(full[0].mean(), 30, "full, the default: arrivals in the busiest 100 ms"),
		gate(aws[0].mean(), 30, "aws-full: arrivals in the busiest 100 ms"),
		gate(aws[3].mean(), 10, "aws-full: s until all are served"),
	}
	r.Notes = []string{
		fmt.Sprintf("Our default, full, spreads the herd best, but it is served whole only after %.1f s, where 10 s are wanted: its delays never fall below half the schedule and may exceed the cap by half, so that the last client may wait 15 s for its next attempt. "+
			"The formula is the contract's and stays. Where a thousand clients may fail together, and the last one's wait matters, choose aws-full: %.1f s.", full[3].mean(), aws[3].mean()),
	}
	return r, nil
}
