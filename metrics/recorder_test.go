package metrics_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
)

var exemplarLine = regexp.MustCompile(`(?m)^(\w+)\{(.*?)\} \S+ # \{trace_id="([0-9a-f]+)"\}`)

func TestExemplars(t *testing.T) {
	span := trace.SpanContextConfig{TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4}}
	unsampled := trace.NewSpanContext(span)
	span.TraceFlags = trace.FlagsSampled
	sampled := trace.NewSpanContext(span)

	for name, c := range map[string]struct {
		span trace.SpanContext
		want []string
	}{
		"sampled": {sampled, []string{
			"astra_retry_attempts_total failed",
			"astra_retry_calls_total failed",
			"astra_retry_calls_total success_after_retry",
			"astra_retry_delays_seconds_bucket 0.5",
			"astra_retry_delays_seconds_bucket 1.0",
			"astra_retry_exhaustions_total ",
		}},
		"not sampled": {unsampled, nil},
		"no span":     {trace.SpanContext{}, nil},
		"no trace":    {sampled.WithTraceID(trace.TraceID{}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := metrics.New()
				client := newClient(t, m, interceptors.WithPolicy(steady))
				ctx := trace.ContextWithSpanContext(t.Context(), c.span)
				_ = client.call(ctx, nil, hello)
				_ = client.call(ctx, nil, hello, codes.Unavailable, codes.OK)
				_ = client.call(ctx, nil, hello, codes.Unavailable)
				_ = client.call(t.Context(), nil, hello, codes.Unavailable) // leaves them as they are

				text := scrape(t, register(t, m), "application/openmetrics-text; version=1.0.0")
				var got []string
				for _, line := range exemplarLine.FindAllStringSubmatch(text, -1) {
					if id := c.span.TraceID().String(); line[3] != id {
						t.Errorf("trace %s, want %s", line[3], id)
					}
					_, rest, _ := strings.Cut(line[2], `outcome="`)
					_, le, _ := strings.Cut(line[2], `le="`)
					got = append(got, line[1]+" "+strings.TrimSuffix(rest+le, `"`))
				}
				slices.Sort(got)
				if !slices.Equal(got, c.want) {
					t.Errorf("exemplars %q, want %q in:\n%s", got, c.want, text)
				}
			})
		})
	}
}

// How a scripted attempt ends, beside the codes.
const (
	panics codes.Code = 100 + iota
	exits             // runtime.Goexit
	cancels
)

// script is what a call's attempts end with; OK when it is at its end.
type script struct {
	ends   []codes.Code
	cancel context.CancelFunc
}

// tally counts what attempts ended with, as a server would.
type tally struct {
	mu       sync.Mutex
	attempts map[string]float64
}

func (y *tally) count(outcome string, c codes.Code) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.attempts[hello+" "+c.String()+" "+outcome]++
}

func (y *tally) invoker(s *script) grpc.UnaryInvoker {
	return func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		end := codes.OK
		if len(s.ends) > 0 {
			end, s.ends = s.ends[0], s.ends[1:]
		}
		switch end {
		case codes.OK:
			y.count("success", codes.OK)
			return nil
		case panics:
			y.count("failed", codes.Unknown)
			panic("scripted")
		case exits:
			y.count("failed", codes.Unknown)
			runtime.Goexit()
		case cancels:
			s.cancel()
			end = codes.Canceled
		}
		y.count("failed", end)
		return status.Error(end, "scripted")
	}
}

