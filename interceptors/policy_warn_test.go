package interceptors_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

func warningsOf(p interceptors.Policy) string {
	var b strings.Builder
	for _, w := range p.Warnings() {
		b.WriteString(w.Error() + "\n")
	}
	return b.String()
}

// TestWarnings has pairs of policies: one that warns, and the nearest that does
// not.
func TestWarnings(t *testing.T) {
	type policy = interceptors.Policy
	retry := func(n int, base time.Duration) interceptors.Retry {
		return interceptors.Retry{MaxAttempts: n, Backoff: jitter.Backoff{Base: base}}
	}
	hedge := func(n int, delay time.Duration) interceptors.Hedge {
		return interceptors.Hedge{MaxAttempts: n, Delay: delay}
	}
	for _, tc := range []struct {
		name, want string
		bad, good  policy
	}{
		{"attempts and backoffs against the timeout",
			"Retry.MaxAttempts: attempt 3 of 4 would begin 2.3s into the call, if each before it takes its AttemptTimeout, 1s, which ends at its Timeout, 2.3s",
			policy{Timeout: 2300 * ms, AttemptTimeout: time.Second, Retry: retry(4, 100*ms)},
			policy{Timeout: 3701 * ms, AttemptTimeout: time.Second, Retry: retry(4, 100*ms)}},
		{"backoffs against the timeout",
			"Retry.MaxAttempts: attempt 2 of 3 would begin 500ms into the call, for the backoffs alone, which ends at its Timeout, 500ms",
			policy{Timeout: 500 * ms}, policy{Timeout: 1501 * ms}},
		{"a code's backoff where nothing is retried",
			"Retry.PerCode: has no effect: MaxAttempts is 1, so nothing is retried",
			policy{Retry: interceptors.Retry{MaxAttempts: 1, PerCode: map[codes.Code]jitter.Backoff{codes.Unavailable: {}}}},
			policy{Retry: interceptors.Retry{MaxAttempts: 2, PerCode: map[codes.Code]jitter.Backoff{codes.Unavailable: {}}}}},
		{"a budget for fewer retries than a call makes",
			"Budget.Burst: 2 does not pay for the 3 retries that one call may make",
			policy{Retry: retry(4, ms), Budget: interceptors.Budget{Burst: 2}},
			policy{Retry: retry(4, ms), Budget: interceptors.Budget{Burst: 3}}},
		{"a budget that is off", "Budget.Burst: 1 does not pay for the 2 retries that one call may make",
			policy{Budget: interceptors.Budget{Burst: 1}}, policy{Budget: interceptors.Budget{Burst: 1, Disabled: true}}},
		{"a budget for fewer hedges", "Budget.Burst: 1 does not pay for the 2 hedges that one call may make",
			policy{Hedge: hedge(3, ms), Budget: interceptors.Budget{Burst: 1}},
			policy{Hedge: hedge(3, ms), Budget: interceptors.Budget{Burst: 2}}},
		{"a hedge later than the attempt lives",
			"Hedge.Delay: 1s is not shorter than AttemptTimeout, 1s: no hedge starts beside an attempt that is slow",
			policy{Hedge: hedge(2, time.Second), AttemptTimeout: time.Second},
			policy{Hedge: hedge(2, 999*ms), AttemptTimeout: time.Second}},
		{"a hedge later than the call lives",
			"Hedge.Delay: 1s is not shorter than Timeout, 1s: no hedge starts beside an attempt that is slow",
			policy{Hedge: hedge(2, time.Second), Timeout: time.Second},
			policy{Hedge: hedge(2, 999*ms), Timeout: time.Second}},
		{"more hedges than have time",
			"Hedge.MaxAttempts: 4 at intervals of Delay, 400ms, are more than can start within Timeout, 1s",
			policy{Hedge: hedge(4, 400*ms), Timeout: time.Second},
			policy{Hedge: hedge(3, 400*ms), Timeout: time.Second}},
		{"a slow call that the attempt's timeout ends first",
			"Breaker.SlowCall: 2s is longer than AttemptTimeout, 1s: no call is slow",
			policy{Breaker: interceptors.Breaker{SlowCall: 2 * time.Second}, AttemptTimeout: time.Second},
			policy{Breaker: interceptors.Breaker{SlowCall: time.Second}, AttemptTimeout: time.Second}},
		{"a slow call that the call's timeout ends first",
			"Breaker.SlowCall: 3s is longer than Timeout, 2s: no call is slow",
			policy{Breaker: interceptors.Breaker{SlowCall: 3 * time.Second}, Timeout: 2 * time.Second},
			policy{Breaker: interceptors.Breaker{SlowCall: 2 * time.Second}, Timeout: 2 * time.Second}},
		{"a window for slow calls",
			"Breaker.Window: 10s is less than twice SlowCall, 6s: slow calls seldom meet in it",
			policy{Breaker: interceptors.Breaker{SlowCall: 6 * time.Second}},
			policy{Breaker: interceptors.Breaker{SlowCall: 5 * time.Second}}},
		{"a window for attempts that time out",
			"Breaker.Window: 1s is less than twice AttemptTimeout, 600ms: attempts that time out seldom meet in it",
			policy{Breaker: interceptors.Breaker{Window: time.Second}, AttemptTimeout: 600 * ms},
			policy{Breaker: interceptors.Breaker{Window: time.Second}, AttemptTimeout: 500 * ms}},
		{"a breaker that is shut less than a backoff",
			"Breaker.OpenFor: 1s is over before the first backoff, 2s: the breaker gives the server less rest than one retry does",
			policy{Retry: retry(2, 2*time.Second)},
			policy{Retry: retry(2, 2*time.Second), Breaker: interceptors.Breaker{OpenFor: 2 * time.Second}}},
		{"a breaker that is off", "Breaker.OpenFor: 1s is over before the first backoff, 2s: the breaker gives the server less rest than one retry does",
			policy{Retry: retry(2, 2*time.Second)},
			policy{Retry: retry(2, 2*time.Second), Breaker: interceptors.Breaker{Disabled: true}}},
		{"a probe that outlives its place",
			"Timeout: none: a call can last 13.5s, but a probe's slot is freed after 10s, or after Timeout if that is longer",
			policy{AttemptTimeout: 4 * time.Second},
			policy{AttemptTimeout: 4 * time.Second, Timeout: 20 * time.Second}},
		{"a queue that uses up the timeout",
			"Limit.MaxWait: 2s is not shorter than Timeout, 2s: a call that waits so long has no time left",
			policy{Limit: interceptors.Limit{Rate: 1, MaxQueue: 1, MaxWait: 2 * time.Second}, Timeout: 2 * time.Second},
			policy{Limit: interceptors.Limit{Rate: 1, MaxQueue: 1, MaxWait: 1999 * ms}, Timeout: 2 * time.Second}},
		{"a fixed limit's endless queue",
			"Limit.MaxWait: none: when more calls come than the limit lets through, each waits in its queue until it has no time left, and hardly one succeeds",
			policy{Limit: interceptors.Limit{MaxConcurrent: 4, MaxQueue: 1}},
			policy{Limit: interceptors.Limit{MaxConcurrent: 4, MaxQueue: 1, MaxWait: time.Second}}},
		{"a rate's endless queue",
			"Limit.MaxWait: none: when more calls come than the limit lets through, each waits in its queue until it has no time left, and hardly one succeeds",
			policy{Limit: interceptors.Limit{Rate: 1, MaxQueue: 1}},
			policy{Limit: interceptors.Limit{Rate: 1, MaxQueue: 1, MaxWait: time.Second}}},
		{"an adaptive limit's endless queue",
			"Limit.MaxWait: none: when an adaptive limit shrinks, calls wait in its queue until they have no time left, and it cannot recover",
			policy{Limit: interceptors.Limit{MaxConcurrent: 9, Adaptive: true, MaxQueue: 1}},
			policy{Limit: interceptors.Limit{MaxConcurrent: 9, Adaptive: true, MaxQueue: 1, MaxWait: time.Second}}},
	} {
		for _, p := range []policy{tc.bad, tc.good} {
			if err := p.Validate(); err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
		}
		if got := warningsOf(tc.bad); got != tc.want+"\n" {
			t.Errorf("%s:\n%swant\n%s", tc.name, got, tc.want)
		}
		if got := warningsOf(tc.good); got != "" {
			t.Errorf("%s: the nearest policy that is well warns, too:\n%s", tc.name, got)
		}
	}
}

