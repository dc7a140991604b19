package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/internal/inside"
	"github.com/astra-grpc/astra/internal/sim"
)

// goal is what is to be reached.
type goal struct{ success, back float64 }

var tuneCommand = command{
	name: "tune", args: "FILE", short: "search for values that reach a goal with less load",
	long: `Tune changes the policy of a method within the ranges allowed, simulates each
candidate, and prints the file with the best: the one that reaches the goal with
the least load; what it bought stands in a comment. If none reaches the goal it
says so, and exits with 1. Comments of the file stay. Candidates are judged by
other chance than they were found by; values that do not pay are put back, and
breakers that open while nothing is wrong count against them.

Goals are success=SHARE, of all calls of each scenario, and back=TIME, after its
fault. -allow takes KEY=LOW..HIGH, several with commas, of attemptTimeout,
retry.maxAttempts, retry.backoff.base, breaker.consecutive, breaker.openFor,
breaker.probeShare, budget.ratio and budget.burst (default all, in wide ranges).`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		w := world(f)
		scenario := f.String("scenario", "outage,partial", "`names`, separated by commas")
		method := f.String("method", "", "`method` whose policy it is (default that of all)")
		want := f.String("goal", "success=0.7,back=1s", "`goal` to reach")
		allow := f.String("allow", "", "`ranges` that may be searched")
		tries := f.Int("tries", 120, "`number` of candidates")
		return func(s *streams, args []string) error {
			if len(args) != 1 {
				return usagef("want one FILE")
			}
			g, err := readGoal(*want)
			if err != nil {
				return err
			}
			allowed, err := readRanges(*allow)
			if err != nil {
				return err
			}
			chosen, err := scenarios(*scenario)
			if err != nil {
				return err
			}
			if err := checkWorld(w); err != nil {
				return err
			}
			t := &tuner{goal: g, knobs: allowed, scenarios: chosen, world: *w, method: *method, tries: *tries}
			return t.run(s, args[0])
		}
	},
}

func readGoal(text string) (g goal, err error) {
	g = goal{success: 0, back: math.Inf(1)}
	for part := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(part, "=")
		switch v := parseFloat(value); key {
		case "success":
			if !(v > 0 && v <= 1) {
				return g, usagef("-goal success=%s: want above 0, up to 1", value)
			}
			g.success = v
		case "back":
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 {
				return g, usagef("-goal back=%s: want a duration, such as 2s", value)
			}
			g.back = d.Seconds()
		default:
			return g, usagef("-goal %q: want success=SHARE, back=TIME", part)
		}
	}
	return g, nil
}

// tuner searches.
type tuner struct {
	goal      goal
	knobs     []knob
	scenarios []sim.Scenario
	world     sim.World
	method    string
	tries     int

	data  []byte
	named string
	index int // of the entry
}

// candidate is a set of values, and what became of it.
type candidate struct {
	values  []float64 // NaN: as in the file
	success float64   // of the worst scenario
	back    float64   // of the worst; +Inf: never
	load    float64   // attempts per call during the fault, on average

	openings float64 // of breakers, while nothing was wrong
}

// better prefers what reaches the goal, then the nearest to it, then the least load.
func (t *tuner) better(a, b *candidate) bool {
	if x, y := t.lacks(a), t.lacks(b); x != y {
		return x < y
	}
	return a.load < b.load
}

// lacks is how far a candidate is from the goal; 0: it reaches it.
func (t *tuner) lacks(c *candidate) float64 {
	lack := max(0, t.goal.success-c.success) + c.openings/10
	if c.back > t.goal.back {
		lack += 1 + min(c.back, 100) - t.goal.back
	}
	return lack
}

func (t *tuner) run(s *streams, path string) error {
	data, name, err := read(s, path)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	doc, err := config.Decode(data)
	if err != nil {
		for _, f := range faultsOf(err) {
			fmt.Fprintln(s.err, findingOf(name, f, true))
		}
		return errFindings
	}
	if t.named = "/any.Service/Method"; t.method != "" {
		if t.named, err = methodName(t.method); err != nil {
			return err
		}
	}
	e, ok := lookup(doc, t.named)
	if !ok || !strings.HasPrefix(e.Origin.Key, "methodConfig[") {
		return fmt.Errorf("%s: no entry names %s: want one to tune", name, t.named)
	}
	if _, err := fmt.Sscanf(e.Origin.Key, "methodConfig[%d]", &t.index); err != nil {
		return err
	}
	t.data = data
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	t.world.Balancing = balancingOf(doc, "")
	first, best, err := t.search(ctx)
	if err != nil {
		return err
	}
	text, err := t.file(best.values)
	if err != nil {
		return err
	}
	reached := t.lacks(best) == 0
	fmt.Fprintf(s.out, "# astra tune: %s\n# before: %v\n# after:  %v\n%s", t.verdict(first, best, reached), first, best, text)
	if !reached {
		return errFindings
	}
	return nil
}

