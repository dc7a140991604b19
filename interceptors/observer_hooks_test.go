package interceptors_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// hooks is an observer that has the same hooks for all endpoints.
type hooks observe.Hooks

func (h hooks) Observe(observe.Endpoint) observe.Hooks { return observe.Hooks(h) }

// wrapper is an observer around another that counts its events.
type wrapper struct {
	observe.Observer
	events *atomic.Int64
}

func (w wrapper) Observe(e observe.Endpoint) observe.Hooks {
	h := w.Observer.Observe(e)
	event := h.Event
	h.Event = func(ctx context.Context, e observe.Event) {
		w.events.Add(1)
		event(ctx, e)
	}
	return h
}

// TestWrapperLosesNothing: a copy of Hooks does all that the original does.
func TestWrapperLosesNothing(t *testing.T) {
	for name, wrapped := range map[string]bool{"bare": false, "wrapped": true} {
		synctest.Test(t, func(t *testing.T) {
			var seen events
			var starts, firsts, evicted, counted atomic.Int64
			var observer observe.Observer = hooks{
				Inline: true, Elapsed: true, Event: seen.record,
				Start: func(ctx context.Context, _ observe.Event) (context.Context, bool) {
					starts.Add(1)
					return context.WithValue(ctx, spanKey{}, "started"), true
				},
				FirstSuccess: func(uint32) { firsts.Add(1) },
				Evicted:      func() { evicted.Add(1) },
			}
			if wrapped {
				observer = wrapper{observer, &counted}
			}
			s := newSuite(t, interceptors.WithObserver(observer), interceptors.WithPolicy(attemptsOf(2)))
			_ = call(s, play(step{}))
			_ = call(s, play(step{err: fails(codes.NotFound).err, after: ms}))
			_ = s.Close()
			e := seen.last(t)
			if seen.count() != 3 || starts.Load() != 4 || firsts.Load() != 1 || evicted.Load() != 1 || e.Elapsed != ms {
				t.Errorf("%s: %d events, %d starts, %d first successes, %d evictions, %v elapsed; want 3, 4, 1, 1, 1ms",
					name, seen.count(), starts.Load(), firsts.Load(), evicted.Load(), e.Elapsed)
			}
			if got := seen.ctxs[2].Value(spanKey{}); got != "started" {
				t.Errorf("%s: events come in the context of %v", name, got)
			}
			if want := map[bool]int64{true: 3}[wrapped]; counted.Load() != want {
				t.Errorf("%s: the wrapper counted %d events, want %d", name, counted.Load(), want)
			}

			var queued events
			observer = hooks{Event: queued.record, Want: func(e observe.Event) bool { return e.Kind == observe.CallEnd }, Evicted: func() { evicted.Add(1) }}
			if wrapped {
				observer = wrapper{observer, &counted}
			}
			s = newSuite(t, interceptors.WithObserver(observer))
			_ = call(s, play(step{}))
			_ = s.Close()
			if queued.count() != 1 || evicted.Load() != 2 {
				t.Errorf("%s: %d events queued, want 1; %d evictions, want 2", name, queued.count(), evicted.Load())
			}
		})
	}
}

// TestZeroHooksObserveNothing, and hooks may be given one by one.
func TestZeroHooksObserveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts, firsts := 0, 0
		s := newSuite(t, interceptors.WithPolicy(attemptsOf(2)), interceptors.WithObserver(
			hooks{}, hooks{Inline: true}, hooks{Elapsed: true, Want: func(observe.Event) bool { return true }},
			hooks{Inline: true, FirstSuccess: func(uint32) { firsts++ }},
			hooks{Inline: true, Start: func(context.Context, observe.Event) (context.Context, bool) {
				starts++
				return nil, true
			}}))
		for _, sc := range []*script{play(step{}), play(fails(codes.Unavailable), step{})} {
			if err := call(s, sc); err != nil {
				t.Fatal(err)
			}
		}
		if starts != 5 || firsts != 1 {
			t.Errorf("%d starts, %d first successes; want 5 and 1", starts, firsts)
		}
	})
}

// TestQueuedHooksHaveNoStart: what needs Inline is not called without it, and the
// log says so once.
func TestQueuedHooksHaveNoStart(t *testing.T) {
	var log logBuffer
	var seen events
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), interceptors.WithObserver(hooks{
		Event:        seen.record,
		Start:        func(context.Context, observe.Event) (context.Context, bool) { panic("called") },
		FirstSuccess: func(uint32) { panic("called") },
	}))
	_ = call(s, play(step{}))
	_ = s.UnaryClientInterceptor()(t.Context(), "/another.Svc/M", nil, nil, nil, noop)
	_ = s.Close()
	if n := strings.Count(log.String(), "without Inline"); n != 1 || seen.count() != 4 || strings.Contains(log.String(), "panicked") {
		t.Errorf("%d events, want 4; logged\n%s", seen.count(), log.String())
	}
}

// TestObservedOnce: of calls that are first at the same time, each is observed, by
// hooks asked for once.
func TestObservedOnce(t *testing.T) {
	const calls = 16
	var asked atomic.Int64
	var seen events
	s := newSuite(t, interceptors.WithObserver(observerFunc(func(observe.Endpoint) observe.Hooks {
		asked.Add(1)
		for range 1000 { // the others come meanwhile
			runtime.Gosched()
		}
		return observe.Hooks{Inline: true, Event: seen.record}
	})))
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() { _ = call(s, play(step{})) })
	}
	wg.Go(func() { _ = s.Reload() })
	wg.Wait()
	if asked.Load() != 1 || seen.count(observe.CallEnd) != calls {
		t.Errorf("asked %d times, want once; %d of %d calls observed", asked.Load(), seen.count(observe.CallEnd), calls)
	}
}

