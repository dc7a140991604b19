package astratest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Result is the result of a scenario.
type Result struct {
	Scenario Scenario
	Calls    []Call   // in the order of their beginnings
	Changes  []Change // of the breakers

	begin time.Time
}

// Call is one call of a scenario.
type Call struct {
	Begin    time.Duration // since the first call
	Took     time.Duration
	Err      error // what the caller got
	Code     codes.Code
	Attempts []Attempt // that reached a backend
}

// assign gives each call its attempts.
func (r *Result) assign(attempts []Attempt) {
	for _, a := range attempts {
		id := a.Metadata.Get(callKey)
		if len(id) != 1 {
			continue
		}
		if i, err := strconv.Atoi(id[0]); err == nil && i >= 0 && i < len(r.Calls) {
			r.Calls[i].Attempts = append(r.Calls[i].Attempts, a)
		}
	}
}

// Failed returns the calls that failed.
func (r *Result) Failed() []Call { return r.where(func(c Call) bool { return c.Err != nil }) }

// Repeated returns the calls that reached a backend's application more than once:
// each may have run as often.
func (r *Result) Repeated() []Call {
	return r.where(func(c Call) bool { return len(c.Attempts) > 1 })
}

func (r *Result) where(is func(Call) bool) []Call {
	return slices.DeleteFunc(slices.Clone(r.Calls), func(c Call) bool { return !is(c) })
}

// Success returns the share of calls that succeeded, from 0 to 1.
func (r *Result) Success() float64 {
	return 1 - float64(len(r.Failed()))/float64(len(r.Calls))
}

// Amplification returns how many attempts reached a backend for each call.
func (r *Result) Amplification() float64 {
	n := 0
	for _, c := range r.Calls {
		n += len(c.Attempts)
	}
	return float64(n) / float64(len(r.Calls))
}

// Latency returns the time within which a share of the calls ended, failed ones
// included: 0.99 for the 99th percentile, 1 for the slowest.
func (r *Result) Latency(share float64) time.Duration {
	var all []time.Duration
	for _, c := range r.Calls {
		all = append(all, c.Took)
	}
	slices.Sort(all)
	return all[min(max(int(share*float64(len(all))), 0), len(all)-1)]
}

// Recovery returns the time from the end of the last fault to the beginning of
// the first call from which on all calls succeeded, to the pace of the calls; 0
// if all calls after the fault did. ok is false if the last call failed, or if
// no call began after the faults, as when a fault never ends.
func (r *Result) Recovery() (d time.Duration, ok bool) {
	var over time.Duration
	for _, f := range r.Scenario.Faults {
		if f.To == 0 {
			return 0, false
		}
		over = max(over, f.To)
	}
	for i, c := range r.Calls {
		switch {
		case c.Begin < over:
			continue
		case c.Err != nil:
			ok = false
		case !ok && i > 0 && r.Calls[i-1].Begin >= over:
			d, ok = c.Begin-over, true
		case !ok:
			d, ok = 0, true // the first after the faults
		}
	}
	return d, ok
}

// String returns the result in a few lines, for a test's log.
func (r *Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: %d calls, %.1f %% succeeded, %.2f attempts a call, %d repeated, p50 %v, p99 %v",
		r.Scenario.Name, r.Scenario.Method, len(r.Calls), 100*r.Success(), r.Amplification(), len(r.Repeated()), r.Latency(0.5), r.Latency(0.99))
	if d, ok := r.Recovery(); ok && len(r.Scenario.Faults) > 0 {
		fmt.Fprintf(&b, ", recovered after %v", d)
	}
	failed := map[codes.Code]int{}
	for _, c := range r.Failed() {
		failed[c.Code]++
	}
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if n := failed[c]; n > 0 {
			fmt.Fprintf(&b, "\n  %d calls ended with %v", n, c)
		}
	}
	for _, c := range r.Changes {
		fmt.Fprintf(&b, "\n  +%v breaker %v → %v (%v)", c.At.Sub(r.begin), c.From, c.To, c.Reason)
	}
	return b.String()
}