// Whatever happens to calls, each counts once, and each of its attempts.
func TestExactlyOnce(t *testing.T) {
	ends := rapid.SliceOfN(rapid.SampledFrom([]codes.Code{
		codes.OK, codes.Unavailable, codes.Unavailable, codes.Unavailable, codes.DeadlineExceeded,
		codes.NotFound, codes.Canceled, panics, exits, cancels,
	}), 0, 6)
	rapid.Check(t, func(rt *rapid.T) {
		p := interceptors.Policy{
			Retry: interceptors.Retry{
				MaxAttempts: rapid.IntRange(1, 5).Draw(rt, "max attempts"),
				Backoff:     jitter.Backoff{Base: 1, Max: 20 * time.Microsecond, Multiplier: 20},
			},
			Breaker: interceptors.Breaker{
				Disabled:    rapid.Bool().Draw(rt, "no breaker"),
				Consecutive: rapid.IntRange(1, 5).Draw(rt, "consecutive"),
				OpenFor:     time.Millisecond,
			},
			Budget: interceptors.Budget{Burst: float64(rapid.IntRange(1, 20).Draw(rt, "burst"))},
		}
		opts := []interceptors.Option{interceptors.WithPolicy(p)}
		if rapid.Bool().Draw(rt, "fallback") {
			var n atomic.Int32
			opts = append(opts, interceptors.WithFallback(hello, func(_ context.Context, _ string, _, _ any, err error) error {
				if n.Add(1)%2 == 0 {
					return nil
				}
				return err
			}))
		}
		scripts := rapid.SliceOfN(ends, 1, 40).Draw(rt, "scripts")

		m := metrics.New()
		reg := register(t, m)
		c := newClient(t, m, opts...)
		y := &tally{attempts: map[string]float64{}}
		var good atomic.Int32
		var calls sync.WaitGroup
		for _, ends := range scripts {
			calls.Go(func() {
				defer func() { _ = recover() }()
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				s := &script{ends: slices.Clone(ends), cancel: cancel}
				if c.intercept(ctx, hello, nil, nil, nil, y.invoker(s)) == nil {
					good.Add(1)
				}
			})
		}
		if _, err := reg.Gather(); err != nil { // while they run
			rt.Error(err)
		}
		calls.Wait()

		attempts := counted(values(t, reg, "astra_retry_attempts_total"))
		outcomes := values(t, reg, "astra_retry_calls_total")
		delays := values(t, reg, "astra_retry_delays_seconds")[hello]
		saved := outcomes[hello+" success_first"] + outcomes[hello+" success_after_retry"]
		if fmt.Sprint(attempts) != fmt.Sprint(y.attempts) {
			rt.Errorf("attempts %v, but made %v", attempts, y.attempts)
		}
		if got := sum(outcomes); got != float64(len(scripts)) {
			rt.Errorf("%v calls, but made %d: %v", got, len(scripts), outcomes)
		}
		if got := attempts[hello+" OK success"]; got != saved {
			rt.Errorf("%v attempts succeeded, but %v calls", got, saved)
		}
		if got := saved + outcomes[hello+" fallback"]; got != float64(good.Load()) {
			rt.Errorf("%v calls without error, but %d returned none", got, good.Load())
		}
		if made := sum(attempts); made > float64(len(scripts))+delays {
			rt.Errorf("%v attempts of %d calls with %v backoffs", made, len(scripts), delays)
		}
		if got := values(t, reg, "astra_retry_exhaustions_total")[hello]; got > outcomes[hello+" failed"]+outcomes[hello+" fallback"] {
			rt.Errorf("%v exhaustions, but calls %v", got, outcomes)
		}
		if got := values(t, reg, "astra_retry_backoff_level")[hello]; got != 0 {
			rt.Errorf("level %v after all", got)
		}
	})
}

func newHooks(t testing.TB) (observe.Hooks, *metrics.Metrics) {
	o := &tap{Metrics: metrics.New()}
	_ = newClient(t, o).call(context.Background(), nil, hello)
	return o.hooks, o.Metrics
}

