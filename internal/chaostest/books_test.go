//go:build unix

package chaostest

import (
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
)

// tally is what came of a caller's calls.
type tally struct {
	calls, ok, attempts, executions int
	late                            time.Duration
	codes                           map[codes.Code]int
}

func (y tally) success() float64 { return float64(y.ok) / float64(max(y.calls, 1)) }

func (y tally) String() string {
	var ends []string
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if n := y.codes[c]; n > 0 {
			ends = append(ends, fmt.Sprintf("%v %d", c, n))
		}
	}
	return fmt.Sprintf("%d calls, %.1f %% OK, %d attempts, %d ran, latest %v past its deadline; %s",
		y.calls, 100*y.success(), y.attempts, y.executions, y.late.Round(time.Millisecond), strings.Join(ends, ", "))
}

// most is how many calls' faults are listed.
const most = 5

// audit sees that a caller's books are right, each call by itself.
func (c *caller) audit(t *testing.T, executions map[uint64]int, slack time.Duration) tally {
	t.Helper()
	y := tally{codes: map[codes.Code]int{}}
	faults := 0
	fault := func(k *call, format string, args ...any) {
		t.Helper()
		if faults++; faults <= most {
			t.Errorf("%s: %s %x, which ended with %v after %d attempts and ran %d times: %s",
				c.name, k.method, k.id, k.err, k.attempts.Load(), executions[k.id], fmt.Sprintf(format, args...))
		}
	}
	for _, k := range c.calls {
		attempts, times := int(k.attempts.Load()), executions[k.id]
		y.calls++
		y.attempts += attempts
		y.executions += times
		y.codes[k.code]++
		y.late = max(y.late, k.late)
		if k.err == nil {
			y.ok++
		}
		if n := k.finished.Load(); n != 1 && (n > 1 || k.err == nil) {
			fault(k, "OnFinish was called %d times, want once", n)
		}
		if !raceEnabled && k.late > slack {
			fault(k, "%v past its deadline, want %v at most", k.late, slack)
		}
		if k.wrong != "" {
			fault(k, "%s", k.wrong)
		}
		if k.err == nil && times == 0 {
			fault(k, "an answer of a call that never ran")
		}
		if times > attempts {
			fault(k, "more executions than attempts")
		}
		if times > 1 && !c.repeats {
			fault(k, "run again, though it may have run, and nobody asked for that")
		}
	}
	if c.suite != nil {
		c.auditSuite(t, y)
	}
	return y
}

// auditSuite compares what the suite reported with what was seen beneath it, and
// sees that it holds nothing any more.
func (c *caller) auditSuite(t *testing.T, y tally) {
	t.Helper()
	if got := int(c.seen.calls.Load()); got != y.calls {
		t.Errorf("%s: %d calls ended for the observer, %d for their callers", c.name, got, y.calls)
	}
	if got := int(c.seen.attempts.Load()); got != y.attempts {
		t.Errorf("%s: %d attempts ended for the observer, %d began beneath", c.name, got, y.attempts)
	}
	if b, q := c.seen.backoffs.Load(), c.seen.queued.Load(); b != 0 || q != 0 {
		t.Errorf("%s: %d backoffs and %d waits for the limit never ended", c.name, b, q)
	}
	for _, e := range c.seen.endpoints {
		if l, ok := e.LimitState(); ok && (l.InFlight != 0 || l.Queued != 0) {
			t.Errorf("%s: %s keeps %d slots and %d places in its queue", c.name, e.Method(), l.InFlight, l.Queued)
		}
	}
	if n := replayBytes(t, c); n != 0 {
		t.Errorf("%s: %d bytes are kept to be sent again", c.name, n)
	}
}

// replayBytes reads the ledger of what streams keep, which nothing exports.
func replayBytes(t *testing.T, c *caller) int64 {
	t.Helper()
	ledger := reflect.ValueOf(c.suite).Elem().FieldByName("replay")
	for ledger.IsValid() && ledger.Kind() == reflect.Struct { // atomic.Int64 within
		inner := ledger.FieldByName("Int64")
		if !inner.IsValid() {
			inner = ledger.FieldByName("v")
		}
		ledger = inner
	}
	if !ledger.IsValid() || !ledger.CanInt() {
		t.Fatal("interceptors.Suite has no field replay, an atomic.Int64, any more: read the bytes kept elsewhere")
	}
	return ledger.Int()
}

// breakerLag is how long a breaker may refuse calls after its server has failed for
// a while: the first open time, spread by a fifth, and a probe's time; or, as open
// times double when they run out in vain, one that is as long as all before it.
func breakerLag(fault time.Duration) time.Duration {
	return 1300*time.Millisecond + 2*fault
}

// pairs is what came of calls that two callers made at the same time.
type pairs struct {
	worse   int // bare gRPC was answered, the suite's caller was not
	better  int // the other way round
	refused int // of the worse: by a breaker, within its lag
}

// compare pairs the calls of a caller with those of bare gRPC.
func compare(suite, bare *caller, lag time.Duration) (p pairs) {
	number := func(k *call) uint64 { return k.id << 16 >> 16 }
	other := make(map[uint64]*call, len(bare.calls))
	var failures []time.Time
	for _, k := range bare.calls {
		other[number(k)] = k
		if k.err != nil {
			failures = append(failures, k.end)
		}
	}
	for _, k := range suite.calls {
		b := other[number(k)]
		switch {
		case b == nil || (b.err == nil) == (k.err == nil):
		case k.err == nil:
			p.better++
		default:
			p.worse++
			if errors.Is(k.err, interceptors.ErrBreakerOpen) && slices.ContainsFunc(failures, func(at time.Time) bool {
				return at.Before(k.end) && k.begin.Sub(at) < lag
			}) {
				p.refused++
			}
		}
	}
	return p
}

// noHarm sees that callers of a suite are answered as often as those without: of
// the pairs that differ, no more are worse than chance and a hundredth of all
// explain. What a breaker refuses within its lag is not held against it, but reported.
func noHarm(t *testing.T, name string, p pairs, calls int) {
	t.Helper()
	margin := 0.01*float64(calls) + 3*math.Sqrt(float64(p.worse-p.refused+p.better))
	if lost := float64(p.worse - p.refused - p.better); lost > margin {
		t.Errorf("%s is worse off than bare gRPC: of %d calls %d fewer were answered than chance explains", name, calls, int(lost-margin))
	}
}

// descriptors counts open files and sockets; 0 where that cannot be seen.
func descriptors() int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(all)
}

// settled waits until a count is back at what it was.
func settled(t *testing.T, what string, count func() int, before int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Second)
	for count() > before {
		select {
		case <-tick.C:
		case <-deadline:
			t.Errorf("%d %s, %d before", count(), what, before)
			return
		}
	}
}
