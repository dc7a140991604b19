package lab_test

import (
	"testing"

	"github.com/astra-grpc/astra/bench/lab"
)

// TestGateHoldsAtItsLimit: what is equal but for the rounding of sums is kept,
// what is worse by a digit that a report shows is not.
func TestGateHoldsAtItsLimit(t *testing.T) {
	for _, tc := range []struct {
		gate lab.Gate
		want bool
	}{
		{lab.Gate{Value: 100 * (1 - float64(1990)/2000), Limit: 0.5}, true},
		{lab.Gate{Value: 99.49999999999999, Limit: 99.5, AtLeast: true}, true},
		{lab.Gate{Value: 0.5001, Limit: 0.5}, false},
		{lab.Gate{Value: 99.499, Limit: 99.5, AtLeast: true}, false},
		{lab.Gate{Value: 0, Limit: 0}, true},
		{lab.Gate{Value: 1, Limit: 0}, false},
	} {
		if got := tc.gate.Holds(); got != tc.want {
			t.Errorf("%+v holds: %v", tc.gate, got)
		}
	}
}

func TestGateTimed(t *testing.T) {
	for unit, want := range map[string]bool{"s": true, "µs": true, "": false, "×": false, "%": false} {
		if got := (lab.Gate{Unit: unit}).Timed(); got != want {
			t.Errorf("unit %q is a time: %v", unit, got)
		}
	}
	if !(lab.Gate{Unit: "×", Times: true}).Timed() {
		t.Error("a quotient of times is none of times")
	}
}