func TestNoWarningByDefault(t *testing.T) {
	for _, p := range []interceptors.Policy{
		{}, {Timeout: 5 * time.Second}, {Retry: interceptors.Retry{MaxAttempts: 1}}, {Retry: interceptors.Retry{MaxAttempts: 10}},
	} {
		if got := warningsOf(p); got != "" {
			t.Errorf("%+v warns:\n%s", p, got)
		}
	}
}

// TestWarningsOfAnything: whatever a policy holds, its warnings are finite
// sentences about its fields.
func TestWarningsOfAnything(t *testing.T) {
	durations := rapid.SampledFrom([]time.Duration{0, 1, ms, time.Second, time.Hour, math.MaxInt64 / 2, math.MaxInt64})
	rapid.Check(t, func(t *rapid.T) {
		d := func(name string) time.Duration { return durations.Draw(t, name) }
		p := interceptors.Policy{
			Timeout:        d("timeout"),
			AttemptTimeout: d("attempt timeout"),
			Retry:          interceptors.Retry{MaxAttempts: rapid.IntRange(0, 100).Draw(t, "attempts"), Backoff: jitter.Backoff{Base: d("base"), Max: d("max")}},
			Hedge:          interceptors.Hedge{MaxAttempts: rapid.IntRange(0, 10).Draw(t, "hedges"), Delay: d("delay")},
			Breaker:        interceptors.Breaker{SlowCall: d("slow")},
			Limit:          interceptors.Limit{MaxWait: d("wait")},
		}
		for _, w := range p.Warnings() {
			if w.Field == "" || strings.Contains(w.Problem, "-") {
				t.Fatalf("%+v: %s", p, w.Error())
			}
		}
	})
}

