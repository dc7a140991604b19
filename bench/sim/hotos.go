package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

const (
	hotosClients = 20
	hotosRate    = 280.0
	hotosWorkers = 30
	hotosService = 100 * time.Millisecond // so 300/s
	hotosTimeout = time.Second
	hotosWarm    = 20 * time.Second
	hotosCut     = 10 * time.Second
)

func hotos() lab.Scenario {
	return lab.Scenario{
		Name:  "hotos",
		Title: "Metastable failure: 280 calls/s on a server of 300/s, cut off for 10 s",
		About: "The example of \"Metastable Failures in Distributed Systems\" (HotOS'21). 20 clients make 280 calls a second to a server that can serve 300, in the order they came. " +
			"The network is cut for 10 s; what was sent meanwhile arrives at its end. Attempts time out after 1 s. " +
			"Recovered is when five seconds begin in which 95 % of the calls succeed. A server that serves what nobody waits for any more is the worst case, one that drops it the best.",
		Run: runHotos,
	}
}

func hotosPolicies() []policy {
	awsWait := func(n int, _, base, most time.Duration, u float64) time.Duration {
		return jitter.Backoff{Base: base, Max: most, Jitter: jitter.AWSFull}.Next(n, 0, u)
	}
	peer := func(name, config, why string, l plainLoop, b func() allowance) policy {
		return policy{Contender: lab.Contender{Name: name, Config: config, Why: why}, loop: peerRetries(l), budget: b}
	}
	once := plainLoop{attempts: 2, base: 0, formula: fixed}
	three := plainLoop{attempts: 4, base: 50 * time.Millisecond, most: 20 * time.Second, formula: awsWait}
	const threeText = "3 retries, 50 ms doubling to 20 s, AWS' full jitter"
	ours := shipped(jitter.Backoff{})
	return []policy{
		ours,
		ours.as("astra, clock only", "defaults, ProbeShare 1e-9", "how probes were timed before").but(clockOnly),
		ours.as("astra, no breaker", "defaults, Breaker.Disabled", "what the budget does alone: 0.2 per success, 0.1/s, 50").but(withoutBreaker),
		ours.as("astra, no breaker, 1/s", "the same, Budget.MinPerSecond 1", "the budget's default before").
			but(withoutBreaker).but(func(p *interceptors.Policy) { p.Budget.MinPerSecond = 1 }),
		noPolicy,
		peer("1 retry", "at once after the timeout", "the paper's client", once, nil),
		peer("3 retries", threeText, "jitter as it is advised", three, nil),
		peer("grpc-go", threeText+"; retryThrottling 10, 0.1", "gRFC A6 with the throttling of its example", three, func() allowance { return &throttle{10, 0.1, 10} }),
		peer("Finagle budget", threeText+"; 20 % of calls + 10/s, 10 s", "Finagle's and Linkerd's default budget", three, func() allowance { return &finagle{ratio: 0.2, reserve: 100} }),
		peer("budget per call", threeText+"; 10 % of calls, 10 held", "the SRE book's ratio, as a token bucket", three, func() allowance { return &perCall{0.1, 10, 10} }),
		peer("AWS SDK", "2 retries, the same delays; 500 tokens, a retry 14", "AWS SDKs' standard mode of 2026", plainLoop{attempts: 3, base: three.base, most: three.most, formula: awsWait}, func() allowance { return &aws{awsTokens} }),
		{Contender: lab.Contender{Name: "SRE throttle", Config: "no retry; K = 2, 10 s", Why: "the SRE book's client-side throttling; its 2 min window is slower still"},
			fuse: func() fuse { return &sre{k: 2, window: 10 * time.Second} }},
		noPolicy.around("Linkerd rule", "no retry; 7 in a row or 20 % of 5 in 10 s; 1 s doubling to 60 s, jitter 0.5", "Linkerd's unified failure accrual, its defaults: retries are opt-in", unified, doubling(time.Minute, 0.5)),
		middleware(50*time.Millisecond, 20*time.Second).around("gobreaker 1 s + middleware retry", "more than 5 in a row, timeout 1 s, around 3 attempts", "gobreaker tuned to our open time", inRow(6), always(time.Second)),
		middleware(50*time.Millisecond, 20*time.Second).around("gobreaker + middleware retry", "more than 5 in a row, timeout 60 s, around 3 attempts", "gobreaker's defaults", inRow(6), always(time.Minute)),
	}
}

// aftermath is what was seen of one cut.
type aftermath struct {
	recovered float64 // s
	goodput   float64 // % of the calls in the minute after it
	load      float64 // attempts per call, from the cut to that minute's end
	perSecond []float64
}

