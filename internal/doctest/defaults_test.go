package doctest

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// row is a line of the table of docs/defaults.md.
type row struct{ standard, allowed string }

func defaultsTable(t *testing.T) map[string]row {
	t.Helper()
	table := map[string]row{}
	for _, cells := range rows(document(t, "docs/defaults.md"))[1:] { // without its head
		table[strings.Trim(cells[0], "`")] = row{cells[1], cells[2]}
	}
	return table
}

// knobs calls f with the path and the value of every field of a policy that is
// no struct itself.
func knobs(v reflect.Value, path string, f func(path string, v reflect.Value)) {
	for i := range v.NumField() {
		field, name := v.Field(i), path+v.Type().Field(i).Name
		if field.Kind() == reflect.Struct {
			knobs(field, name+".", f)
		} else {
			f(name, field)
		}
	}
}

// knob returns a field of a policy, by its path.
func knob(p *interceptors.Policy, path string) reflect.Value {
	v := reflect.ValueOf(p).Elem()
	for name := range strings.SplitSeq(path, ".") {
		v = v.FieldByName(name)
	}
	return v
}

// update writes what can be made: go test ./internal/doctest -update, after go test
// ./config -update.
var update = flag.Bool("update", false, "add what docs/defaults.md lacks, and drop what no policy has")

