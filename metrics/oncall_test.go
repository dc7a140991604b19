package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
)

// Whoever answers them, calls that the breaker refused are counted, and none else.
func TestRefusalsAreCounted(t *testing.T) {
	for _, rescue := range []bool{true, false} {
		m := metrics.New()
		reg := register(t, m)
		fragile := steady
		fragile.Breaker.Consecutive, fragile.Retry.MaxAttempts = 1, 1
		opts := []interceptors.Option{interceptors.WithPolicy(fragile)}
		if rescue {
			opts = append(opts, interceptors.WithFallback(hello, func(context.Context, string, any, any, error) error { return nil }))
		}
		c := newClient(t, m, opts...)
		_ = c.call(t.Context(), nil, hello)
		if got := values(t, reg, "astra_breaker_refused_total"); len(got) != 1 || got[hello+" "] != 0 {
			t.Errorf("fallback %v: %v before any was refused", rescue, got)
		}
		for range 6 {
			_ = c.call(t.Context(), nil, hello, codes.Unavailable)
		}
		if got := values(t, reg, "astra_breaker_refused_total")[hello+" "]; got != 5 {
			t.Errorf("fallback %v: %v refused, want 5", rescue, got)
		}
	}
}

// From the opening to the recovery the breaker is shown as open, with the time of
// the first opening, whatever its probes do.
func TestOpenUntilRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		fragile := steady
		fragile.Breaker.Consecutive, fragile.Retry.MaxAttempts = 1, 1
		c := newClient(t, m, interceptors.WithPolicy(fragile))
		want := func(open float64, since time.Time) {
			t.Helper()
			at := 0.0
			if !since.IsZero() {
				at = float64(since.UnixNano()) / 1e9
			}
			o, s := values(t, reg, "astra_breaker_open"), values(t, reg, "astra_breaker_open_since_seconds")
			if len(o) != 1 || o[hello+" "] != open || len(s) != 1 || s[hello+" "] != at {
				t.Errorf("open %v since %v, want %v since %v", o, s, open, at)
			}
		}
		_ = c.call(t.Context(), nil, hello)
		want(0, time.Time{})
		time.Sleep(time.Hour)
		opened := time.Now()
		_ = c.call(t.Context(), nil, hello, codes.Unavailable)
		want(1, opened)
		time.Sleep(2 * time.Second)
		want(1, opened) // half-open
		_ = c.call(t.Context(), nil, hello, codes.Unavailable)
		want(1, opened) // open again
		time.Sleep(time.Minute)
		_ = c.call(t.Context(), nil, hello)
		want(0, time.Time{})
		time.Sleep(time.Minute)
		again := time.Now()
		_ = c.call(t.Context(), nil, hello, codes.Unavailable)
		want(1, again)
	})
}

// Where suites meet, one that has failed and not been mended counts.
func TestLastReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		begin := time.Now()
		want := func(successful float64, at time.Time) {
			t.Helper()
			s, when := values(t, reg, "astra_config_last_reload_successful")[""], values(t, reg, "astra_config_last_reload_success_timestamp_seconds")[""]
			if s != successful || when != float64(at.UnixNano())/1e9 {
				t.Errorf("successful %v, at %v; want %v at %v", s, when, successful, at.Unix())
			}
		}
		want(1, begin)
		a, b := newClient(t, m), newClient(t, m)
		time.Sleep(time.Minute)
		a.ReloadFailed(errors.New("faulty"))
		want(0, begin)
		if err := b.Reload(); err != nil {
			t.Fatal(err)
		}
		mended := time.Now()
		want(0, mended)
		_ = b.Close()
		want(0, mended)
		time.Sleep(time.Minute)
		if err := a.Reload(); err != nil {
			t.Fatal(err)
		}
		mended = time.Now()
		want(1, mended)
		a.ReloadFailed(errors.New("faulty again"))
		want(0, mended)
		_ = a.Close()
		want(1, mended)
	})
}

