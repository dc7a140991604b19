package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/metrics"
)

// outage lets everything happen that a metric counts, and calls seen in the
// midst of it.
func outage(t *testing.T, seen func(*metrics.Metrics)) {
	a, b := target(t, "a"), target(t, "b")
	synctest.Test(t, func(t *testing.T) {
		fragile := steady
		fragile.Breaker = interceptors.Breaker{Consecutive: 1}
		poor := steady
		poor.Budget = interceptors.Budget{Ratio: 1, MinPerSecond: 0.001, Burst: 1}
		narrow := steady
		narrow.Limit = interceptors.Limit{MaxConcurrent: 1, MaxQueue: 1, MaxWait: 400 * time.Millisecond}
		m := metrics.New()
		c := newClient(t, m,
			interceptors.WithPolicy(steady),
			interceptors.WithMethodPolicy("/test.Fragile/*", fragile),
			interceptors.WithMethodPolicy("/test.Poor/*", poor),
			interceptors.WithMethodPolicy("/test.Limited/*", narrow),
			interceptors.WithFallback("/test.Fragile/Rescued", func(context.Context, string, any, any, error) error { return nil }),
		)
		ctx := t.Context()
		for range 5 {
			_ = c.call(ctx, a, hello)
		}
		_ = c.call(ctx, a, hello, codes.Unavailable, codes.OK)
		_ = c.call(ctx, a, hello, codes.Unavailable, codes.DeadlineExceeded, codes.OK)
		_ = c.call(ctx, a, hello, codes.Unavailable)
		_ = c.call(ctx, a, hello, codes.NotFound)
		_ = c.call(ctx, a, hello, codes.Unavailable, codes.Code(4711))
		_ = c.call(ctx, b, "/test.Fragile/Rescued", codes.Unavailable)
		_ = c.call(ctx, b, "/test.Poor/Call", codes.Unavailable)
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = c.call(short, b, bye, codes.Unavailable)
		_ = c.call(ctx, a, "/test.Fragile/Call", codes.Internal)
		_ = c.call(ctx, a, "/test.Fragile/Call")

		var running sync.WaitGroup
		for range 3 { // one goes, one waits in vain, one may not
			running.Go(func() { _ = c.call(ctx, a, "/test.Limited/Call", codes.Unavailable) })
			synctest.Wait()
		}
		running.Go(func() { _ = c.call(ctx, a, hello, codes.Unavailable) })
		time.Sleep(600 * time.Millisecond) // the first backoff is over
		running.Go(func() { _ = c.call(ctx, b, bye, codes.Unavailable) })
		running.Go(func() { _ = c.call(ctx, a, "/test.Limited/Call") }) // waits
		synctest.Wait()
		seen(m)
		running.Wait()
	})
}

func TestExposition(t *testing.T) {
	outage(t, func(m *metrics.Metrics) { golden(t, register(t, m), "outage") })
}

// What exists after the first call is what rate() and absent() can rely on.
func TestExpositionOfFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(metrics.WithConstLabels(prometheus.Labels{"client": "shop"}))
		_ = newClient(t, m).call(t.Context(), nil, hello)
		golden(t, register(t, m), "first_call")
	})
}

func TestLint(t *testing.T) {
	outage(t, func(m *metrics.Metrics) {
		problems, err := testutil.CollectAndLint(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
		if n, err := testutil.GatherAndCount(register(t, m)); err != nil || n < 40 {
			t.Errorf("%d series, %v: not much of a test", n, err)
		}
	})
}

func TestRegister(t *testing.T) {
	reg := register(t, metrics.New())
	var twice prometheus.AlreadyRegisteredError
	if err := reg.Register(metrics.New()); !errors.As(err, &twice) {
		t.Errorf("registered twice: %v", err)
	}
	labelled := metrics.New(metrics.WithConstLabels(prometheus.Labels{"client": "shop"}))
	if err := reg.Register(labelled); err == nil {
		t.Error("label names differ within a family: want the registry's error")
	}

	reg = register(t, labelled, metrics.New(metrics.WithConstLabels(prometheus.Labels{"client": "bar"})))
	if !reg.Unregister(labelled) {
		t.Error("not to be unregistered")
	}

	taken := metrics.New(metrics.WithConstLabels(prometheus.Labels{"function": "x"}))
	_ = newClient(t, taken).call(t.Context(), nil, hello, codes.NotFound) // does no harm
	if err := prometheus.NewRegistry().Register(taken); err == nil {
		t.Error("a const label that is a variable one too: want an error")
	}
}

func TestBackoffLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		c := newClient(t, m, interceptors.WithPolicy(steady))
		want := func(level float64) {
			t.Helper()
			synctest.Wait()
			if got := values(t, reg, "astra_retry_backoff_level"); got[hello] != level {
				t.Errorf("level %v, want %v", got, level)
			}
		}
		var calls sync.WaitGroup
		start := func(ctx context.Context) {
			calls.Go(func() { _ = c.call(ctx, nil, hello, codes.Unavailable) })
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()

		start(ctx) // backs off until 500 ms, then until 1500 ms
		want(1)
		time.Sleep(600 * time.Millisecond)
		want(2)
		start(t.Context()) // from 600 until 1100 ms, then until 2100 ms
		start(t.Context())
		want(2)
		cancel()
		want(1)
		time.Sleep(600 * time.Millisecond)
		want(2)
		time.Sleep(time.Second)
		want(0)
		calls.Wait()
		if n := values(t, reg, "astra_retry_delays_seconds")[hello]; n != 6 {
			t.Errorf("%v delays, want 6", n)
		}
	})
}

