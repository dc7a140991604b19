package astratest_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/astra-grpc/astra/astratest"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// asking pays for a retry of each call.
var asking = interceptors.WithPolicy(interceptors.Policy{
	Retry:  interceptors.Retry{MaxAttempts: 6, Backoff: jitter.Backoff{Base: 50 * time.Millisecond}},
	Budget: interceptors.Budget{Ratio: 2},
})

func TestRunHealthy(t *testing.T) {
	r := astratest.Run(t, astratest.Healthy(find), asking)
	if len(r.Calls) != 500 || r.Success() != 1 || r.Amplification() != 1 || len(r.Changes) > 0 {
		t.Errorf("%v; want 500 successes with an attempt each", r)
	}
	if begin := r.Calls[499].Begin; begin != 499*20*time.Millisecond {
		t.Errorf("the last call began at %v, want 9.98s", begin)
	}
}

// A good policy does better than bare gRPC in each scenario, and by how much is
// known.
func TestScenarios(t *testing.T) {
	for _, c := range []struct {
		s              astratest.Scenario
		bare, suite    float64 // least success
		bareMost       float64
		repeats        bool
		recoversWithin time.Duration
	}{
		{s: astratest.Outage(find, 5*time.Second), bare: 0.75, bareMost: 0.77, suite: 0.70, repeats: true, recoversWithin: 5 * time.Second},
		{s: astratest.Unreachable(find, 2*time.Second), bare: 0.6, bareMost: 0.9, suite: 0.6, recoversWithin: 6 * time.Second},
		{s: astratest.OneBadBackend(find, 3), bare: 0.66, bareMost: 0.67, suite: 0.98, repeats: true},
		{s: astratest.LostReplies(find, 0.05), bare: 0.92, bareMost: 0.98, suite: 1, repeats: true},
		{s: astratest.Hangs(find, 0.02), bare: 0.95, bareMost: 0.995, suite: 0.95},
		{s: astratest.SlowReplies(find, 0.1, time.Second), bare: 1, bareMost: 1, suite: 1},
	} {
		t.Run(c.s.Name, func(t *testing.T) {
			bare, suite := astratest.Bare(t, c.s), astratest.Run(t, c.s, asking)
			if got := bare.Success(); got < c.bare || got > c.bareMost {
				t.Errorf("bare: %v; want %.3f to %.3f", bare, c.bare, c.bareMost)
			}
			if len(bare.Repeated()) > 0 {
				t.Errorf("bare gRPC repeats nothing here: %v", bare)
			}
			if got := suite.Success(); got < c.suite || len(suite.Repeated()) > 0 != c.repeats {
				t.Errorf("suite: %v; want %.3f, repeats %v", suite, c.suite, c.repeats)
			}
			d, ok := suite.Recovery()
			if ok != (c.recoversWithin > 0) || d > c.recoversWithin {
				t.Errorf("suite: %v; recovery %v %v, want within %v", suite, d, ok, c.recoversWithin)
			}
		})
	}
}

// What a result says is what happened to the calls.
func TestResult(t *testing.T) {
	s := astratest.Scenario{
		Name: "by hand", Method: find, Calls: 10, Every: time.Second,
		Faults: []astratest.Fault{
			{From: 2 * time.Second, To: 4 * time.Second, Step: astratest.Fail(codes.Internal, "")},
			{From: 4 * time.Second, To: 5 * time.Second, Step: astratest.Hang()},
		},
	}
	r := astratest.Bare(t, s)
	var ends []codes.Code
	for _, c := range r.Calls {
		ends = append(ends, c.Code)
		left := c.Code == codes.DeadlineExceeded // which of the two the server notices first, is open
		if len(c.Attempts) != 1 || c.Attempts[0].Code != c.Code && (!left || c.Attempts[0].Code != codes.Canceled) {
			t.Errorf("call %+v: want its one attempt", c)
		}
	}
	if want := []codes.Code{0, 0, 13, 13, 4, 0, 0, 0, 0, 0}; !slices.Equal(ends, want) {
		t.Errorf("calls ended with %v, want %v", ends, want)
	}
	if r.Success() != 0.7 || len(r.Failed()) != 3 || r.Latency(1) != 2*time.Second || r.Latency(0.5) != 0 {
		t.Errorf("%v, %v, %v", r, r.Latency(1), r.Latency(0.5))
	}
	if d, ok := r.Recovery(); d != 0 || !ok {
		t.Errorf("recovery %v %v, want at once", d, ok)
	}
	for _, want := range []string{"by hand", "70.0 % succeeded", "2 calls ended with Internal", "1 calls ended with DeadlineExceeded", "recovered after 0s"} {
		if !strings.Contains(r.String(), want) {
			t.Errorf("%q lacks %q", r, want)
		}
	}
	s.Faults[0].To = time.Hour
	if d, ok := astratest.Bare(t, s).Recovery(); ok {
		t.Errorf("recovered after %v from what did not end", d)
	}
}

func TestScenarioFaults(t *testing.T) {
	for want, s := range map[string]astratest.Scenario{
		`Method "Find" is not a full name`: {Method: "Find"},
		"is a stream":                      {Method: healthpb.Health_Watch_FullMethodName},
		"Calls -1 is out of range":         {Method: find, Calls: -1},
		"Faults[0].To 1s is not after":     {Method: find, Faults: []astratest.Fault{{From: 2 * time.Second, To: time.Second}}},
		"Faults[0].Share 2 is out of":      {Method: find, Faults: []astratest.Fault{{Share: 2}}},
		"has 1: want indices of the 1":     {Method: find, Faults: []astratest.Fault{{Backends: []int{1}}}},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