// TestEveryKnobIsListed, and nothing else. With -update a new field gets a row, made of
// its comment: its default, its range, its first sentence.
func TestEveryKnobIsListed(t *testing.T) {
	var (
		table   = defaultsTable(t)
		page    = document(t, "docs/defaults.md")
		changed = page
		before  string // the field above
	)
	knobs(reflect.ValueOf(interceptors.Policy{}), "", func(path string, v reflect.Value) {
		if _, ok := table[path]; !ok {
			t.Logf("docs/defaults.md lacks %s", path)
			above := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(before) + "` .*\n")
			changed = above.ReplaceAllStringFunc(changed, func(row string) string { return row + rowOf(t, path, v) })
		}
		delete(table, path)
		before = path
	})
	for path := range table {
		t.Logf("docs/defaults.md has %s, which no policy has", path)
		changed = regexp.MustCompile("(?m)^\\| `"+regexp.QuoteMeta(path)+"` .*\n").ReplaceAllString(changed, "")
	}
	switch {
	case changed == page:
	case !*update:
		t.Error("docs/defaults.md is out of date: run go test ./internal/doctest -update, and read the diff")
	default:
		if err := os.WriteFile(filepath.Join(root, "docs", "defaults.md"), []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// rowOf makes a row of what the schema says of a field, which is its comment.
func rowOf(t *testing.T, path string, v reflect.Value) string {
	t.Helper()
	type object struct {
		Description string
		Properties  map[string]json.RawMessage
		Items       json.RawMessage
	}
	var o object
	descend := func(raw json.RawMessage) {
		o = object{}
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatalf("config/schema.json has no %s: run go test ./config -update first", path)
		}
	}
	descend(config.Schema())
	descend(o.Properties["methodConfig"])
	descend(o.Items)
	descend(o.Properties["astra"])
	for name := range strings.SplitSeq(path, ".") {
		descend(o.Properties[strings.ToLower(name[:1])+name[1:]])
	}
	part := func(pattern string) string {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(o.Description); m != nil {
			return m[1]
		}
		return ""
	}
	standard, allowed := cmp.Or(part(`Default: (.+?)[.,;]( |$)`), "none"), part(`Range (.+?)[.;]( |$)`)
	if v.Kind() == reflect.Bool {
		standard = "false"
	}
	if high, ok := strings.CutPrefix(allowed, "(0, "); ok {
		allowed = "> 0 to " + strings.TrimSuffix(high, "]")
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s |\n", path, standard, allowed, part(`^\w+ (?:is |are )?(.+?)\.( |$)`))
}

// TestREADMEsDefaultsAgree: README repeats some of the table.
func TestREADMEsDefaultsAgree(t *testing.T) {
	table, repeated := defaultsTable(t), 0
	for _, cells := range rows(document(t, "README.md")) {
		r, ok := table[strings.Trim(cells[0], "`")]
		if !ok {
			continue
		}
		repeated++
		if cells[1] != r.standard {
			t.Errorf("README gives %s the default %s, docs/defaults.md %s", cells[0], cells[1], r.standard)
		}
	}
	if repeated != 10 {
		t.Errorf("README repeats %d defaults, want 10", repeated)
	}
}

// TestDefaultsAgree compares the documented defaults with those of the code: of
// policy_defaults.go, which are not exported, and of jitter.
func TestDefaultsAgree(t *testing.T) {
	want := codeDefaults(t)
	var zero jitter.Backoff
	want["Retry.Backoff.Base"] = float64(zero.Delay(1))
	want["Retry.Backoff.Max"] = float64(zero.Delay(1000))
	want["Retry.Backoff.Multiplier"] = float64(zero.Delay(2)) / float64(zero.Delay(1))
	want["Limit.Burst"] = "⌈Rate⌉" // interceptors' own tests see to that
	want["Retry.Backoff.Jitter"] = "`" + zero.Jitter.String() + "`"

	for path, r := range defaultsTable(t) {
		var got any = r.standard
		if value, ok := quantity(r.standard); ok {
			got = value
		} else if set, err := astracodes.Parse(strings.Split(r.standard, ", ")...); err == nil {
			got = set
		}
		switch expected, has := want[path]; {
		case has && got != expected:
			t.Errorf("docs/defaults.md gives %s the default %v, want %v", path, got, expected)
		case !has && r.standard != "none" && r.standard != "false" && r.standard != "off":
			t.Errorf("docs/defaults.md gives %s the default %s, but the code has none", path, r.standard)
		}
		delete(want, path)
	}
	for path, value := range want {
		t.Errorf("docs/defaults.md lacks the default of %s, %v", path, value)
	}
}

// codeDefaults reads the statements x.Field = cmp.Or(x.Field, value) of
// policy_defaults.go.
func codeDefaults(t *testing.T) map[string]any {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "interceptors", "policy_defaults.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := evaluator{sections: map[string]string{}, values: map[string]any{}}
	ast.Inspect(file, func(n ast.Node) bool {
		assign, ok := n.(*ast.AssignStmt)
		if !ok {
			return true
		}
		switch right := assign.Rhs[0].(type) {
		case *ast.UnaryExpr: // r := &p.Retry
			e.sections[assign.Lhs[0].(*ast.Ident).Name] = right.X.(*ast.SelectorExpr).Sel.Name + "."
		case *ast.CallExpr:
			e.values[e.path(assign.Lhs[0])] = e.value(t, right.Args[1])
		}
		return true
	})
	if len(e.values) < 10 {
		t.Fatalf("policy_defaults.go has %d defaults: the test reads it wrongly", len(e.values))
	}
	return e.values
}

// evaluator knows the few expressions that defaults are written with. Numbers
// and durations are float64.
type evaluator struct {
	sections map[string]string // variable → the section it points to, with its dot
	values   map[string]any
}

func (e *evaluator) path(x ast.Expr) string {
	s := x.(*ast.SelectorExpr)
	return e.sections[s.X.(*ast.Ident).Name] + s.Sel.Name
}

func (e *evaluator) value(t *testing.T, x ast.Expr) any {
	t.Helper()
	number := func(x ast.Expr) float64 { return e.value(t, x).(float64) }
	switch x := x.(type) {
	case *ast.BasicLit:
		if v, err := strconv.ParseFloat(x.Value, 64); err == nil {
			return v
		}
	case *ast.BinaryExpr:
		if x.Op == token.SHL {
			return float64(int64(number(x.X)) << int64(number(x.Y)))
		}
		return number(x.X) * number(x.Y)
	case *ast.CallExpr: // max
		return max(number(x.Args[0]), number(x.Args[1]))
	case *ast.SelectorExpr:
		known := map[string]any{
			"time.Second": float64(time.Second), "time.Minute": float64(time.Minute),
			"astracodes.Retryable": astracodes.Retryable, "astracodes.Failure": astracodes.Failure,
		}
		if v, ok := known[x.X.(*ast.Ident).Name+"."+x.Sel.Name]; ok {
			return v
		}
		if v, ok := e.values[e.path(x)]; ok {
			return v
		}
	}
	t.Fatalf("cannot evaluate %#v: teach the test", x)
	return nil
}

var (
	amount = regexp.MustCompile(`^(-?[0-9.]+) ?(ms|s|h|KiB)?$`)
	units  = map[string]float64{"": 1, "ms": 1e6, "s": 1e9, "h": 3600e9, "KiB": 1024}
)

// quantity reads a number with its unit; durations are in nanoseconds.
func quantity(text string) (float64, bool) {
	if text == "2³¹−1" {
		return 1<<31 - 1, true
	}
	m := amount.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(m[1], 64)
	return v * units[m[2]], err == nil
}

var interval = regexp.MustCompile(`^(> |≥ )?(.+?)(?: to (.+))?$`)

// TestRangesAgree tries the documented bounds, and what lies just beyond them, on New.
func TestRangesAgree(t *testing.T) {
	table, tried := defaultsTable(t), 0
	for path, r := range table {
		m := interval.FindStringSubmatch(r.allowed)
		if m == nil {
			continue // a flag
		}
		section := path[:strings.LastIndexByte(path, '.')+1]
		bound := func(text string) (float64, bool) {
			if neighbour, ok := table[section+text]; ok {
				text = neighbour.standard
			}
			return quantity(text)
		}
		low, ok := bound(m[2])
		if !ok {
			continue // described in words
		}
		tried++
		// The least step from one value to the next; zero is the default.
		step := 1.0
		if f := knob(&interceptors.Policy{}, path); f.Kind() == reflect.Float64 {
			step = 1e-6
		}
		below := low - step
		if m[1] == "> " {
			low += step
			below = -step
		} else if below == 0 {
			below = -1
		}
		try(t, path, low, true)
		try(t, path, below, false)
		if m[3] == "" {
			continue
		}
		high, ok := bound(m[3])
		if !ok {
			t.Errorf("%s: cannot read the range %q", path, r.allowed)
			continue
		}
		try(t, path, high, true)
		try(t, path, high+step, false)
	}
	if tried < 15 {
		t.Errorf("%d ranges tried: the test reads the table wrongly", tried)
	}
}

// try sets one field, and expects New to take or to reject it.
func try(t *testing.T, path string, value float64, valid bool) {
	t.Helper()
	var p interceptors.Policy
	switch path { // what they need
	case "Breaker.SlowRate":
		p.Breaker.SlowCall = time.Second
	case "Limit.MaxQueue":
		p.Limit.Rate = 1
	case "Limit.MaxWait":
		p.Limit.Rate, p.Limit.MaxQueue = 1, 1
	case "Limit.Burst":
		p.Limit.Rate = 1
	}
	f := knob(&p, path)
	if f.Kind() == reflect.Float64 {
		f.SetFloat(value)
	} else {
		f.SetInt(int64(value))
	}
	_, err := interceptors.New(interceptors.WithPolicy(p))
	switch {
	case valid && err != nil:
		t.Errorf("docs/defaults.md allows %s: %v, but: %v", path, f, err)
	case !valid && (err == nil || !strings.Contains(err.Error(), path)):
		t.Errorf("docs/defaults.md does not allow %s: %v, but New returned %v", path, f, err)
	}
}

// TestJitterTableAgrees: Go names and names of the strategies.
func TestJitterTableAgrees(t *testing.T) {
	want := map[string]jitter.Strategy{
		"`jitter.Full`":            jitter.Full,
		"`jitter.Equal`":           jitter.Equal,
		"`jitter.Decorrelated`":    jitter.Decorrelated,
		"`jitter.None`":            jitter.None,
		"`jitter.AWSFull`":         jitter.AWSFull,
		"`jitter.AWSDecorrelated`": jitter.AWSDecorrelated,
	}
	for _, cells := range rows(document(t, "docs/retries.md")) {
		goName, _, _ := strings.Cut(cells[0], " (default)")
		s, ok := want[goName]
		if !ok {
			continue
		}
		if got := strings.Trim(cells[1], "`"); got != s.String() {
			t.Errorf("docs/retries.md names %s %q, want %q", goName, got, s)
		}
		delete(want, goName)
	}
	for goName := range want {
		t.Errorf("docs/retries.md lacks %s", goName)
	}
}
