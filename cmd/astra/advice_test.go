package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storming has nothing that bounds retries.
const storming = "retry: {maxAttempts: 4, backoff: {base: 20ms, max: 200ms}}, attemptTimeout: 200ms, breaker: {disabled: true}, budget: {disabled: true}"

func TestAdvice(t *testing.T) {
	for _, tc := range []struct {
		name, astra string
		args        string
		want        string // all of these, between commas and blanks
	}{
		{"times", "timeout: 500ms, attemptTimeout: 200ms, retry: {backoff: {base: 100ms}}", "-scenario calm", "attemptTimeout 200ms × 2|the 500ms timeout|attempt 3 never starts"},
		{"hasty", "attemptTimeout: 30ms", "-scenario calm", "less than three times the latency"},
		{"limit", "limit: {maxConcurrent: 2}", "-scenario calm", "are refused though nothing is wrong"},
		{"false openings", "breaker: {consecutive: 1}, retry: {maxAttempts: 1}", "-scenario calm", "calm: breakers opened|raise breaker.consecutive"},
		{"no breaker", storming, "-scenario outage", "there is no breaker|no budget bounds retries"},
		{"never opens", "breaker: {consecutive: 400, minCalls: 5000}", "-scenario outage -rate 20", "no breaker opened in 10s"},
		{"budget", "budget: {ratio: 0.1}, retry: {maxAttempts: 4, backoff: {base: 20ms}}", "-scenario one-bad", "cannot pay for one bad backend of 2|1.00 retries per success|which ejects it (interceptors.WithBalancing), makes that 0.0 %"},
		{"opens for all", "breaker: {consecutive: 3}, retry: {maxAttempts: 1}", "-scenario one-bad", "for all backends though 1 of 2 are well|it refuses 0.0 %"},
		{"slow", "retry: {}", "-scenario slow -capacity 4000", "callers wait for the slow backend|Balancing by p2c makes it"},
		{"metastable", storming, "-scenario stall -deadline 1s -capacity 300", "do not come back within 20 s|With breaker and budget, by their defaults, they are back after"},
		{"back late", "breaker: {openFor: 20s, probeShare: 1e-9}", "-scenario outage", "calls come back only|With maxOpenFor 2s:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := "methodConfig: [{name: [{}], astra: {" + tc.astra + "}}]\n"
			out, code := shell(t, in, append([]string{"simulate", "-"}, strings.Fields(tc.args)...)...)
			flat := strings.Join(strings.Fields(out), " ")
			for want := range strings.SplitSeq(tc.want, "|") {
				if code != exitFine || !strings.Contains(flat, want) {
					t.Errorf("want %q, exit code %d; got:\n%s", want, code, out)
				}
			}
		})
	}
	const sound = "methodConfig: [{name: [{}], astra: {retry: {backoff: {base: 20ms}}, timeout: 2s}}]\nbalancing: {policy: p2c}\n"
	if out, _ := shell(t, sound, "simulate", "-", "-scenario", "calm,outage,one-bad,rolling,slow"); !strings.Contains(out, "Nothing to change") {
		t.Errorf("a sound policy is blamed:\n%s", out)
	}
}

func TestBalancingIsTheFilesOrTheFlags(t *testing.T) {
	const in = "methodConfig: [{name: [{}], astra: {retry: {backoff: {base: 20ms}}}}]\nbalancing: {}\n"
	with, _ := shell(t, in, "simulate", "-", "-scenario", "one-bad")
	t.Chdir("..")
	off, _ := shell(t, in, "simulate", "-", "-scenario", "one-bad", "-balancing", "off")
	if strings.Contains(with, "cannot pay") || !strings.Contains(off, "cannot pay") {
		t.Errorf("balancing of the file:\n%s\noff:\n%s", with, off)
	}
	t.Chdir("..")
	if out, code := shell(t, in, "simulate", "-", "-balancing", "best"); code != exitUsage || !strings.Contains(out, "off, round_robin or p2c") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestAYearOfFewCalls is simulated in a moment, and drawn.
func TestAYearOfFewCalls(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	out, code := shell(t, "methodConfig: [{name: [{}], astra: {retry: {backoff: {base: 20ms}}}}]\n",
		"simulate", "-", "-scenario", "calm", "-calm", "8760h", "-rate", "0.0083", "-html", page)
	if code != exitFine || !strings.Contains(out, "calm      100.00%") || !strings.Contains(out, "Nothing to change") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if drawn, err := os.ReadFile(page); err != nil || strings.Count(string(drawn), "<path") < 4 || len(drawn) > 100_000 {
		t.Errorf("%v, %d bytes", err, len(drawn))
	}
}
