package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

type ctxKey struct{}

// TestAttemptIsAContext of its own fleet, and no other's.
func TestAttemptIsAContext(t *testing.T) {
	w := newWorld(t, usual(), "a")
	a := NewAttempt(context.WithValue(context.Background(), ctxKey{}, "v"), w.f, nil, Kind{First: true, Steady: true, Stream: true})
	if !a.first || !a.steady || !a.stream {
		t.Errorf("%+v", a)
	}
	in := context.WithValue(a, key{}, a)
	for _, ctx := range []context.Context{a, in} {
		if From(ctx, w.f) != a || ctx.Value(ctxKey{}) != "v" {
			t.Error("the attempt, or the caller's value, is not found")
		}
		if From(ctx, w.r.Fleet("test:///other")) != nil {
			t.Error("it is another fleet's")
		}
	}
	if From(context.Background(), w.f) != nil {
		t.Error("an attempt of nobody's")
	}
	var none *Attempt
	if none.Name() != "" || none.Moved() || a.Name() != "" || a.Backend() != nil || !a.Fresh() || a.out() {
		t.Error("an attempt that went nowhere has been somewhere")
	}
	w.c.Choose(a)
	if a.Name() != "a" || a.Backend() != w.all[0] || a.Fresh() {
		t.Errorf("went to %q", a.Name())
	}
}

