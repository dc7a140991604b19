package metrics

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
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

// Why an event of a suite failed is one of six words, by what the error wraps.
func TestReasonsOfFailures(t *testing.T) {
	wrap := func(err error) error {
		return fmt.Errorf("saving: %w", &fs.PathError{Op: "write", Path: "state", Err: err})
	}
	for _, c := range []struct {
		kind observe.SuiteEventKind
		err  error
		want string
	}{
		{observe.StateSaved, wrap(syscall.ENOSPC), failureNoSpace},
		{observe.StateSaved, wrap(syscall.EDQUOT), failureNoSpace},
		{observe.StateSaved, wrap(syscall.EFBIG), failureNoSpace},
		{observe.StateSaved, wrap(syscall.EACCES), failurePermission},
		{observe.StateSaved, wrap(syscall.EROFS), failurePermission},
		{observe.StateRestored, wrap(syscall.ENOENT), failureNotFound},
		{observe.StateShared, context.DeadlineExceeded, failureTimeout},
		{observe.Reloaded, errors.New("field"), failureInvalid},
		{observe.Reloaded, wrap(syscall.ENOENT), failureNotFound},
		{observe.StateSaved, errors.New("else"), failureOther},
	} {
		if got, failed := failure(observe.SuiteEvent{Kind: c.kind, Result: observe.ResultFailed, Err: c.err}); got != c.want || !failed {
			t.Errorf("%v, %v: %q, failed %v; want %q", c.kind, c.err, got, failed, c.want)
		}
	}
	if got, failed := failure(observe.SuiteEvent{Kind: observe.Reloaded, Result: observe.ResultSuccess, Err: errors.New("x")}); got != "" || failed {
		t.Errorf("a success failed for %q", got)
	}
}

// One method and one target are a bound; none is the default.
func TestLeastBounds(t *testing.T) {
	for n, want := range map[int]bool{-1: false, 0: false, 1: true, 2: true} {
		s := readOptions([]Option{WithMaxMethods(n), WithMaxTargets(n)})
		if (s.maxMethods == n) != want || (s.maxTargets == n) != want {
			t.Errorf("%d: %d methods and %d targets", n, s.maxMethods, s.maxTargets)
		}
	}
}
