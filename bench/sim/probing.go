package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/jitter"
)

const (
	probingAttempt = 100 * time.Millisecond // timeout of an attempt
	probingCall    = 400 * time.Millisecond // deadline of a call
	probingBase    = 25 * time.Millisecond
	probingMost    = 200 * time.Millisecond
	probingBucket  = 250 * time.Millisecond
)

func probing() lab.Scenario {
	return lab.Scenario{
		Name:  "probing",
		Title: "How soon a breaker notices that a server is back",
		About: "One client, calls at random times, deadline 400 ms, attempts of 100 ms, backoff 25 to 200 ms. " +
			"Outage: every attempt fails after 1 ms, for 0.8, 2.3, 3.6 or 5 s, and for 20 s. " +
			"Stall: 4 workers of 10 ms behind one queue that also serves what nobody waits for any more stand still for 1.1, 1.5, 1.9 or 2.3 s. " +
			"Back is when a second begins in which 95 % of the calls succeed. " +
			"The real scenarios outage and metastable are the same over gRPC; here thousands of outages cost seconds, so that chance averages out, and rates that a loopback does not carry can be tried.",
		Run: runProbing,
	}
}

func probingPolicies() []policy {
	b := jitter.Backoff{Base: probingBase, Max: probingMost}
	ours, mw := shipped(b), middleware(probingBase, probingMost)
	return []policy{
		ours,
		ours.as("astra, clock only", "the same, ProbeShare 1e-9", "how probes were timed before: 1 s, doubling to 60 s").but(clockOnly),
		ours.as("astra, no breaker", "the same, Breaker.Disabled", "what the budget does alone").but(withoutBreaker),
		mw.around("gobreaker 1 s + middleware retry", "more than 5 failures in a row, timeout 1 s, around "+mw.Config, "gobreaker tuned to our open time", inRow(6), always(time.Second)),
		mw.around("gobreaker + middleware retry", "more than 5 failures in a row, timeout 60 s, around "+mw.Config, "gobreaker's defaults", inRow(6), always(time.Minute)),
		mw.around("Linkerd rule + middleware retry", "7 in a row or 20 % of 5 in 10 s; 1 s doubling to 60 s, jitter 0.5, around "+mw.Config, "Linkerd's unified failure accrual, its defaults", unified, doubling(time.Minute, 0.5)),
		mw,
		noPolicy,
	}
}

// affliction is something that befalls a server.
type affliction struct {
	name    string
	lengths []time.Duration
	server  func(e *engine, bad span) *server
}

var (
	outages = affliction{"outage", []time.Duration{800 * time.Millisecond, 2300 * time.Millisecond, 3600 * time.Millisecond, 5 * time.Second},
		func(e *engine, bad span) *server { return &server{e: e, service: 5 * time.Millisecond, down: bad} }}
	longOutage = affliction{"long outage", []time.Duration{20 * time.Second}, outages.server}
	stalls     = affliction{"stall", []time.Duration{1100 * time.Millisecond, 1500 * time.Millisecond, 1900 * time.Millisecond, 2300 * time.Millisecond},
		func(e *engine, bad span) *server {
			return &server{e: e, workers: 4, service: 10 * time.Millisecond, stall: bad}
		}}
)

// spell is what was seen of one affliction.
type spell struct {
	offered, lost int // calls begun in it; calls that failed, then and later
	opened        float64
	sent, called  int // attempts and calls in it, since the breaker opened
	back          float64
	calls         []begun // in order
	bad           span
	watched       time.Duration // how long its end is waited for
}

type begun struct {
	at time.Duration
	ok bool
}

func endure(e *engine, p *policy, rate float64, a *affliction, lasts, horizon time.Duration) *spell {
	from := 2*time.Second + seconds(e.Rand.Float64()) // so that no clock is in step with it
	s := &spell{bad: span{from, from + lasts}, opened: never, watched: horizon}
	to := a.server(e, s.bad)
	c := newClient(e, to, p, probingAttempt, probingCall)
	c.opens = func() {
		if s.opened == never && s.bad.contains(e.Now()) {
			s.opened = (e.Now() - from).Seconds()
		}
	}
	to.came = func() {
		if s.opened < never && s.bad.contains(e.Now()) {
			s.sent++
		}
	}
	end := s.bad.to + horizon
	e.poisson(rate, end, func() {
		i := len(s.calls)
		s.calls = append(s.calls, begun{at: e.Now()})
		if s.bad.contains(e.Now()) {
			s.offered++
			if s.opened < never {
				s.called++
			}
		}
		c.do(func(r result) { s.calls[i].ok = r == served })
	})
	e.run(end + 2*probingCall)
	for _, c := range s.calls {
		if c.at >= from && !c.ok {
			s.lost++
		}
	}
	s.back = s.recovered()
	return s
}

// recovered is the time from the end of the affliction to the first call with
// which a second begins that 95 % of the calls in it survive.
func (s *spell) recovered() float64 {
	first := 0
	for first < len(s.calls) && s.calls[first].at < s.bad.to {
		first++
	}
	next, ok := first, 0
	for i := first; i < len(s.calls) && s.calls[i].at+time.Second < s.bad.to+s.watched; i++ {
		for next < len(s.calls) && s.calls[next].at < s.calls[i].at+time.Second {
			if s.calls[next].ok {
				ok++
			}
			next++
		}
		if !s.calls[i].ok {
			continue
		}
		if float64(ok) >= 0.95*float64(next-i) {
			return (s.calls[i].at - s.bad.to).Seconds()
		}
		ok--
	}
	return never
}

