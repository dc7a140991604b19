package sim

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/astra-grpc/astra/bench/lab"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestScenarios: with the same seed a scenario finds the same, to the last
// digit, and keeps its promises. A golden file that changes says that the
// shipped cores behave differently: look at what it means before -update.
func TestScenarios(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			r, err := s.Run(context.Background(), lab.Options{Quick: true, Seed: 1, Progress: func(float64) {}})
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range r.Gates {
				if !g.Holds() {
					t.Errorf("%s: %v, want it within %v", g.What, g.Value, g.Limit)
				}
			}
			got, err := json.MarshalIndent(r.Tables, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", s.Name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("%s (-update writes it anew) is not what was found:\n%s", file, got)
			}
		})
	}
}
