package metrics

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/astra-grpc/astra/observe"
)

// Why what a suite does beside calls can fail. An error's text is for the log.
const (
	failureNoSpace    = "no_space"   // the disk is full, or a quota or limit is used up
	failurePermission = "permission" // it may not be done, or the disk is read-only
	failureNotFound   = "not_found"  // a file or directory does not exist
	failureTimeout    = "timeout"
	failureInvalid    = "invalid" // the policies themselves have faults
	failureOther      = other
)

// failures are those that are known beforehand.
var failures = map[observe.SuiteEventKind][]string{
	observe.Reloaded:      {failureInvalid, failureNotFound, failurePermission},
	observe.StateRestored: {failurePermission, failureOther},
	observe.StateSaved:    {failureNoSpace, failurePermission, failureOther},
}

func newFailures(l prometheus.Labels) *prometheus.CounterVec {
	v := suiteFailuresTotal.counters(l)
	for kind, reasons := range failures {
		for _, r := range reasons {
			v.WithLabelValues(kind.String(), r)
		}
	}
	return v
}

// failure returns why an event failed; false if it did not.
func failure(e observe.SuiteEvent) (reason string, failed bool) {
	is := func(causes ...error) bool {
		for _, c := range causes {
			if errors.Is(e.Err, c) {
				return true
			}
		}
		return false
	}
	switch {
	case e.Result != observe.ResultFailed:
		return "", false
	case is(syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG):
		return failureNoSpace, true
	case is(fs.ErrPermission, syscall.EROFS):
		return failurePermission, true
	case is(fs.ErrNotExist):
		return failureNotFound, true
	case is(context.DeadlineExceeded):
		return failureTimeout, true
	case e.Kind == observe.Reloaded:
		return failureInvalid, true
	}
	return failureOther, true
}
