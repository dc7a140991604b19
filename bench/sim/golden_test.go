package sim

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/astra-grpc/astra/bench/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files anew")

// quickRun runs each scenario once for all tests.
var quickRun = func() map[string]func() (*lab.Result, error) {
	runs := map[string]func() (*lab.Result, error){}
	for _, s := range Scenarios() {
		runs[s.Name] = sync.OnceValues(func() (*lab.Result, error) {
			return s.Run(context.Background(), lab.Options{Quick: true, Seed: 1, Progress: func(float64) {}})
		})
	}
	return runs
}()

func outcome(t *testing.T, name string) *lab.Result {
	t.Helper()
	r, err := quickRun[name]()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden: the same seed gives the same result, as long as cores and models
// are the same. A difference is not a fault by itself; it is to be seen in a
// review, and the figures in README and notes must be written anew.
func TestGolden(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			got := text(t, outcome(t, s.Name))
			file := filepath.Join("testdata", s.Name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got == string(want) {
				return
			}
			was, is := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			for i := range max(len(was), len(is)) {
				switch {
				case i >= len(was):
					t.Errorf("line %d: new: %s", i+1, is[i])
				case i >= len(is):
					t.Errorf("line %d: gone: %s", i+1, was[i])
				case was[i] != is[i]:
					t.Errorf("line %d:\n was %s\n is  %s", i+1, was[i], is[i])
				}
			}
			t.Error("-update writes it anew")
		})
	}
}

// text is a result to be read; of charts it has but a sum.
func text(t *testing.T, r *lab.Result) string {
	t.Helper()
	var b strings.Builder
	for _, c := range r.Contenders {
		fmt.Fprintf(&b, "%s: %s (%s)\n", c.Name, c.Config, c.Why)
	}
	for _, table := range r.Tables {
		fmt.Fprintf(&b, "\n%s\n", table.Title)
		for i, c := range table.Columns {
			fmt.Fprintf(&b, "  %s [%s]:", c.Name, c.Unit)
			for _, row := range table.Rows {
				fmt.Fprintf(&b, " %s", cellText(row.Cells[i]))
			}
			b.WriteByte('\n')
		}
	}
	b.WriteByte('\n')
	for _, c := range r.Charts {
		data, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		h := fnv.New64a()
		_, _ = h.Write(data)
		fmt.Fprintf(&b, "chart %s: %d series, %016x\n", c.Title, len(c.Series), h.Sum64())
	}
	for _, g := range r.Gates {
		fmt.Fprintf(&b, "gate %s: %g of %g\n", g.What, g.Value, g.Limit)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note %s\n", n)
	}
	return b.String()
}

func cellText(c lab.Cell) string {
	if c.Text != "" {
		return c.Text
	}
	if c.Low != 0 || c.High != 0 {
		return fmt.Sprintf("%g (%g–%g)", c.Value, c.Low, c.High)
	}
	return fmt.Sprint(c.Value)
}

// TestGatesHold: what the scenarios promise, they keep.
func TestGatesHold(t *testing.T) {
	for _, s := range Scenarios() {
		r := outcome(t, s.Name)
		if len(r.Gates) == 0 {
			t.Errorf("%s promises nothing", s.Name)
		}
		for _, g := range r.Gates {
			if !g.Holds() {
				t.Errorf("%s: %s: %v, the limit is %v", s.Name, g.What, g.Value, g.Limit)
			}
		}
	}
}

// TestResultsAreWhole: what a report relies on.
func TestResultsAreWhole(t *testing.T) {
	names := map[string]bool{}
	for _, s := range Scenarios() {
		if names[s.Name] || s.Real || s.Title == "" || s.About == "" {
			t.Errorf("scenario %+v", s)
		}
		names[s.Name] = true
		r := outcome(t, s.Name)
		if _, err := json.Marshal(r); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		known := map[string]bool{}
		for _, c := range r.Contenders {
			if known[c.Name] || c.Config == "" || c.Why == "" || strings.ContainsAny(c.Config+c.Why, "\n") {
				t.Errorf("%s: contender %+v", s.Name, c)
			}
			known[c.Name] = true
		}
		for _, table := range r.Tables {
			if len(table.Rows) != len(r.Contenders) {
				t.Errorf("%s, %s: %d rows of %d contenders", s.Name, table.Title, len(table.Rows), len(r.Contenders))
			}
			for _, row := range table.Rows {
				if !known[row.Name] || len(row.Cells) != len(table.Columns) {
					t.Errorf("%s, %s: row %s has %d cells of %d", s.Name, table.Title, row.Name, len(row.Cells), len(table.Columns))
				}
			}
		}
		if len(r.Charts) == 0 {
			t.Errorf("%s has no picture", s.Name)
		}
		for _, c := range r.Charts {
			for _, line := range c.Series {
				for _, p := range line.Points {
					if math.IsNaN(p[0]+p[1]) || math.IsInf(p[0]+p[1], 0) {
						t.Errorf("%s, %s, %s: point %v", s.Name, c.Title, line.Name, p)
					}
				}
			}
		}
	}
}

// TestScenariosReportAndStop: progress rises to 1, another seed gives another
// result, and a scenario ends with its context.
func TestScenariosReportAndStop(t *testing.T) {
	s := herd()
	var told []float64
	other, err := s.Run(context.Background(), lab.Options{Quick: true, Seed: 2, Progress: func(p float64) { told = append(told, p) }})
	if err != nil {
		t.Fatal(err)
	}
	if len(told) < 10 || !slices.IsSorted(told) || told[0] <= 0 || told[len(told)-1] != 1 {
		t.Errorf("progress %v", told)
	}
	if text(t, other) == text(t, outcome(t, s.Name)) {
		t.Error("another seed changes nothing")
	}
	for _, s := range Scenarios() {
		ctx, cancel := context.WithCancel(context.Background())
		steps := 0
		_, err := s.Run(ctx, lab.Options{Quick: true, Seed: 1, Progress: func(float64) {
			steps++
			cancel()
		}})
		if !errors.Is(err, context.Canceled) || steps != 1 {
			t.Errorf("%s: %d steps after its context ended, error %v", s.Name, steps-1, err)
		}
	}
}