// A method's first call makes all of its series, and New those of suites: what
// happens later adds none.
func TestSeriesBeginAtZero(t *testing.T) {
	series := func(m *metrics.Metrics) (all []string) {
		families, err := register(t, m).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, s := range f.GetMetric() {
				all = append(all, fmt.Sprint(f.GetName(), s.GetLabel()))
			}
		}
		slices.Sort(all)
		return all
	}
	fresh := metrics.New()
	for _, e := range []struct {
		kind    observe.SuiteEventKind
		results []observe.SuiteResult
	}{
		{observe.Reloaded, []observe.SuiteResult{observe.ResultSuccess, observe.ResultFailed}},
		{observe.StateRestored, []observe.SuiteResult{observe.ResultSuccess, observe.ResultAbsent, observe.ResultStale, observe.ResultRejected, observe.ResultFailed}},
		{observe.StateSaved, []observe.SuiteResult{observe.ResultSuccess, observe.ResultFailed}},
	} {
		before := series(fresh)
		for _, r := range e.results {
			fresh.SuiteEvent(observe.SuiteEvent{Kind: e.kind, Result: r})
		}
		if after := series(fresh); !slices.Equal(before, after) {
			t.Errorf("%v: %d series, then %d", e.kind, len(before), len(after))
		}
	}

	o := &tap{Metrics: metrics.New()}
	c := newClient(t, o)
	_ = c.call(t.Context(), nil, hello)
	before := series(o.Metrics)
	send := func(e observe.Event) { o.hooks.Event(t.Context(), e) }
	for code := codes.Canceled; code < 30; code++ {
		send(observe.Event{Kind: observe.AttemptEnd, Code: code, Err: errors.New("failed"), AttemptKind: observe.AttemptKind(code % 4)})
	}
	for _, outcome := range observe.Outcomes() {
		send(observe.Event{Kind: observe.CallEnd, Outcome: outcome, Exhausted: true, Reason: observe.ReasonBreakerOpen})
	}
	for r := observe.ReasonNotRetryable; r <= observe.ReasonAmbiguous; r++ {
		send(observe.Event{Kind: observe.Suppressed, Reason: r})
	}
	for r := observe.HedgeWon; r <= observe.HedgeSuppressed; r++ {
		send(observe.Event{Kind: observe.Hedged, Hedge: r})
	}
	send(observe.Event{Kind: observe.BackoffStart, Attempt: 1})
	send(observe.Event{Kind: observe.WouldRefuse, Outcome: observe.RejectedBreaker, Reason: observe.ReasonBreakerOpen})
	send(observe.Event{Kind: observe.Replayed, Messages: 1})
	if after := series(o.Metrics); !slices.Equal(before, after) {
		t.Errorf("series that were not there before:\n%s", strings.Join(slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) }), "\n"))
	}
}

// TestTransitionsBeginAtZero drives a real breaker through what can happen to it.
func TestTransitionsBeginAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		fragile := steady
		fragile.Breaker.Consecutive, fragile.Retry.MaxAttempts = 1, 1
		c := newClient(t, m, interceptors.WithPolicy(fragile))
		_ = c.call(t.Context(), nil, hello)
		before := values(t, reg, "astra_breaker_transitions_total")
		for _, end := range []codes.Code{codes.Unavailable, codes.Unavailable, codes.OK} {
			_ = c.call(t.Context(), nil, hello, end)
			time.Sleep(time.Minute)
		}
		after := values(t, reg, "astra_breaker_transitions_total")
		if len(before) != len(after) || len(counted(before)) != 0 || len(counted(after)) != 4 {
			t.Errorf("transitions before %v, after %v", before, after)
		}
	})
}

// A method's first call makes the series of its breaker's transitions, not the first
// scrape after it: a transition before that is an increase, too.
func TestTransitionsBeginWithTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		c := newClient(t, m, interceptors.WithPolicy(steady))
		called := time.Now()
		_ = c.call(t.Context(), nil, hello)
		time.Sleep(15 * time.Second)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		series := 0
		for _, f := range families {
			if f.GetName() != "astra_breaker_transitions_total" {
				continue
			}
			for _, s := range f.GetMetric() {
				series++
				if at := s.GetCounter().GetCreatedTimestamp().AsTime(); !at.Equal(called) {
					t.Errorf("%v began %v after the first call", s.GetLabel(), at.Sub(called))
				}
			}
		}
		if series == 0 {
			t.Error("no series of transitions")
		}
	})
}

