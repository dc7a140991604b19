package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a scenario that finds one gate's value at once.
func fake(name string, value float64) lab.Scenario {
	return lab.Scenario{Name: name, Title: "of " + name, Run: func(_ context.Context, o lab.Options) (*lab.Result, error) {
		for i := range 11 {
			o.Progress(float64(i) / 10)
		}
		return &lab.Result{
			Tables: []lab.Table{{Title: "values", Columns: []lab.Column{{Name: "value", Better: lab.Lower}}, Rows: []lab.Row{{Name: "ours", Ours: true, Cells: []lab.Cell{{Value: value}}}}}},
			Gates:  []lab.Gate{{What: "value", Value: value, Limit: 5}},
		}, nil
	}}
}

type outcome struct {
	code        int
	out, err    string
	dir, folder string
}

// bench runs scenarios as the program does.
func bench(t *testing.T, ctx context.Context, all []lab.Scenario, args ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	o := outcome{dir: dir, folder: filepath.Join(dir, "report")}
	var out, err bytes.Buffer
	set, fault := parse(append(args, "-out", o.folder), &err)
	if fault != nil {
		t.Fatal(fault)
	}
	o.code = measure(ctx, set, choose(all, set.pattern), args, &out, &err)
	o.out, o.err = out.String(), err.String()
	return o
}

func want(t *testing.T, o outcome, code int, texts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d; it said\n%s%s", o.code, code, o.out, o.err)
	}
	for _, s := range texts {
		if !strings.Contains(o.out+o.err, s) {
			t.Errorf("it says nothing of %q:\n%s%s", s, o.out, o.err)
		}
	}
}

func TestGatesDecideTheExitCode(t *testing.T) {
	good, bad := []lab.Scenario{fake("good", 5)}, []lab.Scenario{fake("good", 5), fake("bad", 6)}
	want(t, bench(t, t.Context(), good), exitOK, "1 of 1 promises kept", "report.html")
	want(t, bench(t, t.Context(), bad), exitGates, "1 of 2 promises kept", "missed bad: value: 6, at most 5")
	want(t, bench(t, t.Context(), bad, "-gates", "warn"), exitOK, "missed bad: value")
	o := bench(t, t.Context(), bad, "-run", "^goo")
	want(t, o, exitOK)
	if strings.Contains(o.out, "of bad") {
		t.Error("-run does not choose")
	}
}

func TestResultsAndCompare(t *testing.T) {
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	o := bench(t, t.Context(), []lab.Scenario{fake("it", 4)}, "-results", file, "-quick", "-seed", "7")
	want(t, o, exitOK)
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "## it: of it") || !strings.Contains(string(text), "-quick -seed 7") {
		t.Errorf("%v:\n%s", err, text)
	}
	old := filepath.Join(o.folder, "results.json")
	r, err := report.Read(old)
	if err != nil || !r.Quick || r.Seed != 7 || len(r.Scenarios) != 1 || r.Machine.Cores == 0 || len(r.Machine.Modules) == 0 {
		t.Errorf("%v: %+v", err, r)
	}
	want(t, bench(t, t.Context(), []lab.Scenario{fake("it", 8)}, "-compare", old, "-gates", "warn"), exitOK,
		"2 worse, 0 better", "worse it / values / ours / value: 4 → 8 (+100 %)", "missed it / value")
}

// TestInterrupt: what was found before is reported, as cut, and the code is
// that of an interrupt.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	hang := lab.Scenario{Name: "hang", Run: func(ctx context.Context, _ lab.Options) (*lab.Result, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	o := bench(t, ctx, []lab.Scenario{fake("first", 1), hang, fake("never", 1)})
	want(t, o, exitCut, "interrupted", "of first")
	r, err := report.Read(filepath.Join(o.folder, "results.json"))
	if err != nil || !r.Cut || len(r.Scenarios) != 1 {
		t.Errorf("%v: %+v", err, r)
	}
}

func TestScenarioThatFails(t *testing.T) {
	broken := lab.Scenario{Name: "broken", Run: func(context.Context, lab.Options) (*lab.Result, error) { return nil, errors.New("no server") }}
	o := bench(t, t.Context(), []lab.Scenario{broken})
	want(t, o, exitUsage, "bench: broken: no server")
	if _, err := os.Stat(o.folder); err == nil {
		t.Error("a report of nothing")
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		say  string
	}{
		{[]string{"-help"}, exitOK, "-compare"},
		{[]string{"-list"}, exitOK, "outage"},
		{[]string{"-list", "-run", "^tail$"}, exitOK, "tail"},
		{[]string{"-run", "nothing like it"}, exitUsage, "no scenario matches"},
		{[]string{"-run", "("}, exitUsage, "-run: error parsing regexp"},
		{[]string{"-gates", "maybe"}, exitUsage, "want fail or warn"},
		{[]string{"-compare", "nowhere.json"}, exitUsage, "nowhere.json"},
		{[]string{"tail"}, exitUsage, `what is "tail"`},
		{[]string{"-nonsense"}, exitUsage, "nonsense"},
	} {
		var out, err bytes.Buffer
		if code := run(t.Context(), c.args, &out, &err); code != c.code {
			t.Errorf("%v: exit code %d, want %d", c.args, code, c.code)
		}
		if said := out.String() + err.String(); !strings.Contains(said, c.say) {
			t.Errorf("%v: it says nothing of %q:\n%s", c.args, c.say, said)
		}
	}
}

func TestScenariosAreToldApart(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios() {
		if seen[s.Name] || !regexp.MustCompile(`^[a-z]+$`).MatchString(s.Name) || s.Title == "" || s.About == "" || s.Run == nil {
			t.Errorf("%q: a name that is another's or hard to type, or no title, text or experiment", s.Name)
		}
		seen[s.Name] = true
	}
}

func TestBar(t *testing.T) {
	var out bytes.Buffer
	plain := newBar(&out)
	plain.begin("1/1 it")
	for i := range 101 {
		plain.progress(float64(i) / 100)
	}
	plain.end()
	plain.progress(0.5) // too late
	if got, want := out.String(), "1/1 it ...\n1/1 it ... 25 %, 0s\n1/1 it ... 50 %, 0s\n1/1 it ... 75 %, 0s\n1/1 it ... 0s\n"; got != want {
		t.Errorf("plain: %q, want %q", got, want)
	}
	out.Reset()
	live := &bar{out: &out, live: true}
	live.begin("1/1 it")
	live.begun, live.drawn = time.Now().Add(-10*time.Second), time.Time{}
	live.progress(0.5)
	live.progress(0.6) // too soon
	live.end()
	half := eraseLine + "1/1 it " + strings.Repeat("━", 15) + strings.Repeat("─", 15) + "  50 %, 10s left"
	if got := out.String(); !strings.Contains(got, half) || strings.Contains(got, "60 %") || !strings.HasSuffix(got, eraseLine) {
		t.Errorf("live: %q", got)
	}
}
