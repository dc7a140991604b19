package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestSimulationGoldens(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of virtual time, on one goroutine: nothing for the race detector")
	}
	for _, g := range []struct {
		name string
		args []string
	}{
		{name: "explain", args: []string{"explain", "shop.yaml", "shop.v1.Cart/Put"}},
		{name: "explain-hedge", args: []string{"explain", "shop.yaml", "/shop.v1.Catalog/Search", "-idempotent"}},
		{name: "explain-default", args: []string{"explain", "-all", "shop.yaml", "other.Service/Method"}},
		{name: "explain-json", args: []string{"explain", "-o", "json", "shop.yaml", "shop.v1.Payment/Void"}},
		{name: "explain-bad", args: []string{"explain", "shop.yaml", "nonsense"}},
		{name: "simulate", args: []string{"simulate", "shop.yaml", "-method", "shop.v1.Cart/Put"}},
		{name: "simulate-hedge", args: []string{"simulate", "shop.yaml", "-method", "shop.v1.Catalog/Search", "-scenario", "slow,one-bad"}},
		{name: "simulate-limit", args: []string{"simulate", "shop.yaml", "-method", "shop.v1.Orders/Get", "-scenario", "stall"}},
		{name: "simulate-compare", args: []string{"simulate", "shop.yaml", "-compare", "careful.yaml", "-scenario", "outage,one-bad"}},
		{name: "simulate-json", args: []string{"simulate", "-o", "json", "-scenario", "partial", "shop.yaml"}},
		{name: "simulate-bad", args: []string{"simulate", "-rate", "0", "-share", "2", "shop.yaml"}},
		{name: "tune", args: []string{"tune", "careful.yaml", "-tries", "30", "-goal", "success=0.8,back=0.5s", "-scenario", "one-bad,partial", "-for", "3s"}},
		{name: "tune-unreached", args: []string{"tune", "careful.yaml", "-tries", "2", "-goal", "success=1", "-scenario", "outage", "-allow", "budget.burst=5..9"}},
		{name: "tune-bad", args: []string{"tune", "careful.yaml", "-goal", "speed=1"}},
	} {
		t.Run(g.name, func(t *testing.T) {
			out, code := shell(t, "", g.args...)
			golden(t, g.name+".txt", fmt.Sprintf("%sexit code %d\n", out, code))
		})
	}
}

// TestPages keeps what is written to files.
func TestPages(t *testing.T) {
	dir := t.TempDir()
	svg, page := filepath.Join(dir, "t.svg"), filepath.Join(dir, "p.html")
	if out, code := shell(t, "", "explain", "-svg", svg, "shop.yaml", "shop.v1.Cart/Put"); code != exitFine {
		t.Fatal(out)
	}
	t.Chdir("..")
	if out, code := shell(t, "", "simulate", "-html", page, "-scenario", "outage", "-compare", "careful.yaml", "shop.yaml"); code != exitFine {
		t.Fatal(out)
	}
	for path, name := range map[string]string{svg: "explain.svg", page: "simulate.html"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, string(text))
	}
}