// findings sums up many spells.
type findings struct {
	opened, back                sample
	sent, called, lost, offered float64
}

func (f *findings) add(s *spell) {
	f.opened = append(f.opened, s.opened)
	f.back = append(f.back, s.back)
	f.sent += float64(s.sent)
	f.called += float64(s.called)
	f.lost += float64(s.lost)
	f.offered += float64(s.offered)
}

// load is attempts per hundred calls while the breaker was open.
func (f *findings) load() float64 { return 100 * f.sent / f.called }

func (f *findings) cells(breaks bool) []lab.Cell {
	opened, load := number(f.opened.worst()), number(f.load())
	if !breaks {
		opened, load = lab.Cell{Value: opened.Value, Text: "–"}, lab.Cell{Value: opened.Value, Text: "–"}
	}
	return []lab.Cell{opened, load, f.back.average(), number(f.back.worst()), number(f.lost / f.offered)}
}

func runProbing(ctx context.Context, o lab.Options) (*lab.Result, error) {
	trials := 40
	if o.Quick {
		trials = 3
	}
	settings := []struct {
		what    string
		rate    float64
		about   affliction
		watched time.Duration
	}{
		{"Outages of 0.8 to 5 s, 280 calls/s", 280, outages, 12 * time.Second},
		{"An outage of 20 s, 280 calls/s", 280, longOutage, 20 * time.Second},
		{"Outages of 0.8 to 5 s, 28 calls/s", 28, outages, 20 * time.Second},
		{"An outage of 20 s, 2.8 calls/s", 2.8, longOutage, 40 * time.Second},
		{"Stalls of 1.1 to 2.3 s, 280 calls/s", 280, stalls, 12 * time.Second},
	}
	all := probingPolicies()
	w := work{ctx: ctx, progress: o.Progress, all: len(settings) * len(all)}
	r := &lab.Result{Notes: []string{
		"Attempts while open: those that reached the server between the opening of the breaker and the end of the outage, per hundred calls then begun. Peers' calls that were under way when it opened go on retrying; ours do not.",
		"Never: not within 12 s, nor 40 s at 2.8 calls a second.",
		"A client of 2.8 calls a second has no traffic to pace probes by: there the clock decides, ours backs off to a minute, and whoever probes every second is sooner back. That is the price of leaving a dead server alone.",
	}}
	for _, p := range all {
		r.Contenders = append(r.Contenders, p.Contender)
	}
	got := map[string]map[string]*findings{}
	for i, s := range settings {
		table := lab.Table{Title: s.what, Quoted: i == 0, Columns: []lab.Column{
			column("opened, worst", "s", lab.Lower, 2),
			column("attempts while open", "%", lab.Lower, 2),
			column("back", "s", lab.Lower, 2),
			column("back, worst", "s", lab.Lower, 2),
			column("calls lost / offered then", "", lab.Lower, 2),
		}}
		got[s.what] = map[string]*findings{}
		for i := range all {
			p, f := &all[i], &findings{}
			for trial := range trials {
				for n, lasts := range s.about.lengths {
					e := newEngine(o.Seed, uint64(trial)<<16|uint64(n)) // the same outages for all
					f.add(endure(e, p, s.rate, &s.about, lasts, s.watched))
				}
			}
			got[s.what][p.Name] = f
			table.Rows = append(table.Rows, lab.Row{Name: p.Name, Ours: p.Ours, Cells: f.cells(p.breaks())})
			if err := w.step(); err != nil {
				return nil, fmt.Errorf("probing: %w", err)
			}
		}
		r.Tables = append(r.Tables, table)
	}
	r.Charts = []lab.Chart{goodput(o.Seed, all)}
	r.Gates = probingGates(got[settings[0].what], got[settings[4].what])
	return r, nil
}

func probingGates(outage, stall map[string]*findings) []lab.Gate {
	f, s := outage["astra"], stall["astra"]
	peers := never
	for name, p := range stall {
		if name != "astra" && name != "astra, clock only" {
			peers = min(peers, p.back.mean())
		}
	}
	return []lab.Gate{
		gate(f.opened.worst(), 0.5, "outages: s until the breaker opens, at worst"),
		gate(f.load(), 4, "outages: attempts while open, %% of calls"),
		gate(f.back.mean(), 0.75, "outages: s until back"),
		gate(f.back.worst(), 1.5, "outages: s until back, at worst"),
		gate(s.back.mean(), 1, "stalls: s until back"),
		gate(s.back.mean()/peers, 1, "stalls: time until back, as a share of the best peer's"),
	}
}

// goodput draws one stall.
func goodput(seed uint64, all []policy) lab.Chart {
	c := lab.Chart{Title: "A stall of 1.9 s, 280 calls/s (one trial)", X: "s since the stall began", Y: "calls served per 250 ms, by their begin"}
	for i := range all {
		s := endure(newEngine(seed, 0), &all[i], 280, &stalls, 1900*time.Millisecond, 12*time.Second)
		line := lab.Series{Name: all[i].Name, Ours: all[i].Ours}
		for at := -time.Second; at < 9*time.Second; at += probingBucket {
			n := 0
			for _, call := range s.calls {
				if b := call.at - s.bad.from; call.ok && at <= b && b < at+probingBucket {
					n++
				}
			}
			line.Points = append(line.Points, [2]float64{at.Seconds(), float64(n)})
		}
		c.Series = append(c.Series, line)
	}
	return c
}
