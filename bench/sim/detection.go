package sim

import (
	"context"
	"fmt"
	"math"
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

// setting is a column: calls a second, and which share of them fails how.
type setting struct {
	rate, share float64
	fate        func(share float64) fate
}

func (s setting) name() string { return fmt.Sprintf("%g/s %.0f %%", s.rate, 100*s.share) }

func settings(how func(share float64) fate, shares ...float64) (all []setting) {
	for _, rate := range []float64{1, 10, 100} {
		for _, share := range shares {
			all = append(all, setting{rate, share, how})
		}
	}
	return all
}

func singly(share float64) fate   { return independent(share) }
func inBursts(share float64) fate { return &bursts{rate: share, length: 3} }
func rolling(share float64) fate  { return restarts{share, 5 * time.Minute, 20 * time.Second} }

// experiment is a table: one measurement, in many settings.
type experiment struct {
	title    string
	unit     string
	digits   int
	doubtful float64 // a share of failures at which one may well go on calling: to open is neither right nor wrong
	settings []setting
	trials   int
	measure  func(*rand.Rand, rule, float64, fate) float64
}

func experiments(quick bool) []experiment {
	openings, limit, hours := 31, 300*time.Second, 1.0
	if quick {
		openings, limit, hours = 5, 120*time.Second, 0.2
	}
	tto := func(rng *rand.Rand, r rule, rate float64, f fate) float64 {
		return timeToOpen(rng, r, rate, f, limit)
	}
	watched := map[float64]float64{1: 100, 10: 20, 100: 5} // hours
	wrong := func(rng *rand.Rand, r rule, rate float64, f fate) float64 {
		return falseOpens(rng, r, rate, f, seconds(3600*hours*watched[rate]))
	}
	return []experiment{
		{"Time to open, errors that come singly", "s", 2, 0.25, settings(singly, 1, 0.5, 0.25), openings, tto},
		{"Time to open, errors in bursts of 3 calls or so", "s", 2, 0.25, settings(inBursts, 0.5, 0.25), openings, tto},
		{"False opens an hour, errors that come singly", "/h", 1, 0, settings(singly, 0.05, 0.1), 1, wrong},
		{"False opens an hour, errors in bursts of 3 calls or so", "/h", 1, 0, settings(inBursts, 0.01, 0.05, 0.1), 1, wrong},
		{"False opens an hour, 12 rolling restarts of a quarter or a third", "/h", 1, 1.0 / 3, settings(rolling, 0.25, 1.0/3), 1, wrong},
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
		table := lab.Table{Title: x.title, Quoted: t == 0}
		for _, s := range x.settings {
			better := lab.Lower
			if s.share == x.doubtful {
				better = lab.Neither
			}
			table.Columns = append(table.Columns, column(s.name(), x.unit, better, x.digits))
		}
		for _, d := range all {
			row := lab.Row{Name: d.Name, Ours: d.Ours}
			for n, s := range x.settings {
				var got sample
				rl := d.rule()
				for trial := range x.trials {
					rng := rand.New(rand.NewPCG(o.Seed, uint64(t)<<48|uint64(n)<<32|uint64(trial))) // the same calls for all
					got = append(got, x.measure(rng, rl, s.rate, s.fate(s.share)))
				}
				cell := number(got.median())
				row.Cells = append(row.Cells, cell)
				key := fmt.Sprint(t, " ", s.name())
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
	r.Charts = []lab.Chart{chart(all, tables, values)}
	r.Gates = detectionGates(tables, values)
	r.Notes = []string{
		"A detector that opens sooner at 25 % is not the better one there: a server that serves three calls of four is worth calling. Ours is made for a half.",
		"What opens falsely in bursts is the row of 7. Whoever has such bursts sets Consecutive higher; resilience4j, Hystrix and kitex, which ask for half of many calls, hardly ever do; at 1 call a second they see a dead server after 50 s, or never.",
		"The CUSUM alone is the quickest at a half, and opens in most rolling restarts that leave three quarters of the service: its sum turns up at 27 % errors, ours at 44 %.",
	}
	return r, nil
}

// detectionGates: against the detector before, half of the calls failing are
// seen sooner at every rate, and that costs no false opens worth speaking of.
func detectionGates(tables []experiment, values map[string]map[string]float64) (gates []lab.Gate) {
	for t, x := range tables {
		for _, s := range x.settings {
			v := values[fmt.Sprint(t, " ", s.name())]
			ours, before := v["astra"], v["astra, no CUSUM"]
			switch {
			case s.share == x.doubtful:
			case x.unit == "s":
				gates = append(gates, gate(ours-before, 0, "%s, %s: s more than without CUSUM", x.title, s.name()))
			default:
				gates = append(gates, gate(ours-before, max(1, 0.05*before), "%s, %s: more than without CUSUM", x.title, s.name()))
			}
		}
	}
	return gates
}

// chart draws the time to open where half of the calls fail.
func chart(all []detector, tables []experiment, values map[string]map[string]float64) lab.Chart {
	c := lab.Chart{Title: "Time to open where half of the calls fail, singly (never: no bar)", X: "detector", Y: "s", LogY: true}
	for _, d := range all {
		c.Labels = append(c.Labels, d.Name)
	}
	for _, s := range tables[0].settings {
		if s.share != 0.5 {
			continue
		}
		bars := lab.Series{Name: fmt.Sprintf("%g calls/s", s.rate)}
		for i, d := range all {
			if v := values[fmt.Sprint(0, " ", s.name())][d.Name]; v < math.MaxFloat64 {
				bars.Points = append(bars.Points, [2]float64{float64(i), v})
			}
		}
		c.Series = append(c.Series, bars)
	}
	return c
}
