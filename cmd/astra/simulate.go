package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/inside"
	"github.com/astra-grpc/astra/internal/sim"
)

// world declares the flags of what is simulated.
func world(f *flag.FlagSet) *sim.World {
	w := &sim.World{}
	f.Float64Var(&w.Rate, "rate", 200, "`calls` a second, of all clients")
	f.Float64Var(&w.Capacity, "capacity", 0, "`calls` a second that all backends can serve (default twice the rate)")
	f.DurationVar(&w.Latency, "latency", 20*time.Millisecond, "`time` that a served attempt takes, on average")
	f.Float64Var(&w.Tail, "tail", 0.5, "how much that varies: `sigma` of a log-normal distribution")
	f.IntVar(&w.Backends, "backends", 2, "`number` of backends, taken in turn")
	f.IntVar(&w.Clients, "clients", 1, "`number` of programs that call, each with a breaker of its own")
	f.DurationVar(&w.Deadline, "deadline", 5*time.Second, "`time` that callers wait")
	f.DurationVar(&w.Fault, "for", 10*time.Second, "`time` that the fault lasts")
	f.Float64Var(&w.Share, "share", 0.2, "`share` of the attempts that fail, in partial")
	f.Float64Var(&w.Errors, "errors", 0.001, "`share` of the attempts that fail when all is well")
	f.DurationVar(&w.Calm, "calm", 5*time.Minute, "`time` that the scenario calm lasts")
	f.Uint64Var(&w.Seed, "seed", 1, "`number` that draws chance: the same gives the same run")
	return w
}

func checkWorld(w *sim.World) error {
	var wrong []string
	for _, c := range []struct {
		ok   bool
		text string
	}{
		{w.Rate > 0 && w.Rate <= 1e5, fmt.Sprintf("-rate %v: want above 0, up to 100000", w.Rate)},
		{w.Capacity >= 0, fmt.Sprintf("-capacity %v: want 0 or more", w.Capacity)},
		{w.Latency > 0, fmt.Sprintf("-latency %v: want above 0s", w.Latency)},
		{w.Tail >= 0 && w.Tail <= 3, fmt.Sprintf("-tail %v: want 0 to 3", w.Tail)},
		{w.Backends >= 1 && w.Backends <= 1000, fmt.Sprintf("-backends %d: want 1 to 1000", w.Backends)},
		{w.Clients >= 1 && w.Clients <= 100000, fmt.Sprintf("-clients %d: want 1 to 100000", w.Clients)},
		{w.Deadline > 0, fmt.Sprintf("-deadline %v: want above 0s", w.Deadline)},
		{w.Fault > 0, fmt.Sprintf("-for %v: want above 0s", w.Fault)},
		{w.Errors >= 0 && w.Errors <= 1, fmt.Sprintf("-errors %v: want 0 to 1", w.Errors)},
		{w.Calm > 0, fmt.Sprintf("-calm %v: want above 0s", w.Calm)},
		{w.Share > 0 && w.Share <= 1, fmt.Sprintf("-share %v: want above 0, up to 1", w.Share)},
	} {
		if !c.ok {
			wrong = append(wrong, c.text)
		}
	}
	if wrong != nil {
		return usagef("%s", strings.Join(wrong, "; "))
	}
	if w.Capacity == 0 { // a worker of each backend can do more than a few calls need
		w.Capacity = max(2*w.Rate, float64(w.Backends)/w.Latency.Seconds())
	}
	return nil
}

// simulated is what became of one file's policy.
type simulated struct {
	File     string         `json:"file"`
	Method   string         `json:"method"`
	Outcomes []*sim.Outcome `json:"outcomes"`
	Advice   []string       `json:"advice"`
	policy   *engine.Policy
}

var simulateCommand = command{
	name: "simulate", args: "FILE", short: "take a policy through outages in virtual time",
	long: `Simulate takes the policy of a method through faults: the shipped engine, in
virtual time, with made-up callers and backends. Scenarios: calm, outage,
partial, stall, one-bad, slow, herd, rolling, or all. It prints what callers and
servers saw, and advice. Backends are chosen as the file's balancing says.

  success   of all calls, and of those during the fault
  load      attempts per call during it; peak: a backend's worst second, as a
            multiple of its share of the calls
  opens     until a breaker opened; back: until 95 % of the calls succeed again
  false     openings of breakers while nothing was wrong`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		w := world(f)
		scenario := f.String("scenario", "all", "`names`, separated by commas")
		balancing := f.String("balancing", "", "`policy` in place of the file's: off, round_robin or p2c")
		method := f.String("method", "", "`method` whose policy it is, pkg.Service/Method (default that of all)")
		compare := f.String("compare", "", "another `file`, to be put beside")
		format := f.String("o", "text", "`format` of the output: text or json")
		page := f.String("html", "", "write a page with charts to this `file`")
		return func(s *streams, args []string) error {
			if len(args) != 1 {
				return usagef("want one FILE")
			}
			if *format != "text" && *format != "json" {
				return usagef("-o %q: want text or json", *format)
			}
			chosen, err := scenarios(*scenario)
			if err != nil {
				return err
			}
			if err := checkWorld(w); err != nil {
				return err
			}
			if !slices.Contains([]string{"", "off", "round_robin", "p2c"}, *balancing) {
				return usagef("-balancing %q: want off, round_robin or p2c", *balancing)
			}
			files := args
			if *compare != "" {
				files = append(files, *compare)
			}
			var all []*simulated
			for _, file := range files {
				one, err := simulate(s, file, *method, *balancing, chosen, *w)
				if err != nil {
					return err
				}
				all = append(all, one)
			}
			if *page != "" {
				if err := os.WriteFile(*page, []byte(pageOf(all, *w)), 0o644); err != nil {
					return err
				}
			}
			if *format == "json" {
				return writeJSON(s.out, all)
			}
			writeSimulated(s.out, all, *w)
			return nil
		}
	},
}

