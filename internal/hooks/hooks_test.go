package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/astra-grpc/astra/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// of is an observer whose hooks are given.
type of observe.Hooks

func (h of) Observe(observe.Endpoint) observe.Hooks { return observe.Hooks(h) }

// journal is what an observer under test has been given, and what was logged of it.
type journal struct {
	mu   sync.Mutex
	got  []string
	text bytes.Buffer
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.got = append(j.got, fmt.Sprintf(format, args...))
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	got := j.got
	j.got = nil
	return got
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) logged(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

func (j *journal) observer(o observe.Observer) *Observer {
	log := slog.New(slog.NewTextHandler(j, nil))
	return NewObserver(o, func() *slog.Logger { return log }, func(err error) error {
		if err == nil {
			return nil
		}
		return errors.New("bound: " + err.Error())
	})
}

// all returns hooks that note each call of theirs.
func (j *journal) all(inline bool) of {
	return of{
		Inline:       inline,
		Start:        func(context.Context, observe.Event) (context.Context, bool) { j.add("start"); return nil, true },
		FirstSuccess: func(shard uint32) { j.add("first success %d", shard) },
		Event:        func(_ context.Context, e observe.Event) { j.add("event %d %v", e.Attempt, e.Err) },
		Evicted:      func() { j.add("evicted") },
	}
}

// The hooks of an observer decide which recorders hold it, and what is measured.
func TestRecordersAreSorted(t *testing.T) {
	event := func(context.Context, observe.Event) {}
	start := func(ctx context.Context, _ observe.Event) (context.Context, bool) { return ctx, true }
	success := func(uint32) {}
	evicted := func() {}
	type sorted struct {
		all, starters, summary, detailed, evicted int
		begins, elapsed, timed                    bool
	}
	for name, c := range map[string]struct {
		hooks of
		want  sorted
		warns int
	}{
		"none":                      {of{}, sorted{}, 0},
		"events":                    {of{Event: event}, sorted{all: 1, detailed: 1}, 0},
		"how long calls take":       {of{Event: event, Elapsed: true}, sorted{all: 1, detailed: 1, begins: true, elapsed: true}, 0},
		"how long attempts take":    {of{Event: event, AttemptElapsed: true}, sorted{all: 1, detailed: 1, timed: true}, 0},
		"times of nothing":          {of{Elapsed: true, AttemptElapsed: true}, sorted{}, 0},
		"start":                     {of{Inline: true, Start: start}, sorted{starters: 1, begins: true}, 0},
		"start, not inline":         {of{Start: start, Event: event}, sorted{all: 1, detailed: 1}, 1},
		"first success":             {of{Inline: true, FirstSuccess: success}, sorted{summary: 1}, 0},
		"events and summary":        {of{Inline: true, Event: event, FirstSuccess: success}, sorted{all: 1, summary: 1}, 0},
		"first success, not inline": {of{FirstSuccess: success, Event: event}, sorted{all: 1, detailed: 1}, 1},
		"eviction":                  {of{Evicted: evicted}, sorted{evicted: 1}, 0},
	} {
		var j journal
		var rs Recorders
		o := j.observer(c.hooks)
		rs.Add(o, observe.Endpoint{})
		got := sorted{len(rs.All), len(rs.Starters), len(rs.Summary), len(rs.Detailed), len(rs.evicted), rs.Begins, rs.Elapsed, rs.Timed}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if n := j.logged("without Inline"); n != c.warns {
			t.Errorf("%s: warned %d times at once, want %d", name, n, c.warns)
		}
		new(Recorders).Add(o, observe.Endpoint{}) // another endpoint
		if n := j.logged("without Inline"); n != c.warns {
			t.Errorf("%s: warned %d times, want %d", name, n, c.warns)
		}
	}
}

// Each of those that have a Start hook has a bit of its own; what one wants of times
// another does not take back.
func TestRecordersOfSeveral(t *testing.T) {
	var j journal
	var rs Recorders
	rs.Add(j.observer(of{Event: func(context.Context, observe.Event) {}, Elapsed: true, AttemptElapsed: true}), observe.Endpoint{})
	for range 3 {
		rs.Add(j.observer(j.all(true)), observe.Endpoint{})
	}
	if !rs.Begins || !rs.Elapsed || !rs.Timed {
		t.Errorf("begins %v, elapsed %v, timed %v; want all", rs.Begins, rs.Elapsed, rs.Timed)
	}
	var bits []uint64
	for _, r := range rs.Starters {
		bits = append(bits, r.Bit)
	}
	if !slices.Equal(bits, []uint64{1, 2, 4}) || rs.All[0].Bit != 0 {
		t.Errorf("bits %v, and %d without Start; want 1, 2, 4 and 0", bits, rs.All[0].Bit)
	}
}

// Inline hooks run on the caller's goroutine, with the error as it is.
func TestInline(t *testing.T) {
	var j journal
	var rs Recorders
	rs.Add(j.observer(j.all(true)), observe.Endpoint{})
	r := rs.All[0]
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	if own, enough := r.Start(ctx, observe.Event{}); own != ctx || enough || !r.HasEvent() {
		t.Errorf("%v, enough %v; want the context as it was, and more events", own, enough)
	}
	r.FirstSuccess(7)
	rs.Emit(ctx, observe.Event{Attempt: 2, Err: errors.New("x")})
	rs.Evict()
	if got := j.take(); !slices.Equal(got, []string{"start", "first success 7", "event 2 x", "evicted"}) {
		t.Errorf("%q", got)
	}
	var other Recorders
	other.Add(j.observer(of{Inline: true, Start: func(context.Context, observe.Event) (context.Context, bool) { return ctx, false }}), observe.Endpoint{})
	if own, enough := other.Starters[0].Start(t.Context(), observe.Event{}); own != ctx || !enough || other.Starters[0].HasEvent() {
		t.Errorf("%v, enough %v; want the hook's context, and no more events", own, enough)
	}
}

// Other hooks run in order on one goroutine, with errors that may be kept; Close
// delivers what is queued, and what comes later is dropped.
func TestQueued(t *testing.T) {
	var j journal
	var rs Recorders
	hooks := j.all(false)
	hooks.Start, hooks.FirstSuccess = nil, nil
	hooks.Want = func(e observe.Event) bool { return e.Attempt != 2 }
	o := j.observer(hooks)
	rs.Add(o, observe.Endpoint{})
	for i := range 4 {
		rs.Emit(t.Context(), observe.Event{Attempt: i + 1, Err: errors.New("x")})
	}
	rs.Evict()
	Close([]*Observer{o})
	want := []string{"event 1 bound: x", "event 3 bound: x", "event 4 bound: x", "evicted"}
	if got := j.take(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	rs.Emit(t.Context(), observe.Event{})
	Close([]*Observer{o})
	if got := j.take(); len(got) > 0 || j.text.Len() > 0 {
		t.Errorf("%q after Close, logged %q; want nothing", got, j.text.String())
	}
}

// A hook that panics takes nothing with it; that is logged once for its observer.
func TestPanics(t *testing.T) {
	var j journal
	var rs Recorders
	o := j.observer(of{
		Inline:       true,
		Start:        func(context.Context, observe.Event) (context.Context, bool) { panic("start") },
		FirstSuccess: func(uint32) { panic("first") },
		Event:        func(context.Context, observe.Event) { panic("event") },
		Evicted:      func() { panic("evicted") },
	})
	rs.Add(o, observe.Endpoint{})
	ctx := t.Context()
	if own, enough := rs.Starters[0].Start(ctx, observe.Event{}); own != ctx || enough {
		t.Errorf("%v, enough %v; want the context as it was, and more events", own, enough)
	}
	rs.Summary[0].FirstSuccess(0)
	rs.Emit(ctx, observe.Event{})
	rs.Evict()
	if n := j.logged("observer panicked"); n != 1 || j.logged("hooks.of") != 1 || j.logged("panic=start") != 1 {
		t.Errorf("logged %q, want one panic, the first, of the observer by its type", j.text.String())
	}
	var wants Recorders
	w := j.observer(of{Want: func(observe.Event) bool { panic("want") }, Event: func(context.Context, observe.Event) { j.add("event") }})
	wants.Add(w, observe.Endpoint{})
	wants.Emit(ctx, observe.Event{})
	Close([]*Observer{w})
	if got := j.take(); len(got) > 0 || j.logged("observer panicked") != 2 {
		t.Errorf("%q, logged %q; want no event of a Want that panics, logged for its own observer", got, j.text.String())
	}
}

type asked struct{}

func (asked) Observe(observe.Endpoint) observe.Hooks { panic("asked") }

// suite hears of what concerns the suite.
type suite struct {
	of
	j *journal
}

func (s suite) SuiteEvent(e observe.SuiteEvent) {
	s.j.add("suite event")
	panic(fmt.Sprint(e))
}

// An observer that panics when it is asked for hooks has none; events of the suite go
// to those that want them.
func TestObserversThatPanic(t *testing.T) {
	var j journal
	var rs Recorders
	rs.Add(j.observer(asked{}), observe.Endpoint{})
	if len(rs.All)+len(rs.Starters)+len(rs.Summary)+len(rs.evicted) > 0 || j.logged("panic=asked") != 1 {
		t.Errorf("%+v, logged %q", rs, j.text.String())
	}
	j.observer(of{}).SuiteEvent(observe.SuiteEvent{})
	j.observer(suite{j: &j}).SuiteEvent(observe.SuiteEvent{})
	if got := j.take(); len(got) != 1 || j.logged("observer panicked") != 2 {
		t.Errorf("%q, logged %q", got, j.text.String())
	}
}

// stuck returns an observer whose Event hook waits, and what lets it go.
func (j *journal) stuck() (o *Observer, rs *Recorders, release func()) {
	gate := make(chan struct{})
	rs = new(Recorders)
	o = j.observer(of{Event: func(_ context.Context, e observe.Event) { <-gate; j.add("%d", e.Attempt) }})
	rs.Add(o, observe.Endpoint{})
	return o, rs, func() { close(gate) }
}

// An observer that is too slow loses what is past its queue, which is logged once, and
// delays nobody.
func TestTooSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		o, rs, release := j.stuck()
		rs.Emit(t.Context(), observe.Event{})
		synctest.Wait() // it is in the hook
		for i := range 4096 {
			rs.Emit(t.Context(), observe.Event{Attempt: i + 1})
		}
		if n := j.logged("observer is too slow"); n != 0 {
			t.Errorf("logged %d times with the queue just full", n)
		}
		rs.Emit(t.Context(), observe.Event{Attempt: -1})
		if n := j.logged("observer is too slow"); n != 1 {
			t.Errorf("logged %d times when the first event is dropped, want once", n)
		}
		rs.Emit(t.Context(), observe.Event{Attempt: -2})
		if n := j.logged("observer is too slow"); n != 1 {
			t.Errorf("logged %d times, want once", n)
		}
		release()
		Close([]*Observer{o})
		if got := j.take(); len(got) != 1+4096 || got[0] != "0" || got[4096] != "4096" {
			t.Errorf("%d events, want the 4097 that there was room for, in order", len(got))
		}
	})
}