type observerFunc func(observe.Endpoint) observe.Hooks

func (f observerFunc) Observe(e observe.Endpoint) observe.Hooks { return f(e) }

// TestStuckObserversAreGivenUpTogether: Close waits for all of them side by side,
// and once.
func TestStuckObserversAreGivenUpTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		free := make(chan struct{})
		defer close(free)
		stuck := hooks{Event: func(context.Context, observe.Event) { <-free }}
		seen := &events{slow: time.Second}
		s := newSuite(t, interceptors.WithObserver(stuck, stuck, seen, stuck), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		_ = call(s, play(step{}))
		for _, want := range []time.Duration{5 * time.Second, 0} {
			start := time.Now()
			_ = s.Close()
			if took := time.Since(start); took != want {
				t.Errorf("Close took %v, want %v", took, want)
			}
		}
		if n := strings.Count(log.String(), "did not return"); n != 3 || seen.count() != 2 {
			t.Errorf("%d given up, want 3; the other got %d events, want 2", n, seen.count())
		}
	})
}

// revisioned is a log handler that asks the suite something with each record.
type revisioned struct {
	slog.Handler
	suite   *interceptors.Suite
	records atomic.Int64
}

func (h *revisioned) Handle(ctx context.Context, r slog.Record) error {
	h.records.Add(1)
	if h.suite != nil {
		r.AddAttrs(slog.Uint64("generation", h.suite.Revision().Generation))
	}
	return h.Handler.Handle(ctx, r)
}

// TestObserversAreCalledWithoutTheLock: they, and the logger when they panic or
// fall behind, may ask the suite.
func TestObserversAreCalledWithoutTheLock(t *testing.T) {
	broken := func() { panic("a bug") }
	for name, observer := range map[string]observe.Observer{
		"Observe":         observerFunc(func(observe.Endpoint) observe.Hooks { panic("a bug") }),
		"Evicted":         hooks{Inline: true, Evicted: broken},
		"Evicted, queued": hooks{Evicted: broken},
		"restored":        hooks{Inline: true, Event: func(context.Context, observe.Event) { broken() }},
		"not inline":      hooks{FirstSuccess: func(uint32) {}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &revisioned{Handler: slog.NewTextHandler(io.Discard, nil)} //nolint:sloglint // DiscardHandler is not enabled, so nothing would be recorded
				s, _ := withMemory(t, opened(time.Minute, 1), interceptors.WithObserver(observer), interceptors.WithLogger(slog.New(log)))
				log.suite = s
				_ = call(s, play(step{}))
				_ = s.Close()
				if n := log.records.Load(); n != 2 {
					t.Errorf("%d records, want one of the observer and one of the breaker", n)
				}
			})
		})
	}
}

// TestBehindIsLoggedWithoutTheLock: evictions may be what fills a queue.
func TestBehindIsLoggedWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		log := &revisioned{Handler: slog.NewTextHandler(io.Discard, nil)} //nolint:sloglint // DiscardHandler is not enabled, so nothing would be recorded
		s := newSuite(t, interceptors.WithLogger(slog.New(log)), interceptors.WithObserver(hooks{
			Event:   func(context.Context, observe.Event) { <-free },
			Evicted: func() {},
		}))
		log.suite = s
		in := s.UnaryClientInterceptor()
		for i := range 1500 { // two events each, and later an eviction
			_ = in(t.Context(), "/a.B/"+time.Duration(i).String(), nil, nil, nil, noop)
		}
		time.AfterFunc(time.Second, func() { close(free) })
		_ = s.Close()
		if n := log.records.Load(); n != 1 {
			t.Errorf("%d records, want 1", n)
		}
	})
}

// TestQueueKeepsShortErrors: what a server writes into an error is not held for a
// stuck observer, except its beginning.
func TestQueueKeepsShortErrors(t *testing.T) {
	var queued, direct events
	s := newSuite(t, interceptors.WithObserver(&queued, inline{&direct}), interceptors.WithPolicy(attemptsOf(1)))
	large := status.Error(codes.DataLoss, "long: "+strings.Repeat("x", 1<<20))
	small := status.Error(codes.NotFound, "short")
	for _, err := range []error{large, small} {
		_ = call(s, play(step{err: err}))
	}
	_ = s.Close()
	for i, e := range direct.all {
		got := queued.all[i]
		switch {
		case e.Err == nil:
			continue
		case e.Code == codes.NotFound:
			if got.Err != small || e.Err != small {
				t.Errorf("a short error came as %v and %v", got.Err, e.Err)
			}
			continue
		}
		if !errors.Is(e.Err, large) {
			t.Error("an inline hook got another error")
		}
		if text := status.Convert(got.Err).Message(); status.Code(got.Err) != codes.DataLoss || len(text) > 9<<10 || !strings.HasPrefix(text, "long: xxx") {
			t.Errorf("a queued hook got %v with %d bytes", status.Code(got.Err), len(text))
		}
	}
}
