package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/internal/breaker"
)

// detector is a rule that was tried.
type detector struct {
	lab.Contender
	rule func() rule
}

// shippedRule is when the breaker that ships opens.
type shippedRule struct{ m breaker.Machine }

func (r *shippedRule) reset() { r.m = breaker.NewMachine(shippedBreaker) }
func (r *shippedRule) add(now time.Duration, failed bool) bool {
	token, _, _ := r.m.Admit(now)
	o := breaker.Success
	if failed {
		o = breaker.Failure
	}
	return r.m.Settle(now, token, o, 0).To == breaker.Open
}

func detectors() []detector {
	peer := func(name, config, why string, r func() rule) detector {
		return detector{lab.Contender{Name: name, Config: config, Why: why}, r}
	}
	const s = time.Second
	return []detector{
		{lab.Contender{Name: "astra", Config: "7 in a row, 50 % of 20 in 10 s, or a CUSUM of 14 with ⅘ for a success", Why: "what we ship", Ours: true},
			func() rule { return &shippedRule{} }},
		{lab.Contender{Name: "astra, no CUSUM", Config: "7 in a row, or 50 % of 20 in 10 s", Why: "our detector before", Ours: true},
			func() rule { return anyOf{&row{want: 7}, &share{of: 0.5, calls: 20, window: 10 * s}} }},
		{lab.Contender{Name: "CUSUM alone", Config: "log-likelihood of 50 % against 10 %, h = 12", Why: "the best of those simulated with independent errors", Ours: true},
			func() rule { return likelihood(0.1, 0.5, 12) }},
		peer("Hystrix", "50 % of 20 in 10 s", "its defaults", func() rule { return &share{of: 0.5, calls: 20, window: 10 * s, every: true} }),
		peer("resilience4j", "50 % of the last 100", "its defaults", func() rule { return &last{of: 0.5, ring: make([]bool, 100)} }),
		peer("Polly", "10 % of 100 in 30 s", "its defaults, and those of .NET's standard handler", func() rule { return &share{of: 0.1, calls: 100, window: 30 * s} }),
		peer("Finagle", "5 in a row, or 20 % of 5 in 30 s", "its defaults", func() rule { return anyOf{&row{want: 5}, &share{of: 0.2000001, calls: 5, window: 30 * s}} }),
		peer("Linkerd consecutive", "7 in a row", "its defaults", inRow(7)),
		peer("Linkerd unified", "7 in a row, or 20 % of 5 in 10 s", "its defaults", unified),
		peer("Envoy", "5 in a row", "outlier detection's default that needs no other hosts", inRow(5)),
		peer("gobreaker", "more than 5 in a row", "its defaults", inRow(6)),
		peer("failsafe-go", "1", "its defaults", inRow(1)),
		peer("kitex", "50 % of 200 in 10 s", "its defaults", func() rule { return &share{of: 0.5, calls: 200, window: 10 * s} }),
	}
}

func detection() lab.Scenario {
	return lab.Scenario{
		Name:  "detection",
		Title: "When a breaker opens, and when it had better not",
		About: "Calls come at random times, 1, 10 or 100 a second. Time to open: after a minute without fault a share of the calls fails; the median of the trials. " +
			"False opens: service that is good on the whole, with errors that come singly or in bursts, or with rolling restarts, a quarter of the backends gone for 20 s of every 5 min; a breaker that opened starts anew after 5 s. " +
			"The breaker hears of calls, so of what retries did not mend.",
		Run: runDetection,
	}
}

// timeToOpen lets a share of the calls fail after a good minute.
func timeToOpen(rng *rand.Rand, r rule, rate float64, f fate, limit time.Duration) float64 {
	const warm = time.Minute
	r.reset()
	for now := time.Duration(0); now < warm+limit; {
		now += seconds(rng.ExpFloat64() / rate)
		if r.add(now, now >= warm && f.fails(rng, now)) {
			return (now - warm).Seconds()
		}
	}
	return never
}

// falseOpens counts how often it opens in an hour of service that is good on
// the whole.
func falseOpens(rng *rand.Rand, r rule, rate float64, f fate, lasts time.Duration) float64 {
	const hold = 5 * time.Second
	r.reset()
	opens, until := 0, time.Duration(0)
	for now := time.Duration(0); now < lasts; {
		now += seconds(rng.ExpFloat64() / rate)
		if fails := f.fails(rng, now); now >= until && r.add(now, fails) {
			opens++
			until = now + hold
			r.reset()
		}
	}
	return float64(opens) / lasts.Hours()
}

// setting is a column: calls a second, and how they fail.
type setting struct {
	name string
	rate float64
	fate func() fate

	better lab.Better
}

// doubtful is a share of failures at which one may well go on calling: to open
// there is neither right nor wrong.
const doubtful = 0.25001

func settings(of func(share float64) (string, fate), shares ...float64) (all []setting) {
	for _, rate := range []float64{1, 10, 100} {
		for _, share := range shares {
			name, _ := of(share)
			better := lab.Lower
			if share == doubtful {
				better = lab.Neither
			}
			all = append(all, setting{fmt.Sprintf("%g/s %s", rate, name), rate, func() fate { _, f := of(share); return f }, better})
		}
	}
	return all
}

func singly(p float64) (string, fate) { return fmt.Sprintf("%.0f %%", 100*p), independent(p) }

func inBursts(length float64) func(float64) (string, fate) {
	return func(p float64) (string, fate) {
		return fmt.Sprintf("%.0f %%", 100*p), &bursts{rate: p, length: length}
	}
}

func rolling(share float64) (string, fate) {
	return fmt.Sprintf("%.0f %%", 100*share), restarts{share, 5 * time.Minute, 20 * time.Second}
}