// A breaker that a reload turns on begins at zero, too, with the next scrape.
func TestTransitionsOfAReloadBeginAtZero(t *testing.T) {
	m := metrics.New()
	reg := register(t, m)
	off := steady
	off.Breaker.Disabled = true
	c := newClient(t, m, interceptors.WithPolicy(off))
	_ = c.call(t.Context(), nil, hello)
	if got := values(t, reg, "astra_breaker_transitions_total"); len(got) != 0 {
		t.Errorf("transitions of no breaker: %v", got)
	}
	if err := c.Reload(interceptors.WithPolicy(steady)); err != nil {
		t.Fatal(err)
	}
	if got := values(t, reg, "astra_breaker_transitions_total"); len(got) == 0 || len(counted(got)) != 0 {
		t.Errorf("transitions %v once there is a breaker, want some, and all of them zero", got)
	}
}

// budgeted is an endpoint with a budget of its own.
type budgeted struct {
	balanced
	budget observe.BudgetStatus
}

func (b *budgeted) Budget() (observe.BudgetStatus, bool) { return b.budget, true }

// Where budgets share a target's labels, the one with the fewest tokens is shown, and
// the earliest time at which any of them ran empty, be it another's.
func TestBudgetsThatMeet(t *testing.T) {
	m := metrics.New()
	reg := register(t, m)
	ranEmpty := time.Unix(1000, 0)
	for _, b := range []observe.BudgetStatus{
		{Tokens: 20, Capacity: 40, EmptySince: ranEmpty},
		{Tokens: 5, Capacity: 10, EmptySince: ranEmpty.Add(time.Minute)},
		{Tokens: 30, Capacity: 30},
	} {
		m.Observe(observe.NewEndpoint(&budgeted{balanced{target: "dns:///x", method: hello}, b}))
	}
	for range 10 { // they are read in any order
		for family, want := range map[string]float64{
			"astra_retry_budget_tokens":              5,
			"astra_retry_budget_capacity":            10,
			"astra_retry_budget_empty_since_seconds": 1000,
		} {
			if got := values(t, reg, family); !maps.Equal(got, map[string]float64{"dns:///x": want}) {
				t.Errorf("%s: %v, want %v", family, got, want)
			}
		}
	}
}

// hist is what a test looks at in a histogram.
type hist struct {
	count  uint64
	sum    float64
	bounds []float64
	counts []uint64 // up to these
	native bool     // it has native buckets

	schema  int32 // of the native buckets: their width
	buckets int   // native ones
}

// histogram returns a family's only member with these label values.
func histogram(t *testing.T, g prometheus.Gatherer, family string, labels ...string) (h hist) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if f.GetName() != family || !slices.Equal(have, labels) {
				continue
			}
			of := m.GetHistogram()
			h = hist{count: of.GetSampleCount(), sum: of.GetSampleSum(), native: len(of.GetPositiveSpan()) > 0, schema: of.GetSchema(), buckets: len(of.GetPositiveDelta())}
			for _, b := range of.GetBucket() {
				h.bounds, h.counts = append(h.bounds, b.GetUpperBound()), append(h.counts, b.GetCumulativeCount())
			}
			return h
		}
	}
	t.Fatalf("no %s with %v", family, labels)
	return h
}

func TestDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(metrics.WithDurations(metrics.Durations{Buckets: []float64{3, 1, 0.25, 1, -1}}))
		reg := register(t, m)
		c := newClient(t, m, interceptors.WithPolicy(steady))
		_ = c.call(t.Context(), nil, hello)
		_ = c.call(t.Context(), nil, hello, codes.Unavailable, codes.Unavailable, codes.OK) // 1.5 s of backoffs
		_ = c.call(t.Context(), nil, hello, codes.NotFound)
		h := histogram(t, reg, "astra_retry_call_seconds", hello, "success")
		if !slices.Equal(h.bounds, []float64{0.25, 1, 3}) || h.count != 2 || h.sum != 1.5 || h.counts[1] != 1 {
			t.Errorf("calls that succeeded: %+v", h)
		}
		if h := histogram(t, reg, "astra_retry_call_seconds", hello, "failed"); h.count != 1 || h.sum != 0 {
			t.Errorf("calls that failed: %+v", h)
		}
		for outcome, want := range map[string]uint64{"success": 2, "failed": 3} {
			if h := histogram(t, reg, "astra_retry_attempt_seconds", hello, outcome); h.count != want || h.sum != 0 {
				t.Errorf("attempts, %s: %+v, want %d of no length", outcome, h, want)
			}
		}
		want := map[string]float64{hello + " success_first": 1, hello + " success_after_retry": 1, hello + " failed": 1}
		if got := counted(values(t, reg, "astra_retry_calls_total")); !maps.Equal(got, want) {
			t.Errorf("calls %v, want %v", got, want)
		}
	})
}

