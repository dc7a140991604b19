package astratest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/flakyserver"
)

// Attempt is what a server saw of one attempt.
type Attempt struct {
	Method   string
	Backend  int // its index among Backends; 0 of a Server alone
	Begin    time.Time
	Deadline time.Time // zero: none
	Metadata metadata.MD
	Previous int // what grpc-previous-rpc-attempts says; 0 without it, -1 if it is no number

	Received, Sent int // messages, so far

	// Of an attempt that has Ended: the status that the server gave; CANCELLED or
	// DEADLINE_EXCEEDED if the client gave it up, UNAVAILABLE if Reset.
	Ended bool
	End   time.Time
	Code  codes.Code
	Reset bool
}

func attemptOf(a flakyserver.Attempt, backend int) Attempt {
	return Attempt{
		Method: a.Method, Backend: backend, Begin: a.Time, Deadline: a.Deadline, Metadata: a.Metadata, Previous: a.Previous,
		Received: a.Received, Sent: a.Sent, Ended: a.Ended, End: a.End, Code: a.Code, Reset: a.Reset,
	}
}

// Waits returns the times from the end of each attempt to the beginning of the
// next: the backoffs, where attempts are made in turn. Where the next began
// before the end, as a hedge does, the time is negative.
func Waits(attempts []Attempt) (all []time.Duration) {
	for i := 1; i < len(attempts); i++ {
		if before := attempts[i-1]; before.Ended {
			all = append(all, attempts[i].Begin.Sub(before.End))
		} else {
			all = append(all, -1)
		}
	}
	return all
}

// WantAttempts fails the test unless there are n attempts.
func WantAttempts(tb testing.TB, attempts []Attempt, n int) {
	tb.Helper()
	if len(attempts) != n {
		tb.Errorf("%d attempts, want %d%s", len(attempts), n, list(attempts))
	}
}

// WantWaits fails the test unless the waits between the attempts are these,
// each within a share of it: 0.5 for the default jitter, 0 for jitter.None in a
// bubble of testing/synctest.
func WantWaits(tb testing.TB, attempts []Attempt, share float64, waits ...time.Duration) {
	tb.Helper()
	got := Waits(attempts)
	same := slices.EqualFunc(got, waits, func(got, want time.Duration) bool {
		return (got - want).Abs() <= time.Duration(share*float64(want))
	})
	if !same {
		tb.Errorf("attempts waited %v, want %v ± %v %%%s", got, waits, 100*share, list(attempts))
	}
}

// WantBackends fails the test unless the attempts went to these backends, in this
// order.
func WantBackends(tb testing.TB, attempts []Attempt, backends ...int) {
	tb.Helper()
	var got []int
	for _, a := range attempts {
		got = append(got, a.Backend)
	}
	if !slices.Equal(got, backends) {
		tb.Errorf("attempts went to the backends %v, want %v%s", got, backends, list(attempts))
	}
}

// WantCode fails the test unless err has this status code; OK is no error.
func WantCode(tb testing.TB, err error, want codes.Code) {
	tb.Helper()
	if got := status.Code(err); got != want {
		tb.Errorf("the call ended with %v (%v), want %v", got, err, want)
	}
}

// list shows attempts, for a test that failed.
func list(attempts []Attempt) string {
	const most = 20
	var b strings.Builder
	for i, a := range attempts {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(attempts)-most)
			break
		}
		fmt.Fprintf(&b, "\n  +%v backend %d, ", a.Begin.Sub(attempts[0].Begin), a.Backend)
		switch {
		case !a.Ended:
			b.WriteString("has not ended")
		case a.Reset:
			fmt.Fprintf(&b, "connection cut after %v", a.End.Sub(a.Begin))
		default:
			fmt.Fprintf(&b, "%v after %v", a.Code, a.End.Sub(a.Begin))
		}
	}
	return b.String()
}
