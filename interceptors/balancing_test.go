package interceptors_test

import (
	"strings"
	"testing"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// TestBalancingFaults: all of them at once, by New and by Reload.
func TestBalancingFaults(t *testing.T) {
	bad := interceptors.Balancing{Policy: "random", Eject: interceptors.Eject{
		Mode: 2, MaxShare: 1.5, Consecutive: -1, FailureRate: 2, Probes: 1001, OpenFor: 25 * time.Hour, MaxOpenFor: time.Second,
	}}
	s := newSuite(t, interceptors.WithBalancing(interceptors.Balancing{Eject: interceptors.Eject{Mode: interceptors.ModeObserve}}))
	_, err := interceptors.New(interceptors.WithBalancing(bad))
	for name, err := range map[string]error{"New": err, "Reload": s.Reload(interceptors.WithBalancing(bad)), "Validate": bad.Validate()} {
		if err == nil {
			t.Fatalf("%s takes it", name)
		}
		for _, part := range []string{
			"Policy: random",
			"Eject.Mode: 2 is out of range: want ModeEnforce or ModeObserve",
			"Eject.MaxShare: 1.5 is out of range: want from 0.01 to 1",
			"Eject.Consecutive: -1 is out of range: want from 1 to 1000000",
			"Eject.FailureRate: 2 is out of range",
			"Eject.Probes: 1001 is out of range: want from 1 to 1000",
			"Eject.OpenFor: 25h0m0s is out of range: want from 1ns to 24h0m0s",
			"Eject.MaxOpenFor: 1s is out of range",
		} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v lacks %q", name, err, part)
			}
		}
	}
	if err := (interceptors.Balancing{}).Validate(); err != nil {
		t.Error(err)
	}
}
