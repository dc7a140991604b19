package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// benchs is the world of the bench's scenarios: 280 calls a second, four workers
// of 10 ms, callers that wait 400 ms.
var benchs = strings.Fields("-rate 280 -capacity 400 -latency 10ms -tail 0 -backends 1 -deadline 400ms -for 5s -errors 0")

var loadOf = regexp.MustCompile(`(?m)^# (before|after):.* ([0-9.]+) attempts per call`)

// TestTuneBeatsTheDefaultsOrSaysSo, on the bench's own scenarios.
func TestTuneBeatsTheDefaultsOrSaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("hours of virtual time, on one goroutine: nothing for the race detector")
	}
	const defaults = "methodConfig: [{name: [{}], astra: {retry: {}}}]\n"
	for scenario, goal := range map[string]string{"outage": "success=0.7,back=0.5s", "stall": "success=0.6,back=1s", "one-bad": "success=0.9,back=0.5s"} {
		t.Run(scenario, func(t *testing.T) {
			out, code := shell(t, defaults, append(append([]string{"tune", "-"}, benchs...), "-scenario", scenario, "-goal", goal, "-tries", "30")...)
			load := map[string]float64{}
			for _, m := range loadOf.FindAllStringSubmatch(out, -1) {
				load[m[1]], _ = strconv.ParseFloat(m[2], 64)
			}
			first, _, _ := strings.Cut(out, "\n")
			switch {
			case code != exitFine || load["before"] == 0:
				t.Fatalf("exit code %d: %s", code, out)
			case strings.Contains(first, "cannot be beaten"):
				if load["after"] != load["before"] {
					t.Errorf("not what it says: %s", out)
				}
			case load["after"] >= load["before"]:
				t.Errorf("no less load: %s", out)
			}
			t.Log(out)
		})
	}
}

// TestTuneKeepsNoValueThatDoesNotPay: of knobs that have no effect on the goal
// none is turned.
func TestTuneKeepsNoValueThatDoesNotPay(t *testing.T) {
	const file = "methodConfig: [{name: [{}], astra: {retry: {maxAttempts: 1}}}]\n"
	out, code := shell(t, file, append(append([]string{"tune", "-"}, benchs...), "-scenario", "partial", "-goal", "success=0.5,back=1s", "-tries", "12", "-allow", "budget.ratio,budget.burst,retry.backoff.base")...)
	if code != exitFine || !strings.Contains(out, "cannot be beaten") || strings.Contains(out, "budget") || strings.Contains(out, "backoff") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