// experiment is a table: one measurement, in many settings.
type experiment struct {
	title    string
	unit     string
	digits   int
	settings []setting
	trials   func(rate float64) int
	measure  func(*rand.Rand, rule, float64, fate) float64
	sum      func(sample) lab.Cell
}

func experiments(quick bool) []experiment {
	openings, limit, hours := 31, 300*time.Second, 1.0
	if quick {
		openings, limit, hours = 5, 120*time.Second, 0.2
	}
	tto := func(rng *rand.Rand, r rule, rate float64, f fate) float64 {
		return timeToOpen(rng, r, rate, f, limit)
	}
	lasts := map[float64]float64{1: 100, 10: 20, 100: 5} // hours
	wrong := func(rng *rand.Rand, r rule, rate float64, f fate) float64 {
		return falseOpens(rng, r, rate, f, seconds(3600*hours*lasts[rate]))
	}
	many := func(float64) int { return openings }
	one := func(float64) int { return 1 }
	median := func(s sample) lab.Cell { return number(s.median()) }
	return []experiment{
		{"Time to open, errors that come singly", "s", 2, settings(singly, 1, 0.5, doubtful), many, tto, median},
		{"Time to open, errors in bursts of 3 calls or so", "s", 2, settings(inBursts(3), 0.5, doubtful), many, tto, median},
		{"False opens an hour, errors that come singly", "/h", 1, settings(singly, 0.05, 0.1), one, wrong, sample.single},
		{"False opens an hour, errors in bursts of 3 calls or so", "/h", 1, settings(inBursts(3), 0.01, 0.05, 0.1), one, wrong, sample.single},
		{"False opens an hour, rolling restarts of a quarter or a third", "/h", 1, settings(rolling, 0.25, 0.333), one, wrong, sample.single},
	}
}

func runDetection(ctx context.Context, o lab.Options) (*lab.Result, error) {
	all, tables := detectors(), experiments(o.Quick)
	w := work{ctx: ctx, progress: o.Progress}
	for _, x := range tables {
		w.all += len(all) * len(x.settings)
	}
	r := &lab.Result{}
	for _, d := range all {
		r.Contenders = append(r.Contenders, d.Contender)
	}
	values := map[string]map[string]float64{} // by column of all tables, then contender
	for t, x := range tables {
		table := lab.Table{Title: x.title}
		for _, s := range x.settings {
			table.Columns = append(table.Columns, column(s.name, x.unit, s.better, x.digits))
		}
		for _, d := range all {
			row := lab.Row{Name: d.Name, Ours: d.Ours}
			for n, s := range x.settings {
				var got sample
				rl := d.rule()
				for trial := range x.trials(s.rate) {
					rng := rand.New(rand.NewPCG(o.Seed, uint64(t)<<48|uint64(n)<<32|uint64(trial))) // the same calls for all
					got = append(got, x.measure(rng, rl, s.rate, s.fate()))
				}
				cell := x.sum(got)
				row.Cells = append(row.Cells, cell)
				key := fmt.Sprint(t, " ", s.name)
				if values[key] == nil {
					values[key] = map[string]float64{}
				}
				values[key][d.Name] = cell.Value
				if err := w.step(); err != nil {
					return nil, fmt.Errorf("detection: %w", err)
				}
			}
			table.Rows = append(table.Rows, row)
		}
		r.Tables = append(r.Tables, table)
	}
	r.Charts = []lab.Chart{tradeoff(all, values)}
	r.Gates = detectionGates(tables, values)
	r.Notes = []string{
		"A detector that opens sooner at 25 % is not the better one there: a server that serves three calls of four is worth calling. Ours is made for a half.",
		"What opens falsely in bursts is the row of 7. Whoever has such bursts sets Consecutive higher; resilience4j, Hystrix and kitex, which ask for half of many calls, never open falsely, and at 1 call a second never open.",
		"The CUSUM alone is the quickest at a half, and opens in rolling restarts that leave three quarters of the service: its balance turns up at 27 % errors, ours at 44 %.",
	}
	return r, nil
}

// single is the one value of a sample.
func (s sample) single() lab.Cell { return number(s[0]) }

// detectionGates: against the detector before, half of the calls failing are
// seen sooner at every rate, and nowhere does that cost false opens worth
// speaking of.
func detectionGates(tables []experiment, values map[string]map[string]float64) (gates []lab.Gate) {
	for _, s := range tables[0].settings {
		v := values[fmt.Sprint(0, " ", s.name)]
		gates = append(gates, gate(v["astra"]-v["astra, no CUSUM"], 0, "%s singly: s to open, more than without CUSUM", s.name))
	}
	for t, x := range tables[2:] {
		for _, s := range x.settings {
			v := values[fmt.Sprint(t+2, " ", s.name)]
			gates = append(gates, gate(v["astra"]-v["astra, no CUSUM"], max(1, 0.05*v["astra, no CUSUM"]), "%s, %s: more than without CUSUM", x.title, s.name))
		}
	}
	return gates
}

// tradeoff draws time to open at a half against false opens in rolling
// restarts, at 10 calls a second.
func tradeoff(all []detector, values map[string]map[string]float64) lab.Chart {
	c := lab.Chart{Title: "10 calls/s: s to open at 50 % errors, never being 300", X: "detector", Y: "s"}
	line := lab.Series{Name: "time to open"}
	for i, d := range all {
		c.Labels = append(c.Labels, d.Name)
		line.Points = append(line.Points, [2]float64{float64(i), min(300, values["0 10/s 50 %"][d.Name])})
	}
	c.Series = []lab.Series{line}
	return c
}
