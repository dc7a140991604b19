package metrics

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
)

// gRPC's 17 codes are themselves, any other number is UNKNOWN.
func TestCodesAreBounded(t *testing.T) {
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if got := grpcCode(c); got != c.String() {
			t.Errorf("%v is counted as %q", c, got)
		}
	}
	for _, c := range []codes.Code{17, 1 << 31} {
		if got := grpcCode(c); got != codes.Unknown.String() {
			t.Errorf("%d is counted as %q", c, got)
		}
	}
}

// The default buckets of durations are 14, from 1 ms to 30 s, in order.
func TestDefaultBuckets(t *testing.T) {
	b := durationBuckets
	if len(b) != 14 || b[0] != 0.001 || b[13] != 30 || !slices.Contains(b, 1) || !slices.Contains(b, 10) || !slices.Contains(b, 5) {
		t.Errorf("%v", b)
	}
	if !slices.Equal(bounds(b...), b) {
		t.Errorf("%v are out of order, or no bounds", b)
	}
}