func (c *candidate) String() string {
	back := "never back"
	if !math.IsInf(c.back, 1) {
		back = fmt.Sprintf("back after %.2fs", c.back)
	}
	return fmt.Sprintf("success %.2f %%, %s, %.3f attempts per call during faults", 100*c.success, back, c.load)
}

func (t *tuner) verdict(first, best *candidate, reached bool) string {
	switch {
	case !reached:
		return "nothing within these ranges reaches the goal; this comes nearest"
	case best == first:
		return "the file reaches the goal, and cannot be beaten: nothing found does with less load"
	case t.lacks(first) > 0:
		return "this reaches the goal, which the file did not"
	}
	return fmt.Sprintf("this reaches the goal with %.0f %% less load", 100*(1-best.load/first.load))
}

// search draws candidates over the ranges at first, then around the best. It
// returns what the file has and the best, as other chance judges them: a candidate
// that was only lucky is not kept, nor is a value that does not pay.
func (t *tuner) search(ctx context.Context) (first, best *candidate, err error) {
	rng := rand.New(rand.NewPCG(t.world.Seed, 5))
	asIs := make([]float64, len(t.knobs))
	for i := range asIs {
		asIs[i] = math.NaN()
	}
	if first, err = t.try(ctx, asIs, t.world); err != nil {
		return nil, nil, err
	}
	best = first
	var found [][]float64 // each better than those before
	for n := range t.tries {
		c, err := t.try(ctx, t.draw(rng, best.values, n < t.tries/3), t.world)
		if err != nil {
			return nil, nil, err
		}
		if c != nil && t.better(c, best) {
			best = c
			found = append(found, c.values)
		}
	}
	return t.judge(ctx, asIs, found[max(0, len(found)-judged):])
}

// judged is how many of those found are seen in other runs.
const judged = 6

// draw returns values to be tried.
func (t *tuner) draw(rng *rand.Rand, from []float64, everywhere bool) []float64 {
	values := slices.Clone(from)
	for i, k := range t.knobs {
		switch {
		case everywhere && rng.IntN(5) < 2:
			values[i] = k.low * math.Pow(k.high/k.low, rng.Float64())
		case everywhere: // as it is
		case rng.IntN(len(t.knobs)) < 2: // one or two, near
			if math.IsNaN(values[i]) {
				values[i] = math.Sqrt(k.low * k.high)
			}
			values[i] = min(max(values[i]*math.Exp(0.4*rng.NormFloat64()), k.low), k.high)
		}
	}
	return values
}

// pays is how much less load a value must bring to be kept.
const pays = 0.01

func (t *tuner) judge(ctx context.Context, asIs []float64, found [][]float64) (first, best *candidate, err error) {
	if first, err = t.average(ctx, asIs); err != nil {
		return nil, nil, err
	}
	best = first
	for _, values := range found {
		c, err := t.average(ctx, values)
		if err != nil {
			return nil, nil, err
		}
		if c != nil && t.better(c, best) {
			best = c
		}
	}
	for i := range best.values {
		if math.IsNaN(best.values[i]) {
			continue
		}
		without := slices.Clone(best.values)
		without[i] = math.NaN()
		c, err := t.average(ctx, without)
		if err != nil {
			return nil, nil, err
		}
		if c != nil && t.lacks(c) <= t.lacks(best) && c.load <= best.load*(1+pays) {
			best = c
		}
	}
	if t.lacks(best) == t.lacks(first) && best.load >= first.load*(1-pays) {
		best = first
	}
	return first, best, nil
}

// average is a candidate as it is in other runs than those it was found in.
func (t *tuner) average(ctx context.Context, values []float64) (*candidate, error) {
	const runs = 4
	mean := &candidate{values: values}
	for i := range uint64(runs) {
		w := t.world
		w.Seed += 1000 + i
		c, err := t.try(ctx, values, w)
		if err != nil || c == nil {
			return c, err
		}
		mean.success += c.success / runs
		mean.back += c.back / runs
		mean.load += c.load / runs
		mean.openings += c.openings / runs
	}
	return mean, nil
}

// try simulates a candidate; nil is one that has faults.
func (t *tuner) try(ctx context.Context, values []float64, w sim.World) (*candidate, error) {
	text, err := t.file(values)
	if err != nil {
		return nil, err
	}
	doc, err := config.Decode(text)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // values that do not go together
	}
	e, _ := lookup(doc, t.named)
	w.Calm = min(w.Calm, 20*time.Second)
	calm, _ := sim.Find("calm")
	all, err := runAll(ctx, inside.PolicyOf(e.Policy, false, e.Pattern == t.named), append([]sim.Scenario{calm}, t.scenarios...), w)
	if err != nil {
		return nil, err
	}
	c := &candidate{values: values, success: 1}
	for i, o := range all {
		c.openings += float64(o.False)
		if i == 0 {
			continue
		}
		c.success = min(c.success, o.Success)
		c.load += o.Load / float64(len(t.scenarios))
		if o.Back < 0 {
			c.back = math.Inf(1)
		}
		c.back = max(c.back, o.Back)
	}
	return c, nil
}
