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
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/internal/inside"
	"github.com/astra-grpc/astra/internal/sim"
)

// knob is a value that tune may change.
type knob struct {
	key       string
	low, high float64 // of a duration, in seconds
	kind      byte    // 'n' whole number, 'r' real, 'd' duration
}

// knobs are all there are, with the ranges that are searched by default.
var knobs = []knob{
	{"attemptTimeout", 0.05, 2, 'd'},
	{"retry.maxAttempts", 2, 5, 'n'},
	{"retry.backoff.base", 0.01, 1, 'd'},
	{"breaker.consecutive", 3, 20, 'n'},
	{"breaker.openFor", 0.2, 5, 'd'},
	{"breaker.probeShare", 0.001, 0.1, 'r'},
	{"budget.ratio", 0.05, 1, 'r'},
	{"budget.burst", 5, 100, 'n'},
}

func (k knob) text(v float64) string {
	switch k.kind {
	case 'n':
		return strconv.Itoa(int(math.Round(v)))
	case 'd':
		return time.Duration(math.Round(v*1e3) * 1e6).String()
	}
	return strconv.FormatFloat(math.Round(v*1e4)/1e4, 'f', -1, 64)
}

// goal is what is to be reached.
type goal struct{ success, back float64 }

var tuneCommand = command{
	name: "tune", args: "FILE", short: "search for values that reach a goal with less load",
	long: `Tune changes the policy of a method within the ranges allowed, simulates each
candidate, and prints the file with the best: the one that reaches the goal with
the least load; what it bought stands in a comment. If none reaches the goal it
says so, and exits with 1. Comments of the file stay.

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

func parseFloat(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

func readRanges(text string) (all []knob, err error) {
	if text == "" {
		return knobs, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		key, limits, _ := strings.Cut(strings.TrimSpace(part), "=")
		i := slices.IndexFunc(knobs, func(k knob) bool { return k.key == key })
		if i < 0 {
			return nil, usagef("-allow %q: no such knob; see -h", key)
		}
		k := knobs[i]
		low, high, ok := strings.Cut(limits, "..")
		if ok {
			k.low, k.high = k.read(low), k.read(high)
		}
		if limits != "" && (!ok || !(k.low > 0) || !(k.high >= k.low)) {
			return nil, usagef("-allow %s=%s: want LOW..HIGH, above 0", key, limits)
		}
		all = append(all, k)
	}
	return all, nil
}

func (k knob) read(s string) float64 {
	if k.kind != 'd' {
		return parseFloat(s)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return math.NaN()
	}
	return d.Seconds()
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
	lack := max(0, t.goal.success-c.success)
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
		return "the file reaches the goal, and nothing found does with less load"
	case t.lacks(first) > 0:
		return "this reaches the goal, which the file did not"
	}
	return fmt.Sprintf("this reaches the goal with %.0f %% less load", 100*(1-best.load/first.load))
}

// search draws candidates over the ranges at first, then around the best.
func (t *tuner) search(ctx context.Context) (first, best *candidate, err error) {
	rng := rand.New(rand.NewPCG(t.world.Seed, 5))
	asIs := make([]float64, len(t.knobs))
	for i := range asIs {
		asIs[i] = math.NaN()
	}
	if first, err = t.try(ctx, asIs); err != nil {
		return nil, nil, err
	}
	best = first
	for n := range t.tries {
		values := slices.Clone(best.values)
		for i, k := range t.knobs {
			switch {
			case n < t.tries/3: // everywhere
				values[i] = k.low * math.Pow(k.high/k.low, rng.Float64())
			case rng.IntN(len(t.knobs)) < 2: // one or two, near
				if math.IsNaN(values[i]) {
					values[i] = math.Sqrt(k.low * k.high)
				}
				values[i] = min(max(values[i]*math.Exp(0.4*rng.NormFloat64()), k.low), k.high)
			}
		}
		c, err := t.try(ctx, values)
		if err != nil {
			return nil, nil, err
		}
		if c != nil && t.better(c, best) {
			best = c
		}
	}
	return first, best, nil
}

// try simulates a candidate; nil is one that has faults.
func (t *tuner) try(ctx context.Context, values []float64) (*candidate, error) {
	text, err := t.file(values)
	if err != nil {
		return nil, err
	}
	doc, err := config.Decode(text)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // values that do not go together
	}
	e, _ := lookup(doc, t.named)
	all, err := runAll(ctx, inside.PolicyOf(e.Policy, false, e.Pattern == t.named), t.scenarios, t.world)
	if err != nil {
		return nil, err
	}
	c := &candidate{values: values, success: 1}
	for _, o := range all {
		c.success = min(c.success, o.Success)
		c.load += o.Load / float64(len(all))
		if o.Back < 0 {
			c.back = math.Inf(1)
		}
		c.back = max(c.back, o.Back)
	}
	return c, nil
}

// file is the document with other values.
func (t *tuner) file(values []float64) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(t.data, &root); err != nil {
		return nil, err
	}
	entry := member(root.Content[0], "methodConfig").Content[t.index]
	for i, k := range t.knobs {
		if !math.IsNaN(values[i]) {
			set(entry, k, values[i])
		}
	}
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&root); err != nil {
		return nil, err
	}
	return []byte(b.String()), e.Close()
}

// set writes a knob where the entry has it, or could.
func set(entry *yaml.Node, k knob, v float64) {
	text := k.text(v)
	if p := member(entry, "retryPolicy"); p != nil && strings.HasPrefix(k.key, "retry.") {
		key := "maxAttempts"
		if k.kind == 'd' {
			key, text = "initialBackoff", strconv.FormatFloat(math.Round(v*1e3)/1e3, 'f', -1, 64)+"s"
		}
		if at := member(p, key); at != nil {
			at.Value = text
			return
		}
	}
	at := child(entry, "astra")
	parts := strings.Split(k.key, ".")
	for _, part := range parts[:len(parts)-1] {
		at = child(at, part)
	}
	last := child(at, parts[len(parts)-1])
	last.Kind, last.Tag, last.Value, last.Content = yaml.ScalarNode, "", text, nil
}

func member(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// child is a member, made if it is missing.
func child(n *yaml.Node, key string) *yaml.Node {
	if m := member(n, key); m != nil {
		return m
	}
	m := &yaml.Node{Kind: yaml.MappingNode}
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, m)
	return m
}
