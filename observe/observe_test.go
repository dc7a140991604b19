package observe_test

import (
	"fmt"
	"testing"

	"github.com/astra-grpc/astra/observe"
)

// TestNames: each constant has a name of its own, zero is none, and what is past
// the last is invalid.
func TestNames(t *testing.T) {
	for _, tc := range []struct {
		of    func(n uint8) fmt.Stringer
		zero  string
		count int
	}{
		{func(n uint8) fmt.Stringer { return observe.Kind(n) }, "unknown", 18},
		{func(n uint8) fmt.Stringer { return observe.AttemptKind(n) }, "first", 4},
		{func(n uint8) fmt.Stringer { return observe.HedgeResult(n) }, "none", 4},
		{func(n uint8) fmt.Stringer { return observe.Outcome(n) }, "none", 8},
		{func(n uint8) fmt.Stringer { return observe.Reason(n) }, "none", 25},
		{func(n uint8) fmt.Stringer { return observe.BreakerState(n) }, "closed", 3},
		{func(n uint8) fmt.Stringer { return observe.SuiteEventKind(n) }, "unknown", 7},
		{func(n uint8) fmt.Stringer { return observe.SuiteResult(n) }, "unknown", 8},
	} {
		names := map[string]bool{}
		for n := range uint8(255) {
			if name := tc.of(n).String(); name != "invalid" {
				names[name] = true
			} else if int(n) != tc.count {
				t.Errorf("%T: %d names, want %d", tc.of(0), n, tc.count)
				break
			} else {
				break
			}
		}
		if len(names) != tc.count || names[""] || tc.of(0).String() != tc.zero || tc.of(255).String() != "invalid" {
			t.Errorf("%T: %v, the first %q; want %d, %q", tc.of(0), names, tc.of(0), tc.count, tc.zero)
		}
	}
}

func TestOutcomes(t *testing.T) {
	all := observe.Outcomes()
	for i, o := range all {
		if int(o) != i+1 {
			t.Errorf("%v at %d", o, i)
		}
	}
	if next := observe.Outcome(len(all) + 1); next.String() != "invalid" {
		t.Errorf("%v is missing", next)
	}
}