// TestWarningsOfMethods: by the names of methods and by descriptors, for the
// patterns that a policy is for.
func TestWarningsOfMethods(t *testing.T) {
	asked := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 3}}
	timed := interceptors.Policy{Timeout: time.Minute, Retry: interceptors.Retry{MaxAttempts: 1}}
	for _, tc := range []struct {
		name     string
		p        interceptors.Policy
		patterns []string
		want     string // in the one warning; "": none
	}{
		{"a write, repeated on demand", asked, []string{"/bank.Ledger/CreateEntry"}, "/bank.Ledger/CreateEntry act twice"},
		{"by default", interceptors.Policy{}, []string{"/bank.Ledger/CreateEntry"}, ""},
		{"as answered", interceptors.Policy{Retry: interceptors.Retry{Repeat: interceptors.RepeatAnswered}}, []string{"/bank.Ledger/CreateEntry"}, ""},
		{"once", interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}}, []string{"/bank.Ledger/CreateEntry"}, ""},
		{"a read", asked, []string{"/bank.Ledger/GetEntry", "/bank.Ledger/Settings", "/bank.Ledger/Address"}, ""},
		{"a verb alone", asked, []string{"/etcdserverpb.KV/Txn"}, "/etcdserverpb.KV/Txn act twice"},
		{"a service that nobody knows", asked, []string{"/bank.Ledger/*", "*"}, ""},
		{"streams, by descriptor", timed, []string{"/helloworld.Greeter/*"}, "SayHelloServerStream"},
		{"a stream, exactly", timed, []string{helloServer}, helloServer},
		{"a unary method", timed, []string{method}, ""},
		{"no pattern", timed, nil, ""},
	} {
		got := tc.p.Warnings(tc.patterns...)
		if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(got[0].Error(), tc.want)) {
			t.Errorf("%s: %v, want one that contains %q", tc.name, got, tc.want)
		}
	}
}
