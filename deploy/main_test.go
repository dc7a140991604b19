package deploy

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/astra-grpc/astra/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// requireKey makes a program that is missing a failure: CI sets it.
const requireKey = "ASTRA_REQUIRE_PROMETHEUS"

// program returns the path of promtool or prometheus, of Debian's package
// prometheus.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv(requireKey) != "" {
		t.Fatalf("%v, and %s is set", err, requireKey)
	}
	t.Skipf("%v: install Debian's package prometheus", err)
	return ""
}

const (
	rulesFile     = "prometheus/astra.rules.yml"
	dashboardFile = "grafana/astra.json"
	runbookFile   = "../docs/metrics-and-alerts.md"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// rule is a recording rule or an alert.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(read(t, rulesFile), &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 15 {
		t.Fatalf("only %d rules seen: the test looks for the wrong thing", len(all))
	}
	return all
}

// panel is one of the dashboard's.
type panel struct {
	ID      int
	Title   string
	Type    string
	GridPos struct{ H, W, X, Y int }
	Targets []struct{ Expr, RefID string }
}

func dashboard(t *testing.T) (panels []panel, variables []string) {
	t.Helper()
	var file struct {
		Panels     []panel
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	if err := json.Unmarshal(read(t, dashboardFile), &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Templating.List {
		variables = append(variables, v.Definition)
	}
	if len(file.Panels) < 20 {
		t.Fatalf("only %d panels seen: the test looks for the wrong thing", len(file.Panels))
	}
	return file.Panels, variables
}

// described is a collector of chaos without any.
type described struct{ metrics.ChaosSource }

// exported are the names of all metrics, as package metrics describes them, and
// their labels.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	ch := make(chan *prometheus.Desc, 200)
	metrics.New(metrics.WithDurations(metrics.Durations{})).Describe(ch)
	metrics.NewChaos(described{}).Describe(ch)
	close(ch)
	names, form := map[string][]string{}, regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	for d := range ch {
		m := form.FindStringSubmatch(d.String())
		if m == nil {
			t.Fatalf("cannot read the description %v", d)
		}
		names[m[1]] = strings.Split(m[2], ",")
	}
	return names
}

// base is the name of a histogram's family, of a series of it.
func base(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		name = strings.TrimSuffix(name, suffix)
	}
	return name
}

var seriesName = regexp.MustCompile(`\b(?:\w+:)?astra_[a-z0-9_]+(?::\w+)?\b`)

// TestNamesAreExported: rules and dashboard ask for what package metrics exports
// or a rule records, and nothing else.
func TestNamesAreExported(t *testing.T) {
	known := exported(t)
	recorded := map[string]bool{}
	for _, r := range rules(t) {
		if r.Record != "" {
			recorded[r.Record] = true
		}
	}
	seen := map[string]bool{}
	check := func(where, text string) {
		for _, name := range seriesName.FindAllString(text, -1) {
			seen[base(name)] = true
			if _, ok := known[base(name)]; !ok && !recorded[name] {
				t.Errorf("%s asks for %s, which nobody exports", where, name)
			}
		}
	}
	for _, r := range rules(t) {
		check(r.Record+r.Alert, r.Expr)
		for _, a := range r.Annotations {
			check(r.Alert, a)
		}
	}
	panels, variables := dashboard(t)
	for _, p := range panels {
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr)
		}
	}
	for _, v := range variables {
		check("a variable", v)
	}
	for name := range known {
		if !seen[name] && name != "astra_chaos_injected_total" {
			t.Errorf("%s is in no panel and no rule", name)
		}
	}
}

// TestLabelsExist: what a selector or an aggregation names is a label of some
// metric that it is about.
func TestLabelsExist(t *testing.T) {
	known := exported(t)
	selector := regexp.MustCompile(`(astra_[a-z0-9_]+)\{([^}]*)\}`)
	label := regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	everywhere := []string{"job", "instance", "le"}
	check := func(where, expr string) {
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				if !slices.Contains(known[base(m[1])], l[1]) && !slices.Contains(everywhere, l[1]) {
					t.Errorf("%s: %s has no label %s, but %v", where, m[1], l[1], known[base(m[1])])
				}
			}
		}
	}
	for _, r := range rules(t) {
		check(r.Record+r.Alert, r.Expr)
	}
	panels, _ := dashboard(t)
	for _, p := range panels {
		for _, target := range p.Targets {
			check("panel "+p.Title, target.Expr)
		}
	}
}

// TestEveryAlertHasARunbook: its annotation leads to a section that answers what it
// means, since when, why, and what now; and no section is of an alert that is gone.
func TestEveryAlertHasARunbook(t *testing.T) {
	text := string(read(t, runbookFile))
	sections := map[string]string{}
	for _, part := range strings.Split(text, "\n### ")[1:] {
		title, body, _ := strings.Cut(part, "\n")
		body, _, _ = strings.Cut(body, "\n## ")
		sections[title] = body
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if want := strings.TrimPrefix(runbookFile, "../") + "#" + strings.ToLower(r.Alert); r.Annotations["runbook"] != want {
			t.Errorf("%s has the runbook %q, want %q", r.Alert, r.Annotations["runbook"], want)
		}
		if r.Annotations["summary"] == "" || r.Labels["severity"] == "" {
			t.Errorf("%s lacks a summary or a severity", r.Alert)
		}
		for _, answer := range []string{"**Means:**", "**Since when:**", "**Why:**", "**Now:**"} {
			if !strings.Contains(sections[r.Alert], answer) {
				t.Errorf("the runbook's section %s lacks %s", r.Alert, answer)
			}
		}
		delete(sections, r.Alert)
	}
	for title := range sections {
		t.Errorf("the runbook has a section %s, and there is no such alert", title)
	}
}

// TestPanelsFit: each has an id of its own, a title and a place that is free.
func TestPanelsFit(t *testing.T) {
	panels, _ := dashboard(t)
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, p := range panels {
		if ids[p.ID] || p.ID == 0 || p.Title == "" {
			t.Errorf("panel %d %q: its id is taken, or it has none, or no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		if g := p.GridPos; g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("panel %q is outside of the grid: %+v", p.Title, g)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q lie on one another", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

// run runs a program of Prometheus and returns what it wrote.
func run(t *testing.T, stdin string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestPromtoolChecksRules(t *testing.T) {
	path, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	run(t, "", "promtool", "check", "rules", path)
}