// Close waits five seconds for all that are stuck together, not for each, and says
// which it left behind; a second Close does not wait for those again.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		first, a, releaseFirst := j.stuck()
		second, b, releaseSecond := j.stuck()
		idle := j.observer(of{Event: func(context.Context, observe.Event) {}}) // whose goroutine was never needed
		swift, c := j.observer(of{Event: func(context.Context, observe.Event) { j.add("swift") }}), new(Recorders)
		c.Add(swift, observe.Endpoint{})
		for _, rs := range []*Recorders{a, b, c} {
			rs.Emit(t.Context(), observe.Event{})
		}
		synctest.Wait()
		all := []*Observer{idle, first, swift, second}
		began := time.Now()
		Close(all)
		if d := time.Since(began); d != 5*time.Second {
			t.Errorf("took %v, want 5 s", d)
		}
		if n := j.logged("did not return"); n != 2 {
			t.Errorf("logged %d of two that are stuck:\n%s", n, j.text.String())
		}
		began = time.Now()
		Close(all)
		if d := time.Since(began); d != 0 || j.logged("did not return") != 2 {
			t.Errorf("the second Close took %v, want none", d)
		}
		releaseFirst()
		releaseSecond()
		synctest.Wait()
		if got := j.take(); !slices.Equal(got, []string{"swift", "0", "0"}) {
			t.Errorf("%q", got)
		}
	})
}

// Close returns as soon as the last of them has delivered.
func TestCloseWaitsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var j journal
		o, rs, release := j.stuck()
		rs.Emit(t.Context(), observe.Event{})
		began := time.Now()
		time.AfterFunc(2*time.Second, release)
		Close([]*Observer{o})
		if d := time.Since(began); d != 2*time.Second || j.text.Len() > 0 {
			t.Errorf("took %v, logged %q; want 2 s and nothing", d, j.text.String())
		}
	})
}