// An attempt's time is its own: not that of the backoff before it.
func TestAttemptDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(metrics.WithDurations(metrics.Durations{}))
		reg := register(t, m)
		c := newClient(t, m, interceptors.WithPolicy(steady))
		n := 0
		if err := c.intercept(t.Context(), hello, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			time.Sleep(20 * time.Millisecond)
			if n++; n < 3 {
				return status.Error(codes.Unavailable, "scripted")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for outcome, want := range map[string]float64{"success": 0.02, "failed": 0.04} {
			h := histogram(t, reg, "astra_retry_attempt_seconds", hello, outcome)
			if h.sum != want || len(h.bounds) != 14 {
				t.Errorf("%s: %+v, want %v s in 14 buckets", outcome, h, want)
			}
		}
		if h := histogram(t, reg, "astra_retry_call_seconds", hello, "success"); h.sum != 1.56 {
			t.Errorf("calls: %+v, want 1.56 s", h)
		}
	})
}

func TestNativeDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(metrics.WithDurations(metrics.Durations{Native: true}))
		reg := register(t, m)
		c := newClient(t, m, interceptors.WithPolicy(steady))
		_ = c.call(t.Context(), nil, hello, codes.Unavailable, codes.OK)
		h := histogram(t, reg, "astra_retry_call_seconds", hello, "success")
		if !h.native || len(h.bounds) != 0 || h.sum != 0.5 {
			t.Errorf("%+v, want a native histogram alone", h)
		}
	})
}

// Native buckets are a tenth wider than one another. With more than 160 they are made
// wider, but not for good: an hour after they began, they begin anew.
func TestNativeDurationsStayFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &tap{Metrics: metrics.New(metrics.WithDurations(metrics.Durations{Native: true}))}
		reg := register(t, o)
		_ = newClient(t, o).call(t.Context(), nil, hello)
		ended := func(took time.Duration) {
			o.hooks.Event(t.Context(), observe.Event{Kind: observe.CallEnd, Code: codes.NotFound, Outcome: observe.Failed, Elapsed: took})
		}
		most := 0
		fine := func() bool {
			h := histogram(t, reg, "astra_retry_call_seconds", hello, "failed")
			most = max(most, h.buckets)
			return h.schema == 3 // each is 2^(1/8) of the one before
		}
		for took := time.Microsecond; took < 2*time.Second; took += took / 20 {
			ended(took)
			if took > 900*time.Millisecond && !fine() && most < 160 { // of which 160 are 20 octaves
				t.Fatalf("%d buckets, which are wider, at %v", most, took)
			}
		}
		if fine() || most != 160 {
			t.Errorf("%d buckets at most, want 160, and wider ones then", most)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if ended(time.Second); !fine() {
			t.Error("buckets are wider for good")
		}
	})
}

func TestDelayBuckets(t *testing.T) {
	more := []float64{0.05, 0.01, 0.1, 0, 60}
	wanted := metrics.WithDelayBuckets(more...)
	clear(more) // the caller's again
	m := metrics.New(wanted)
	_ = newClient(t, m).call(t.Context(), nil, hello)
	got := histogram(t, register(t, m), "astra_retry_delays_seconds", hello).bounds
	if want := []float64{0.01, 0.05, 0.1, 0.5, 1, 2, 4, 8, 16, 60}; !slices.Equal(got, want) {
		t.Errorf("bounds %v, want %v", got, want)
	}
}