func scenarios(list string) (all []sim.Scenario, err error) {
	if list == "all" {
		return sim.Scenarios, nil
	}
	for name := range strings.SplitSeq(list, ",") {
		sc, ok := sim.Find(strings.TrimSpace(name))
		if !ok {
			var known []string
			for _, s := range sim.Scenarios {
				known = append(known, s.Name)
			}
			return nil, usagef("-scenario %q: want %s, or all", name, strings.Join(known, ", "))
		}
		all = append(all, sc)
	}
	return all, nil
}

// policyOf returns the policy that a file has for a method; "" is one that no
// entry names.
func policyOf(doc *config.Document, method string) (p *engine.Policy, named string, err error) {
	named = "/any.Service/Method"
	if method != "" {
		if named, err = methodName(method); err != nil {
			return nil, "", err
		}
	}
	e, _ := lookup(doc, named)
	return inside.PolicyOf(e.Policy, false, e.Pattern == named), named, nil
}

// balancingOf returns how backends are chosen: as a flag says, or the file.
func balancingOf(doc *config.Document, flag string) *fleet.Config {
	b := doc.Balancing()
	switch {
	case flag == "off" || flag == "" && b == nil:
		return nil
	case b == nil:
		b = &interceptors.Balancing{}
	}
	if flag != "" {
		b.Policy = flag
	}
	return new(inside.BalancingOf(*b))
}

func simulate(s *streams, file, method, balancing string, chosen []sim.Scenario, w sim.World) (*simulated, error) {
	doc, err := load(s, file)
	if err != nil {
		return nil, err
	}
	p, named, err := policyOf(doc, method)
	if err != nil {
		return nil, err
	}
	w.Balancing = balancingOf(doc, balancing)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	one := &simulated{File: filepath.ToSlash(file), Method: named, policy: p}
	if one.Outcomes, err = runAll(ctx, p, chosen, w); err != nil {
		return nil, err
	}
	one.Advice, err = advise(ctx, p, one.Outcomes, w)
	return one, err
}

// runAll runs scenarios side by side; each is its own world.
func runAll(ctx context.Context, p *engine.Policy, chosen []sim.Scenario, w sim.World) ([]*sim.Outcome, error) {
	all, errs := make([]*sim.Outcome, len(chosen)), make([]error, len(chosen))
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i, sc := range chosen {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			all[i], errs[i] = sc.Run(ctx, p, w)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func writeSimulated(w io.Writer, all []*simulated, world sim.World) {
	fmt.Fprintf(w, "%v calls/s by %d client(s) on %d backend(s) of %v calls/s in all, %v each; a fault of %v; seed %d\n\n",
		world.Rate, world.Clients, world.Backends, world.Capacity, world.Latency, world.Fault, world.Seed)
	width := 8
	for _, one := range all {
		width = max(width, len(one.File))
	}
	if len(all) == 1 {
		width = 0
	}
	pad := func(name string) string {
		if width == 0 {
			return ""
		}
		return fmt.Sprintf(" %-*s", width, name)
	}
	fmt.Fprintf(w, "%-8s%s %8s %8s %7s %6s %8s %8s %7s %7s %6s\n", "scenario", pad("file"), "success", "in fault", "load", "peak", "p50", "p99", "opens", "back", "false")
	for i := range all[0].Outcomes {
		for _, one := range all {
			o := one.Outcomes[i]
			fmt.Fprintf(w, "%-8s%s %7.2f%% %7.1f%% %7.2f %6.2f %8s %8s %7s %7s %6d\n", o.Scenario, pad(one.File), 100*o.Success, 100*o.During, o.Load, o.Peak,
				brief(o.P50), brief(o.P99), seconds(o.Opens), seconds(o.Back), o.False)
		}
	}
	for _, one := range all {
		fmt.Fprintf(w, "\n%s, %s:\n", one.File, one.Method)
		for _, a := range one.Advice {
			fmt.Fprintln(w, wrap(a, 88))
		}
	}
}

func brief(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d >= 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case d >= time.Second:
		d = d.Round(10 * time.Millisecond)
	default:
		d = d.Round(100 * time.Microsecond)
	}
	return d.String()
}

// seconds is a time; below 0 it never was.
func seconds(s float64) string {
	if s < 0 {
		return "never"
	}
	return fmt.Sprintf("%.2fs", s)
}
