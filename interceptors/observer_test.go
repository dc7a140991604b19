package interceptors_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// events is an observer that remembers.
type events struct {
	mu    sync.Mutex
	all   []observe.Event
	ctxs  []context.Context
	slow  time.Duration
	panic bool
}

func (o *events) Observe(observe.Endpoint) observe.Hooks { return observe.Hooks{Event: o.record} }

func (o *events) record(ctx context.Context, e observe.Event) {
	if o.slow > 0 {
		time.Sleep(o.slow)
	}
	o.mu.Lock()
	o.all = append(o.all, e)
	o.ctxs = append(o.ctxs, ctx)
	o.mu.Unlock()
	if o.panic {
		panic("in the observer")
	}
}

func (o *events) count(kinds ...observe.Kind) (n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.all {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			n++
		}
	}
	return n
}

// story returns the events in short.
func (o *events) story() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for _, e := range o.all {
		switch e.Kind {
		case observe.AttemptEnd:
			fmt.Fprintf(&b, "attempt %d %v\n", e.Attempt, e.Code)
		case observe.BackoffStart:
			fmt.Fprintf(&b, "backoff %d %v\n", e.Attempt, e.Delay)
		case observe.BackoffEnd:
			fmt.Fprintf(&b, "resume %d\n", e.Attempt)
		case observe.Suppressed:
			fmt.Fprintf(&b, "suppressed %s\n", e.Reason)
		case observe.BreakerChange:
			fmt.Fprintf(&b, "%v to %v: %s\n", e.From, e.To, e.Reason)
		case observe.Queued:
			fmt.Fprintf(&b, "queued\n")
		case observe.Dequeued:
			fmt.Fprintf(&b, "dequeued %v\n", e.Delay)
		case observe.Limited:
			fmt.Fprintf(&b, "limited %s\n", e.Reason)
		case observe.CallEnd:
			fmt.Fprintf(&b, "call %v %d %v exhausted %v\n", e.Outcome, e.Attempt, e.Code, e.Exhausted)
		}
	}
	return b.String()
}

// inline makes the hooks inline ones.
type inline struct{ *events }

func (o inline) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: o.record}
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			name string
			sc   *script
			opts []grpc.CallOption
			want string
		}{
			{"success", play(step{}), nil, `
attempt 1 OK
call success_first 1 OK exhausted false
`},
			{"saved", play(fails(codes.Unavailable), step{}), nil, `
attempt 1 Unavailable
backoff 1 500ms
resume 1
attempt 2 OK
call success_after_retry 2 OK exhausted false
`},
			{"exhausted", play(fails(codes.Unavailable)), nil, `
attempt 1 Unavailable
backoff 1 500ms
resume 1
attempt 2 Unavailable
call failed 2 Unavailable exhausted true
`},
			{"not retryable", play(fails(codes.NotFound)), nil, `
attempt 1 NotFound
suppressed not_retryable
call failed 1 NotFound exhausted false
`},
			{"asked to stop", play(step{err: fails(codes.Unavailable).err, trailer: pushback("-1")}), nil, `
attempt 1 Unavailable
suppressed pushback
call failed 1 Unavailable exhausted false
`},
		} {
			seen := &events{}
			s := newSuite(t, interceptors.WithPolicy(attemptsOf(2)), interceptors.WithObserver(inline{seen}))
			_ = call(s, tc.sc, tc.opts...)
			if got := seen.story(); got != tc.want[1:] {
				t.Errorf("%s:\n%swant\n%s", tc.name, got, tc.want[1:])
			}
		}
	})
}

func TestBreakerAndFallbackEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{
			Retry:   interceptors.Retry{MaxAttempts: 1},
			Breaker: interceptors.Breaker{Consecutive: 1},
		}), interceptors.WithObserver(inline{seen}))
		_ = call(s, play(fails(codes.Unavailable)))
		_ = call(s, play(step{}))
		time.Sleep(1200 * ms)
		_ = call(s, play(step{}))
		const want = `attempt 1 Unavailable
closed to open: consecutive
call failed 1 Unavailable exhausted true
call rejected_breaker 0 Unavailable exhausted false
open to half-open: open_time_over
attempt 1 OK
half-open to closed: recovered
call success_first 1 OK exhausted false
`
		if got := seen.story(); got != want {
			t.Errorf("%swant\n%s", got, want)
		}

		seen = &events{}
		s = newSuite(t, interceptors.WithObserver(inline{seen}),
			interceptors.WithFallback("*", func(context.Context, string, any, any, error) error { return nil }))
		_ = call(s, play(fails(codes.NotFound)))
		if got := seen.story(); !strings.HasSuffix(got, "call fallback 1 NotFound exhausted false\n") {
			t.Error(got)
		}
	})
}

func TestSlowObserverDelaysNoCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{slow: time.Second}
		s := newSuite(t, interceptors.WithObserver(seen))
		start := time.Now()
		for range 2 {
			if err := call(s, play(step{})); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("two calls took %v", took)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if got := seen.count(); got != 4 {
			t.Errorf("Close left %d of 4 events untold", 4-got)
		}
	})
}

func TestStuckObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		seen := &events{slow: time.Hour}
		s := newSuite(t, interceptors.WithObserver(seen), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		for range 5000 {
			if err := call(s, play(step{})); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		_ = s.Close()
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		if n := strings.Count(log.String(), "too slow"); n != 1 {
			t.Errorf("dropped events were logged %d times:\n%s", n, log.String())
		}
		time.Sleep(20000 * time.Hour) // let it end
	})
}

func TestPanickingObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, in := range map[string]func(*events) observe.Observer{
			"in line": func(o *events) observe.Observer { return inline{o} },
			"queued":  func(o *events) observe.Observer { return o },
		} {
			var log logBuffer
			bad, good := &events{panic: true}, &events{}
			s := newSuite(t, interceptors.WithObserver(in(bad), in(good)), interceptors.WithPolicy(attemptsOf(2)),
				interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			if err := call(s, play(fails(codes.Unavailable), step{})); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			if bad.count() != 5 || good.count() != 5 {
				t.Errorf("%s: %d and %d events emitted, want 5 each", name, bad.count(), good.count())
			}
			if n := strings.Count(log.String(), "panicked"); n != 1 {
				t.Errorf("%s: logged %d times:\n%s", name, n, log.String())
			}
		}
	})
}

// TestStarter: contexts given at the start of a call and of its attempts are
// those that events and attempts come with.
func TestStarter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		s := newSuite(t, interceptors.WithPolicy(attemptsOf(2)), interceptors.WithObserver(spans{inline{seen}}))
		var inAttempts []any
		note := func(ctx context.Context, _ any) { inAttempts = append(inAttempts, ctx.Value(spanKey{})) }
		_ = call(s, play(step{err: fails(codes.Unavailable).err, do: note}, step{do: note}))
		var inEvents []any
		for i, ctx := range seen.ctxs {
			inEvents = append(inEvents, fmt.Sprint(seen.all[i].Kind, " ", ctx.Value(spanKey{})))
		}
		if want := []any{"call/1", "call/2"}; !slices.Equal(inAttempts, want) {
			t.Errorf("attempts run in %v, want %v", inAttempts, want)
		}
		want := []any{"attempt_end call/1", "backoff_start call", "backoff_end call", "attempt_end call/2", "call_end call"}
		if !slices.Equal(inEvents, want) {
			t.Errorf("events come in %v, want %v", inEvents, want)
		}
	})
}

type spanKey struct{}

type spans struct{ inline }

func (s spans) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: s.record, Start: s.start}
}

func (s spans) start(ctx context.Context, e observe.Event) (context.Context, bool) {
	if e.Kind == observe.CallStart {
		return context.WithValue(ctx, spanKey{}, "call"), true
	}
	return context.WithValue(ctx, spanKey{}, fmt.Sprint(ctx.Value(spanKey{}), "/", e.Attempt)), true
}

// counts is an observer with a hook for first successes.
type counts struct {
	events
	succeeded atomic.Int64
}

func (o *counts) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: o.record, FirstSuccess: o.firstSuccess}
}

func (o *counts) firstSuccess(uint32) { o.succeeded.Add(1) }

// TestReportedExactlyOnce: whatever mix of outcomes, panics, cancellations,
// fallbacks and refusals, each attempt ends once, each call ends once, and
// backoffs that begin end.
func TestToldExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		workers := rapid.IntRange(1, 8).Draw(rt, "workers")
		plans := rapid.SliceOfN(rapid.SliceOfN(rapid.IntRange(0, 7), 1, 4), 1, 20).Draw(rt, "calls")
		withFallback := rapid.Bool().Draw(rt, "fallback")
		synctest.Test(t, func(t *testing.T) {
			seen, summary := &events{}, &counts{}
			opts := []interceptors.Option{
				interceptors.WithObserver(inline{seen}, summary),
				interceptors.WithPolicy(interceptors.Policy{
					AttemptTimeout: time.Second,
					Breaker:        interceptors.Breaker{Consecutive: 4},
					Budget:         interceptors.Budget{Burst: 5},
				}),
			}
			if withFallback {
				opts = append(opts, interceptors.WithFallback("*", func(_ context.Context, _ string, _, _ any, err error) error {
					if status.Code(err) == codes.NotFound {
						panic("in the fallback")
					}
					return err
				}))
			}
			s := newSuite(t, opts...)
			var mu sync.Mutex
			calls, attempts := 0, 0
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() {
					for _, plan := range plans[w%len(plans):] {
						ctx, cancel := context.WithCancel(context.Background())
						n := 0
						invoke := func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
							mu.Lock()
							attempts++
							mu.Unlock()
							what := plan[min(n, len(plan)-1)]
							n++
							switch what {
							case 0, 1, 7:
								return nil
							case 2:
								panic("beneath")
							case 3:
								cancel()
								return ctx.Err()
							case 4:
								return status.Error(codes.NotFound, "")
							case 5:
								<-ctx.Done()
								return ctx.Err()
							case 6:
								time.AfterFunc(10*ms, cancel) // in the backoff
							}
							return status.Error(codes.Unavailable, "")
						}
						func() {
							defer func() { _ = recover() }()
							_ = s.UnaryClientInterceptor()(ctx, method, nil, nil, nil, invoke, grpc.OnFinish(func(error) {
								if plan[0] == 7 {
									panic("in OnFinish")
								}
							}))
						}()
						cancel()
						mu.Lock()
						calls++
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			if got := seen.count(observe.CallEnd); got != calls {
				t.Errorf("%d ends of %d calls", got, calls)
			}
			if got := seen.count(observe.AttemptEnd); got != attempts {
				t.Errorf("%d ends of %d attempts", got, attempts)
			}
			first := int(summary.succeeded.Load())
			if got := first + summary.count(observe.CallEnd); got != calls {
				t.Errorf("by FirstSuccess: %d ends of %d calls", got, calls)
			}
			if got := first + summary.count(observe.AttemptEnd); got != attempts {
				t.Errorf("by FirstSuccess: %d ends of %d attempts", got, attempts)
			}
			for _, e := range summary.all {
				if e.Kind == observe.CallEnd && e.Outcome == observe.SuccessFirst {
					t.Error("a first success came as a CallEnd too")
				}
			}
			if b, e := seen.count(observe.BackoffStart), seen.count(observe.BackoffEnd); b != e {
				t.Errorf("%d backoffs began, %d ended", b, e)
			}
		})
	})
}
