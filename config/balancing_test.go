package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// TestBalancing: a file says how load is balanced, to suites made with it.
func TestBalancing(t *testing.T) {
	opts, err := config.Parse([]byte("balancing: {policy: p2c, sameBackend: true, eject: {consecutive: 5, openFor: 2s, maxShare: 0.3}}"))
	if err != nil {
		t.Fatal(err)
	}
	with, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = with.Close() }()
	if err := with.Reload(opts...); err != nil {
		t.Error(err)
	}
	without, err := interceptors.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = without.Close() }()
	if err := without.Reload(opts...); err == nil || !strings.Contains(err.Error(), "reload: balancing: was not given to New") {
		t.Errorf("a suite made without it: %v", err)
	}
	if _, err := interceptors.New(append(opts, interceptors.WithBalancing(interceptors.Balancing{Eject: interceptors.Eject{OpenFor: time.Second}}))...); err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("in the program, too: %v", err)
	}
}

// TestBalancingFaults: each names its line, key and value.
func TestBalancingFaults(t *testing.T) {
	for _, c := range []struct{ doc, want string }{
		{"balancing: {policy: random}", `line 1, column 21: balancing.policy: "random" is unknown: want round_robin or p2c`},
		{"balancing: {eject: {maxShare: 2, probes: 0, consecutive: -1}}",
			"line 1, column 31: balancing.eject.maxShare: 2 is out of range: want from 0.01 to 1\n" +
				"line 1, column 42: balancing.eject.probes: 0 is out of range: want from 1 to 1000\n" +
				"line 1, column 58: balancing.eject.consecutive: -1 is out of range: want from 1 to 1000000"},
		{"balancing: {eject: {openFor: 10s, maxOpenFor: 1s}}", `line 1, column 47: balancing.eject.maxOpenFor: "1s" is out of range: want from openFor, which is 10s, to 24h0m0s`},
		{"balancing: {eject: {openFor: soon, maxOpenFor: 1ms}}", `line 1, column 30: balancing.eject.openFor: "soon" is not a duration: want such as "250ms", "1.5s" or "1h30m"`},
		{"balancing: {ejects: {}}", `line 1, column 13: balancing.ejects: is unknown: did you mean eject?`},
		{"balancing: {eject: {mode: watch}}", `line 1, column 27: balancing.eject.mode: "watch" is unknown: want enforce, observe`},
		{"balancing: 3", `line 1, column 12: balancing: 3 is a number: want an object`},
	} {
		if _, err := config.Parse([]byte(c.doc)); err == nil || err.Error() != c.want {
			t.Errorf("%s:\n%v\nwant\n%s", c.doc, err, c.want)
		}
	}
}