func TestEviction(t *testing.T) {
	a := target(t, "a")
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		c := newClient(t, m, interceptors.WithPolicy(steady))
		gauges := func(want string) {
			t.Helper()
			got := fmt.Sprint(values(t, reg, "astra_breaker_state"), values(t, reg, "astra_retry_budget_tokens"))
			if got != want {
				t.Errorf("gauges %s, want %s", got, want)
			}
		}
		_ = c.call(t.Context(), a, hello, codes.NotFound)
		gauges("map[" + hello + " passthrough:///a:0] map[passthrough:///a:50]")

		for i := range 3 { // the first look finds it used, the next does not
			time.Sleep(idle)
			_ = c.call(t.Context(), nil, fmt.Sprint(bye, i))
		}
		gauges("map[" + bye + "1 :0 " + bye + "2 :0] map[:50]")
		if got := values(t, reg, "astra_retry_attempts_total")["/helloworld.Greeter/SayHello NotFound failed"]; got != 1 {
			t.Errorf("%v attempts counted, want still 1", got)
		}
		_ = c.call(t.Context(), a, hello, codes.NotFound)
		if got := values(t, reg, "astra_retry_calls_total")[hello+" failed"]; got != 2 {
			t.Errorf("%v calls counted, want 2", got)
		}
		if got := len(values(t, reg, "astra_breaker_state")); got != 3 {
			t.Errorf("%v breakers, want 3", got)
		}
	})
}

func TestCardinality(t *testing.T) {
	m := metrics.New(metrics.WithMaxMethods(2), metrics.WithMaxTargets(1))
	reg := register(t, m)
	c := newClient(t, m, interceptors.WithPolicy(interceptors.Policy{
		Retry:   interceptors.Retry{MaxAttempts: 1},
		Breaker: interceptors.Breaker{Consecutive: 1},
	}))
	targets := []*grpc.ClientConn{target(t, "a"), target(t, "b"), target(t, "c")}
	for i := range 10 {
		for _, cc := range targets {
			_ = c.call(t.Context(), cc, fmt.Sprint("/s/", i))
		}
	}
	_ = c.call(t.Context(), targets[2], "/s/7", codes.Unavailable)

	for family, want := range map[string]map[string]float64{
		"astra_retry_attempts_total": {
			"/s/0 OK success": 3, "/s/1 OK success": 3, "other OK success": 24, "other Unavailable failed": 1,
		},
		"astra_retry_backoff_level": {"/s/0": 0, "/s/1": 0, "other": 0},
		"astra_breaker_state": {
			"/s/0 passthrough:///a": 0, "/s/0 other": 0, "/s/1 passthrough:///a": 0, "/s/1 other": 0,
			"other passthrough:///a": 0, "other other": 2,
		},
		"astra_breaker_transitions_total": {"closed other consecutive other open": 1},
	} {
		if got := counted(values(t, reg, family)); !maps.Equal(got, counted(want)) {
			t.Errorf("%s: %v, want %v", family, got, want)
		}
	}
	if got := values(t, reg, "astra_retry_target_attempts_total"); len(got) != 4 || got["success passthrough:///a"] != 10 || got["success other"] != 20 || got["failed other"] != 1 {
		t.Errorf("attempts of targets %v", got)
	}
}

// Bounds out of range are the defaults, and a nil option is none.
func TestDefaultBounds(t *testing.T) {
	m := metrics.New(metrics.WithMaxMethods(0), metrics.WithMaxTargets(-1), nil)
	c := newClient(t, m)
	for i := range 1100 {
		_ = c.call(t.Context(), nil, fmt.Sprint("/s/", i))
	}
	for i := range 110 {
		_ = c.call(t.Context(), target(t, fmt.Sprint(i)), hello)
	}
	reg := register(t, m)
	if n := len(values(t, reg, "astra_retry_exhaustions_total")); n != 1001 {
		t.Errorf("%d functions, want 1000 and the others", n)
	}
	if n := len(values(t, reg, "astra_retry_budget_tokens")); n != 101 {
		t.Errorf("%d targets, want 100 and the others", n)
	}
}

// Names that are no UTF-8 must not break the scrape.
func TestInvalidUTF8(t *testing.T) {
	m := metrics.New()
	c := newClient(t, m)
	_ = c.call(t.Context(), target(t, "\xff"), "/s/\xff", codes.NotFound)
	if got := values(t, register(t, m), "astra_breaker_state"); len(got) != 1 || got["/s/\uFFFD passthrough:///\uFFFD"] != 0 {
		t.Errorf("got %v", got)
	}
}