// TestEndIsOnce, and counts what it says.
func TestEndIsOnce(t *testing.T) {
	w := newWorld(t, usual(), "a")
	for _, tc := range []struct {
		e    End
		o    Outcome
		last int32
	}{
		{succeeds, Success, good},
		{End{}, Other, good},
		{fails, Failure, bad},
		{End{Good: true}, Success, good},
		{End{Strained: true, Alive: true}, Other, good},
	} {
		b := w.all[0]
		before := [3]uint64{b.Count(Success), b.Count(Failure), b.Count(Other)}
		a, _ := w.begin(nil, Kind{})
		if ch := w.end(a, tc.e); ch.Backend != b {
			t.Errorf("%+v: %+v", tc.e, ch)
		}
		if ch := a.End(w.now, fails); ch.Backend != nil {
			t.Errorf("%+v ends twice", tc.e)
		}
		before[tc.o]++
		if after := [3]uint64{b.Count(Success), b.Count(Failure), b.Count(Other)}; after != before {
			t.Errorf("%+v: counts %v, want %v", tc.e, after, before)
		}
		if got := b.last.Load(); got != tc.last {
			t.Errorf("%+v: heard last %d, want %d", tc.e, got, tc.last)
		}
	}
	nowhere := NewAttempt(context.Background(), w.f, nil, Kind{})
	if ch := nowhere.End(w.now, succeeds); ch.Backend != nil {
		t.Errorf("%+v of one that got no backend", ch)
	}
	for i, want := range []string{"success", "failure", "other"} {
		if got := Outcomes[i].String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestWhatEndsSayOfLatency: successes are latencies, all else a bound at most, and a
// stream's life neither.
func TestWhatEndsSayOfLatency(t *testing.T) {
	const took = 100 * time.Millisecond
	for _, tc := range []struct {
		name                  string
		k                     Kind
		e                     End
		latency, bound        time.Duration
		failed, heard, answer bool
	}{
		{"success", Kind{}, succeeds, took, 0, false, true, false},
		{"not found", Kind{}, End{Good: true, Alive: true}, 0, took, true, true, false},
		{"silently good", Kind{}, End{Good: true}, 0, took, true, true, false},
		{"failure", Kind{}, fails, 0, took, true, false, false},
		{"failure of one alive", Kind{}, End{Bad: true, Alive: true}, 0, took, true, true, false},
		{"turned down", Kind{}, End{Strained: true}, 0, took, true, false, false},
		{"cancelled", Kind{}, End{}, 0, took, false, false, false},
		{"stream", Kind{Stream: true}, succeeds, 0, 0, false, true, false},
		{"failed stream", Kind{Stream: true}, fails, 0, 0, true, false, false},
		{"cancelled stream", Kind{Stream: true}, End{}, 0, 0, false, false, false},
	} {
		w := newWorld(t, usual(), "a")
		m := &w.all[0].Meter
		a, _ := w.begin(nil, tc.k)
		w.now += took
		w.end(a, tc.e)
		p := m.Past()
		if p.Latency != tc.latency || p.Bound != tc.bound || (p.Success < 1) != tc.failed || (m.LastHeard() == w.now) != tc.heard {
			t.Errorf("%s: %+v, heard at %v", tc.name, p, m.LastHeard())
		}
	}
	// What takes no time takes some: 0 is unknown.
	w := newWorld(t, usual(), "a")
	a, _ := w.begin(nil, Kind{})
	w.end(a, succeeds)
	if got := w.all[0].Meter.Past().Latency; got != 1 {
		t.Errorf("%v", got)
	}
}

// TestStreamsAreNoSilence: only what is answered soon is waited for.
func TestStreamsAreNoSilence(t *testing.T) {
	w := newWorld(t, usual(), "a")
	m := &w.all[0].Meter
	for range 5 {
		w.begin(nil, Kind{Stream: true})
	}
	if m.Pending() {
		t.Error("streams are waited for")
	}
	for range 3 {
		w.begin(nil, Kind{})
	}
	if !m.Pending() {
		t.Error("calls are not waited for")
	}
}

// TestSlow: what takes long speaks against a backend, be it a success.
func TestSlow(t *testing.T) {
	const limit = 100 * time.Millisecond
	cfg := usual()
	cfg.Breaker.MinCalls = 10
	for _, tc := range []struct {
		name string
		k    Kind
		e    End
		took time.Duration
		last int32
		out  bool
	}{
		{"fast", Kind{}, succeeds, limit - 1, good, false},
		{"slow", Kind{}, succeeds, limit, bad, true},
		{"no limit", Kind{}, succeeds, time.Hour, good, false},
		{"stream", Kind{Stream: true}, succeeds, limit, good, false},
		{"slow failure", Kind{}, fails, limit, bad, true},
	} {
		w := newWorld(t, cfg, "a", "b")
		tc.e.Slow = limit
		if tc.name == "no limit" {
			tc.e.Slow = 0
		}
		for range 15 {
			for range 2 {
				a, i := w.begin(nil, tc.k)
				w.now += tc.took
				if i == 0 {
					w.end(a, tc.e)
				} else {
					w.now -= tc.took
					w.end(a, succeeds)
				}
			}
		}
		b := w.all[0]
		if !b.closed() != tc.out || b.last.Load() != tc.last {
			t.Errorf("%s: out %v, heard %d", tc.name, !b.closed(), b.last.Load())
		}
	}
}

// TestOneLossIsOneFailure: of attempts that ended with one connection, the first
// counts; those that began after it are another's.
func TestOneLossIsOneFailure(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	lost := fails
	lost.Lost = true
	b := w.all[0]
	for loss := range 3 {
		var all []*Attempt
		for range 5 {
			all = append(all, w.at(t, 0, Kind{}))
		}
		for k, a := range all {
			ch := w.end(a, lost)
			if opens := loss == 2 && k == 0; ch.Transition.Happened() != opens {
				t.Fatalf("attempt %d of loss %d: %+v", k, loss, ch.Transition)
			}
		}
	}
	if n := b.Count(Failure); n != 15 {
		t.Errorf("%d attempts failed, want 15", n)
	}
	b.Ejections(func(why breaker.Reason, n uint64) {
		if why != breaker.Consecutive || n != 1 {
			t.Errorf("%d for %v", n, why)
		}
	})
}

// TestChosenAgain: grpc-go may ask again for one attempt; what is given back is as
// if it had not been.
func TestChosenAgain(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	w.now += 2 * time.Second
	a, i := w.begin(nil, Kind{Steady: true})
	if i != 0 || w.all[0].probes.Load() != 1 {
		t.Fatalf("to %d, %d probes", i, w.all[0].probes.Load())
	}
	if j := w.c.Choose(a); j != 1 { // it has been to the other
		t.Fatalf("again to %d", j)
	}
	if n := w.all[0].probes.Load(); n != 0 {
		t.Errorf("%d probes under way", n)
	}
	if !a.Moved() {
		t.Error("it has not moved")
	}
	if ch := a.End(w.now, fails); ch.Backend != w.all[1] || w.all[0].Count(Failure) != 3 {
		t.Errorf("%+v", ch)
	}
	// One that has ended takes no probe with it.
	w.now += 2 * time.Second
	late := NewAttempt(context.Background(), w.f, nil, Kind{First: true, Steady: true})
	late.End(w.now, End{})
	if i := w.c.Choose(late); i != 0 || w.all[0].probes.Load() != 0 || late.Backend() != nil {
		t.Errorf("to %d, %d probes, %v", i, w.all[0].probes.Load(), late.Backend())
	}
	// The place that was given back is free.
	w.now += 2 * time.Millisecond
	if _, i := w.begin(nil, Kind{Steady: true}); i != 0 {
		t.Error("no probe though none is under way")
	}
}

// TestStreamThatIsAnswered is a success then, and counts once; how it ends may
// speak against its backend.
func TestStreamThatIsAnswered(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	w.now += 2 * time.Second
	b := w.all[0]
	for k := range 2 {
		a, i := w.begin(nil, Kind{Steady: true, Stream: true})
		if i != 0 {
			t.Fatalf("no probe: to %d", i)
		}
		ch := a.Answered(w.now, 0)
		if ch.Backend != b || (ch.Transition.To == breaker.Closed && ch.Transition.Happened()) != (k == 1) {
			t.Errorf("%+v", ch)
		}
		if b.probes.Load() != 0 || b.last.Load() != good || b.Meter.LastHeard() != w.now {
			t.Errorf("%d probes, heard %d at %v", b.probes.Load(), b.last.Load(), b.Meter.LastHeard())
		}
		w.now += time.Second
		if ch := w.end(a, succeeds); ch.Transition.Happened() || b.probes.Load() != 0 {
			t.Errorf("%+v at its end", ch)
		}
		if ch := a.Answered(w.now, 0); ch.Backend != nil {
			t.Errorf("answered after its end: %+v", ch)
		}
	}
	if n := b.Count(Success); n != 2 {
		t.Errorf("%d successes, want 2", n)
	}
	for range 3 { // its end counts if it is bad
		w.end(w.at(t, 0, Kind{Stream: true}), fails)
	}
	if b.closed() {
		t.Error("streams that fail eject nobody")
	}
}

func TestAnsweredByNobody(t *testing.T) {
	w := newWorld(t, usual(), "a")
	a := NewAttempt(context.Background(), w.f, nil, Kind{Stream: true})
	if ch := a.Answered(w.now, 0); ch.Backend != nil {
		t.Errorf("%+v", ch)
	}
}

// TestRoute of a call whose suite balances nothing does nothing.
func TestZeroRoute(t *testing.T) {
	var r Route
	ctx := context.Background()
	if got, a := r.Begin(ctx, Kind{}); got != ctx || a != nil || r.On() || r.Elsewhere() || r.AtOnce() || r.Well() || r.Displaced() || r.Last() != "" {
		t.Error("the zero route does something")
	}
}

// TestRoute follows a call that fails on an ejected backend.
func TestRoute(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	var method LastGood
	try := func(r *Route, steady bool, e End) *Attempt {
		_, a := r.Begin(context.Background(), Kind{First: r.been == nil, Steady: steady})
		w.c.Choose(a)
		r.End(a, w.now, e)
		return a
	}
	r := NewRoute(w.f, &method)
	if !r.On() || r.Elsewhere() || r.AtOnce() || r.Well() {
		t.Error("a call that has been nowhere")
	}
	first := try(&r, true, fails)
	if r.Last() != first.Name() || !r.Elsewhere() || !r.AtOnce() || r.Displaced() || r.Well() {
		t.Errorf("after a failure: last %q, elsewhere %v, at once %v, displaced %v, well %v", r.Last(), r.Elsewhere(), r.AtOnce(), r.Displaced(), r.Well())
	}
	second := try(&r, true, succeeds)
	if second.Name() == first.Name() || r.Last() != second.Name() || r.Elsewhere() || !r.Well() {
		t.Errorf("after the other's success: %q, elsewhere %v, well %v", r.Last(), r.Elsewhere(), r.Well())
	}
	keep := *w.r.Config()
	keep.KeepBackoff = true
	w.eject(t, 0)
	w.now += 2 * time.Second
	probe := NewRoute(w.f, &method)
	if a := try(&probe, true, fails); a.Name() != "a" {
		t.Fatalf("went to %s, want a probe", a.Name())
	}
	if !probe.Displaced() || !probe.AtOnce() || !probe.Well() {
		t.Errorf("displaced %v, at once %v, well %v after a probe", probe.Displaced(), probe.AtOnce(), probe.Well())
	}
	w.r.Reconfigure(keep)
	if probe.AtOnce() || !probe.Elsewhere() {
		t.Error("KeepBackoff does not keep it")
	}
	try(&probe, true, succeeds)
	if probe.Displaced() {
		t.Error("displaced after a success")
	}
	same := keep
	same.SameBackend = true
	w.r.Reconfigure(same)
	r = NewRoute(w.f, &method)
	try(&r, true, fails)
	if r.Elsewhere() {
		t.Error("elsewhere with SameBackend")
	}
	w.r.Reconfigure(usual())
	r = NewRoute(w.f, &method)
	_ = try(&r, false, succeeds)
	w.r.Close()
	if r.Elsewhere() {
		t.Error("elsewhere after Close")
	}
}

// TestElsewhereIsWell: not where the last thing heard was bad, nor what is not ready.
func TestElsewhereIsWell(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	r := NewRoute(w.f, new(LastGood))
	_, a := r.Begin(context.Background(), Kind{First: true})
	i := w.c.Choose(a)
	r.End(a, w.now, fails)
	others := []*Backend{w.all[(i+1)%3], w.all[(i+2)%3]}
	if !r.Elsewhere() {
		t.Fatal("two are there")
	}
	others[0].last.Store(bad)
	if !r.Elsewhere() {
		t.Error("one is there")
	}
	others[1].last.Store(bad)
	if r.Elsewhere() {
		t.Error("what was heard last of both is bad")
	}
	others[1].last.Store(good)
	w.m.Ready([]string{w.all[i].key, others[0].key})
	if r.Elsewhere() {
		t.Error("the one that is well is not connected")
	}
}

// TestLastGood: failures on others say nothing as long as one that the method
// succeeded on is well.
func TestLastGood(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	var l LastGood
	a, b := w.all[0], w.all[1]
	if l.saw(nil, true); l.well() {
		t.Error("nobody has succeeded")
	}
	l.saw(a, true)
	l.saw(b, true) // one is enough
	if !l.well() || l.backend.Load() != a {
		t.Error("the first that succeeded is to be remembered")
	}
	l.saw(b, false)
	if !l.well() {
		t.Error("another has failed")
	}
	l.saw(a, false)
	if l.well() {
		t.Error("it has failed")
	}
	l.saw(a, true)
	w.eject(t, 0)
	if l.well() {
		t.Error("it is ejected")
	}
	l.saw(b, true)
	if !l.well() || l.backend.Load() != b {
		t.Error("another has succeeded since it is not well")
	}
	w.ready("a")
	if l.well() {
		t.Error("it is not connected")
	}
	w.ready("a", "b")
	w.resolve("b")
	if l.well() {
		t.Error("there is no other")
	}
}

// TestDivided: one is out, another in and connected.
func TestDivided(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c", "d")
	if w.f.divided() {
		t.Error("all are in")
	}
	w.eject(t, 0)
	if !w.f.divided() {
		t.Error("one of four is out")
	}
	w.ready("a")
	if w.f.divided() {
		t.Error("none is connected that is in")
	}
	w.ready("a", "b", "c", "d")
	w.eject(t, 1)
	w.eject(t, 2)
	if w.f.divided() {
		t.Error("three of four are out, which nobody believes")
	}
}