func survive(e *engine, p *policy, drops bool, horizon time.Duration) *aftermath {
	cut := span{hotosWarm, hotosWarm + hotosCut}
	to := &server{e: e, workers: hotosWorkers, service: hotosService, drops: drops, cut: cut}
	var clients []*client
	for range hotosClients {
		clients = append(clients, newClient(e, to, p, hotosTimeout, 0))
	}
	end := cut.to + horizon
	begun := make([]int, end/time.Second)
	good := make([]int, len(begun))
	sent, called := 0.0, 0.0
	watched := span{cut.from, cut.to + time.Minute}
	to.came = func() {
		if watched.contains(e.Now()) {
			sent++
		}
	}
	e.poisson(hotosRate, end, func() {
		at := int(e.Now() / time.Second)
		begun[at]++
		if watched.contains(e.Now()) {
			called++
		}
		clients[e.Rand.IntN(hotosClients)].do(func(r result) {
			if r == served {
				good[at]++
			}
		})
	})
	e.run(end)

	a := &aftermath{recovered: never, load: sent / called}
	share := func(from, seconds int) float64 {
		all, ok := 0, 0
		for i := from; i < from+seconds; i++ {
			all += begun[i]
			ok += good[i]
		}
		return float64(ok) / float64(all)
	}
	back := int(cut.to / time.Second)
	const settle = 10 // calls begun in the last seconds have not ended
	for i := back; i+5 <= len(begun)-settle; i++ {
		if share(i, 5) >= 0.95 {
			a.recovered = float64(i - back)
			break
		}
	}
	a.goodput = 100 * share(back, 60)
	for i := range len(begun) - settle {
		a.perSecond = append(a.perSecond, 100*share(i, 1))
	}
	return a
}

func runHotos(ctx context.Context, o lab.Options) (*lab.Result, error) {
	trials, horizon := 8, 300*time.Second
	if o.Quick {
		trials, horizon = 1, 240*time.Second
	}
	all := hotosPolicies()
	w := work{ctx: ctx, progress: o.Progress, all: 2 * trials * len(all)}
	table := lab.Table{Title: "After the cut", Quoted: true, Columns: []lab.Column{
		column("recovered, serving expired work", "s", lab.Lower, 0),
		column("goodput in the minute after", "%", lab.Higher, 1),
		column("attempts per call", "×", lab.Lower, 2),
		column("recovered, dropping it", "s", lab.Lower, 0),
		column("goodput in the minute after, dropping it", "%", lab.Higher, 1),
	}}
	chart := lab.Chart{Title: "Goodput, serving expired work (one trial)", X: "s since the end of the cut", Y: "% of the calls begun"}
	recovered := map[string]float64{}
	r := &lab.Result{}
	for i := range all {
		p := &all[i]
		var cells []lab.Cell
		for _, drops := range []bool{false, true} {
			var back, good, load sample
			for trial := range trials {
				a := survive(newEngine(o.Seed, uint64(trial)), p, drops, horizon)
				back, good, load = append(back, a.recovered), append(good, a.goodput), append(load, a.load)
				if trial == 0 && !drops {
					line := lab.Series{Name: p.Name, Ours: p.Ours}
					for s := 0; s < len(a.perSecond) && s < 180; s++ {
						line.Points = append(line.Points, [2]float64{float64(s) - (hotosWarm + hotosCut).Seconds(), round(a.perSecond[s])})
					}
					chart.Series = append(chart.Series, line)
				}
				if err := w.step(); err != nil {
					return nil, fmt.Errorf("hotos: %w", err)
				}
			}
			median := number(back.median())
			cells = append(cells, median, number(good.mean()))
			if !drops {
				cells = append(cells, number(load.mean()))
				recovered[p.Name] = back.median()
			}
		}
		table.Rows = append(table.Rows, lab.Row{Name: p.Name, Ours: p.Ours, Cells: cells})
		r.Contenders = append(r.Contenders, p.Contender)
	}
	r.Tables = []lab.Table{table}
	r.Charts = []lab.Chart{chart}
	r.Gates = []lab.Gate{
		gate(recovered["astra"], 15, "astra: s until recovered, serving expired work"),
		gate(recovered["astra"]/recovered["no policy"], 0.2, "astra: time until recovered, as a share of that without a policy"),
	}
	r.Notes = []string{
		fmt.Sprintf("Recovery is the median of %d trials; never is not within %.0f s.", trials, (horizon - 15*time.Second).Seconds()),
		"A retry a second for each of 20 clients is 7 % more load than there are calls, which is all that this server had to spare: that is why Budget.MinPerSecond is 0.1.",
		"Without retries a breaker hears of a timeout after 1 s, ours after the last attempt, 4 s and more. Until then work piles up; so the Linkerd rule, which is alone here, is back a little sooner.",
	}
	return r, nil
}