// Where suites meet, counters add up and gauges show the worst.
func TestSeveralSuites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		fragile := steady
		fragile.Breaker.Consecutive = 1
		for range 2 { // in both orders
			good, bad := newClient(t, m, interceptors.WithPolicy(steady)), newClient(t, m, interceptors.WithPolicy(fragile))
			_ = good.call(t.Context(), nil, hello)
			_ = bad.call(t.Context(), nil, hello, codes.Unavailable)
			_ = good.call(t.Context(), nil, hello)
		}
		reg := register(t, m)
		for family, want := range map[string]map[string]float64{
			"astra_breaker_state":           {hello + " ": 2},
			"astra_retry_exhaustions_total": {hello: 2},
		} {
			if got := values(t, reg, family); !maps.Equal(got, want) {
				t.Errorf("%s: %v, want %v", family, got, want)
			}
		}
		if got := values(t, reg, "astra_retry_budget_tokens")[""]; got >= 50 {
			t.Errorf("%v tokens, want the fewest", got)
		}
		if got := values(t, reg, "astra_retry_calls_total")[hello+" success_first"]; got != 4 {
			t.Errorf("%v good calls, want 4", got)
		}
	})
}

// The state is that of the moment: an idle breaker is half-open once its time
// is over, though no call has come.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		fragile := steady
		fragile.Breaker.Consecutive = 1
		c := newClient(t, m, interceptors.WithPolicy(fragile))
		state := func(want float64) {
			t.Helper()
			if got := values(t, reg, "astra_breaker_state")[hello+" "]; got != want {
				t.Errorf("state %v, want %v", got, want)
			}
		}
		_ = c.call(t.Context(), nil, hello, codes.Internal)
		state(2)
		time.Sleep(2 * time.Second)
		state(1)
		_ = c.call(t.Context(), nil, hello)
		state(0)
		want := map[string]float64{ // from, function, reason, target, to
			"closed " + hello + " consecutive  open":       1,
			"open " + hello + " open_time_over  half-open": 1,
			"half-open " + hello + " recovered  closed":    1,
		}
		if got := counted(values(t, reg, "astra_breaker_transitions_total")); !maps.Equal(got, want) {
			t.Errorf("transitions %v, want %v", got, want)
		}
		if err := c.Reload(interceptors.WithPolicy(interceptors.Policy{
			Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Disabled: true},
		})); err != nil {
			t.Fatal(err)
		}
		if n := len(values(t, reg, "astra_breaker_state")) + len(values(t, reg, "astra_retry_budget_tokens")); n != 0 {
			t.Errorf("%d gauges of what is turned off", n)
		}
	})
}

// Gauges of limits are of methods that have one, and of the moment; where
// endpoints share their labels they add up.
func TestLimits(t *testing.T) {
	targets := []*grpc.ClientConn{target(t, "a"), target(t, "b")}
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(metrics.WithMaxTargets(1))
		reg := register(t, m)
		p := steady
		p.Limit = interceptors.Limit{MaxConcurrent: 2, MaxQueue: 1}
		c := newClient(t, m, interceptors.WithMethodPolicy(hello, p), interceptors.WithMethodPolicy(bye, interceptors.Policy{Limit: interceptors.Limit{Rate: 1}}))
		want := func(family, want string) {
			t.Helper()
			if got := fmt.Sprint(values(t, reg, family)); got != "map["+want+"]" {
				t.Errorf("%s: %s, want %s", family, got, want)
			}
		}
		_ = c.call(t.Context(), nil, "/test.Unlimited/Call")
		_ = c.call(t.Context(), nil, bye)
		_ = c.call(t.Context(), nil, bye)
		var running sync.WaitGroup
		for i := range 7 { // a, b and other: one target and the others
			running.Go(func() { _ = c.call(t.Context(), targets[i%2], hello, codes.Unavailable, codes.OK) })
			synctest.Wait()
		}
		synctest.Wait()
		want("astra_limit_in_flight", bye+" :0 "+hello+" other:4")
		want("astra_limit_max", hello+" other:4")
		want("astra_limit_queued", bye+" :0 "+hello+" other:2")
		want("astra_limit_refused_total", bye+" queue_full:0 "+bye+" queue_timeout:0 "+bye+" rate_limited:1 "+
			hello+" queue_full:1 "+hello+" queue_timeout:0 "+hello+" rate_limited:0")
		running.Wait()
		want("astra_limit_in_flight", bye+" :0 "+hello+" other:0")
		want("astra_limit_queue_seconds", bye+":0 "+hello+":2")
		if got := values(t, reg, "astra_retry_calls_total")[hello+" rejected_limit"]; got != 1 {
			t.Errorf("%v calls rejected by the limit, want 1", got)
		}
		if err := c.Reload(); err != nil {
			t.Fatal(err)
		}
		want("astra_limit_in_flight", "")
		want("astra_limit_queue_seconds", bye+":0 "+hello+":2")
	})
}