func TestSuccessAllocs(t *testing.T) {
	r, _ := newHooks(t)
	if n := testing.AllocsPerRun(1000, func() { r.FirstSuccess(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Every shard counts, whatever its number.
func TestShards(t *testing.T) {
	r, m := newHooks(t)
	const workers, each = 8, 1000
	var done sync.WaitGroup
	for w := range uint32(workers) {
		done.Go(func() {
			for i := range uint32(each) {
				r.FirstSuccess(w - i) // also the largest
			}
		})
	}
	done.Wait()
	reg := register(t, m)
	for _, family := range []string{"astra_retry_attempts_total", "astra_retry_calls_total"} {
		if got := sum(values(t, reg, family)); got != 1+workers*each {
			t.Errorf("%s: %v, want %v", family, got, 1+workers*each)
		}
	}
}

// plain leaves Event alone, as a wrapper may.
type plain struct{ *metrics.Metrics }

func (o plain) Observe(e observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: o.Metrics.Observe(e).Event}
}

// Without FirstSuccess everything counts the same.
func TestDecorated(t *testing.T) {
	m := metrics.New()
	if err := newClient(t, plain{m}).call(context.Background(), nil, hello); err != nil {
		t.Fatal(err)
	}
	reg := register(t, m)
	for _, family := range []string{"astra_retry_attempts_total", "astra_retry_calls_total", "astra_retry_attempt_kinds_total"} {
		if got := sum(values(t, reg, family)); got != 1 {
			t.Errorf("%s: %v, want 1", family, got)
		}
	}
}

func BenchmarkRecorderSuccess(b *testing.B) {
	b.Run("serial", func(b *testing.B) {
		r, _ := newHooks(b)
		b.ReportAllocs()
		for b.Loop() {
			r.FirstSuccess(1)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		r, _ := newHooks(b)
		var shard atomic.Uint32
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			own := shard.Add(1)
			for pb.Next() {
				r.FirstSuccess(own)
			}
		})
	})
}

func TestReloadsAreCounted(t *testing.T) {
	m := metrics.New()
	reg := register(t, m)
	c := newClient(t, m)
	for _, timeout := range []time.Duration{1, -1, 2} {
		_ = c.Reload(interceptors.WithPolicy(interceptors.Policy{Timeout: timeout}))
	}
	if got := values(t, reg, "astra_config_reloads_total"); got["success"] != 2 || got["failed"] != 1 {
		t.Errorf("counted %v, want 2 that succeeded and 1 that failed", got)
	}
}

func TestHedgesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := register(t, m)
		c := newClient(t, m, interceptors.WithMethodPolicy(hello, interceptors.Policy{
			Hedge:  interceptors.Hedge{MaxAttempts: 2, Delay: time.Second},
			Budget: interceptors.Budget{Burst: 2, MinPerSecond: 1e-9},
		}))
		_ = c.call(t.Context(), nil, hello, codes.Unavailable, codes.OK)
		_ = c.call(t.Context(), nil, hello, codes.Unavailable)
		_ = c.call(t.Context(), nil, hello, codes.Unavailable)
		_ = c.call(t.Context(), nil, hello, codes.OK)
		for family, want := range map[string]map[string]float64{
			"astra_retry_hedges_total":        {hello + " won": 1, hello + " lost": 1, hello + " suppressed": 1},
			"astra_retry_attempt_kinds_total": {hello + " first": 4, hello + " retry": 0, hello + " hedge": 2},
			"astra_retry_calls_total": {hello + " success_first": 1, hello + " success_hedge": 1, hello + " failed": 2, hello + " success_after_retry": 0,
				hello + " rejected_breaker": 0, hello + " rejected_limit": 0, hello + " fallback": 0},
			"astra_retry_exhaustions_total": {hello: 1},
		} {
			if got := counted(values(t, reg, family)); !maps.Equal(got, counted(want)) {
				t.Errorf("%s counts %v, want %v", family, got, want)
			}
		}
	})
}

func TestStateIsCounted(t *testing.T) {
	m := metrics.New()
	reg := register(t, m)
	for kind, family := range map[observe.SuiteEventKind]string{
		observe.StateRestored: "astra_state_restores_total",
		observe.StateSaved:    "astra_state_saves_total",
		observe.StateShared:   "astra_state_reports_total",
		observe.Steered:       "astra_suite_steered_total",
		99:                    "",
	} {
		m.SuiteEvent(observe.SuiteEvent{Kind: kind, Result: observe.ResultSuccess})
		m.SuiteEvent(observe.SuiteEvent{Kind: kind, Result: observe.ResultRejected})
		m.SuiteEvent(observe.SuiteEvent{Kind: kind, Result: observe.ResultUnknown})
		m.SuiteEvent(observe.SuiteEvent{Kind: kind, Result: 99})
		m.SuiteEvent(observe.SuiteEvent{Kind: kind, Result: observe.ResultReceived})
		if got := counted(values(t, reg, family)); family != "" && (len(got) != 4 || got["success"] != 1 || got["rejected"] != 1 || got["received"] != 1 || got["other"] != 2) {
			t.Errorf("%s counted %v", family, got)
		}
	}
}

// Why what a suite does has failed is counted, by what it was; a success has no reason.
func TestFailuresOfSuitesAreCounted(t *testing.T) {
	m := metrics.New()
	reg := register(t, m)
	for _, e := range []observe.SuiteEvent{
		{Kind: observe.StateSaved, Result: observe.ResultFailed, Err: fs.ErrPermission},
		{Kind: observe.StateSaved, Result: observe.ResultFailed, Err: fs.ErrPermission},
		{Kind: observe.Reloaded, Result: observe.ResultFailed, Err: fs.ErrNotExist},
		{Kind: observe.Reloaded, Result: observe.ResultSuccess},
	} {
		m.SuiteEvent(e)
	}
	want := map[string]float64{"state_saved permission": 2, "reloaded not_found": 1}
	if got := counted(values(t, reg, "astra_suite_failures_total")); !maps.Equal(got, want) {
		t.Errorf("failures %v, want %v", got, want)
	}
}

// Messages sent again are counted each.
func TestReplayedMessagesAreCounted(t *testing.T) {
	o := &tap{Metrics: metrics.New()}
	_ = newClient(t, o).call(t.Context(), nil, hello)
	for _, n := range []int{3, 4} {
		o.hooks.Event(t.Context(), observe.Event{Kind: observe.Replayed, Messages: n})
	}
	if got := values(t, register(t, o), "astra_retry_replayed_messages_total")[hello]; got != 7 {
		t.Errorf("%v messages, want 7", got)
	}
}
