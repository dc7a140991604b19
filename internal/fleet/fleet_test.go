package fleet

import (
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/internal/breaker"
)

func names(all []*Backend) (got []string) {
	for _, b := range all {
		got = append(got, b.Name)
	}
	return got
}

// TestRegistryIsFound by its ID, until it is closed or nobody has it.
func TestRegistryIsFound(t *testing.T) {
	w := newWorld(t, usual(), "a")
	other := newWorld(t, usual(), "a")
	if Find(w.r.ID) != w.r || Find(other.r.ID) != other.r || Find("") != nil || w.r.Closed() {
		t.Error("not found")
	}
	w.r.Close()
	if Find(w.r.ID) != nil || !w.r.Closed() || Find(other.r.ID) != other.r {
		t.Error("found after Close, or the other is not")
	}
	id := NewRegistry(time.Now(), nil, Config{}).ID
	known := func() bool {
		suites.Lock()
		defer suites.Unlock()
		_, known := suites.all[id]
		return known
	}
	for i := 0; Find(id) != nil || known(); i++ {
		if i > 1000 {
			t.Fatal("found, though nobody has it any more")
		}
		runtime.GC()
	}
	if now := NewRegistry(time.Now().Add(-time.Hour), nil, Config{}).Now(); now < time.Hour || now > time.Hour+time.Minute {
		t.Errorf("%v since its epoch", now)
	}
}

// TestFleetsAreByTarget, few of which are forgotten.
func TestFleetsAreByTarget(t *testing.T) {
	w := newWorld(t, usual(), "a")
	if w.r.Fleet(target) != w.f || w.m.Fleet() != w.f || w.f.Registry() != w.r {
		t.Error("another fleet")
	}
	idle := w.r.Fleet("test:///idle")
	w.now += keepFor + 1
	for i := range maxFleets - 3 {
		w.r.Fleet(fmt.Sprintf("test:///%d", i))
	}
	if w.r.Fleet("test:///idle") != idle {
		t.Error("forgotten, though there are few")
	}
	w.r.Fleet("test:///last")
	w.r.Fleet("test:///one more")
	if n := len(w.r.Fleets()); n != maxFleets {
		t.Errorf("%d fleets, want the idle one to make room", n)
	}
	if w.r.Fleet(target) != w.f {
		t.Error("one that has a connection was forgotten")
	}
	all := w.r.Fleets()
	if !slices.IsSortedFunc(all, func(a, b *Fleet) int { return cmpString(a.Target, b.Target) }) {
		t.Error("not by target")
	}
	// From when its last connection left.
	w.m.Leave()
	w.now += keepFor
	w.r.Fleet("test:///and another")
	if w.r.Fleet(target) != w.f {
		t.Error("forgotten too early")
	}
	w.now++
	w.r.Fleet("test:///and one more")
	if w.r.Fleet(target) == w.f {
		t.Error("not forgotten an hour after its last connection left")
	}
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// TestEndpointsComeAndGo: backends are shared by connections, kept while one knows
// them, and through a time without any.
func TestEndpointsComeAndGo(t *testing.T) {
	w := newWorld(t, usual(), "c", "a")
	other := w.f.Join()
	other.Resolved(endpoints("b", "a"))
	if got := names(w.f.Backends()); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("%v", got)
	}
	a := w.f.Backends()[0]
	if got := other.Ready([]string{"a", "x", "b"}); got[0] != a || got[1] != nil || got[2] == nil {
		t.Errorf("%v", got)
	}
	if n := a.ready.Load(); n != 2 || !a.Ready() || !a.Connected() {
		t.Errorf("%d connections to it, want 2", n)
	}
	w.eject(t, 0)
	c := w.all[0]
	if c.Name != "c" || w.f.out.Load() != 1 {
		t.Fatalf("%s, %d out", c.Name, w.f.out.Load())
	}
	version := w.f.version.Load()
	w.resolve("a")
	if got := names(w.f.Backends()); !slices.Equal(got, []string{"a", "b"}) || !c.gone.Load() || w.f.out.Load() != 0 || w.f.version.Load() == version {
		t.Errorf("%v; gone %v, %d out", got, c.gone.Load(), w.f.out.Load())
	}
	if c.well() {
		t.Error("one that has gone is well")
	}
	w.resolve("a", "c")
	if again := w.f.Backends()[2]; again == c || !again.closed() {
		t.Error("its state outlived the endpoint")
	}
	other.Leave()
	if got := names(w.f.Backends()); !slices.Equal(got, []string{"a", "c"}) || a.ready.Load() != 1 {
		t.Errorf("%v, %d ready", got, a.ready.Load())
	}
	if got := other.Ready([]string{"a"}); got[0] != nil || a.ready.Load() != 1 {
		t.Error("one that has left has backends")
	}
	w.m.Leave()
	if got := names(w.f.Backends()); !slices.Equal(got, []string{"a", "c"}) || a.Ready() {
		t.Errorf("%v without a connection, ready %v", got, a.Ready())
	}
	w.m = w.f.Join()
	w.resolve("a")
	if w.all[0] != a {
		t.Error("another backend after a time without a connection")
	}
}

// TestGoneIsNotJudged: attempts on it may still end.
func TestGoneIsNotJudged(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	var on []*Attempt
	for range 3 {
		on = append(on, w.at(t, 0, Kind{}))
	}
	a := w.all[0]
	w.resolve("b")
	for _, one := range on {
		if ch := w.end(one, fails); ch.Transition.Happened() {
			t.Errorf("%+v", ch)
		}
	}
	if !a.closed() || w.f.out.Load() != 0 {
		t.Error("it was ejected")
	}
}

// TestDisabled: nothing is judged, and what was out is in.
func TestDisabled(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	off := usual()
	off.EjectOff = true
	w.r.Reconfigure(off)
	a := w.all[0]
	if a.State(w.now) != breaker.Closed || a.Standing(w.now) != (breaker.Standing{}) || !w.f.Believed() || !a.in() || !a.well() || a.out() || w.f.divided() {
		t.Errorf("%v, %+v, believed %v, in %v, well %v", a.State(w.now), a.Standing(w.now), w.f.Believed(), a.in(), a.well())
	}
	if got := w.spread(20); !slices.Equal(got, []int{10, 10}) {
		t.Errorf("%v", got)
	}
	for range 9 {
		w.on(t, 1, fails)
	}
	if !w.all[1].closed() {
		t.Error("judged")
	}
	w.r.Reconfigure(usual())
	if a.State(w.now) != breaker.Open {
		t.Error("what was known was not kept")
	}
}

// TestReconfigure changes the numbers of all.
func TestReconfigure(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	quick := usual()
	quick.Breaker.Consecutive = 1
	w.r.Reconfigure(quick)
	if w.r.Config().Breaker.Consecutive != 1 {
		t.Error("not replaced")
	}
	if ch := w.on(t, 0, fails); ch.Transition.To != breaker.Open {
		t.Error("one failure does not eject")
	}
	w.resolve("a", "b", "c") // a new one has the new numbers, too
	if ch := w.on(t, 2, fails); ch.Transition.To != breaker.Open {
		t.Error("one failure of a new one does not eject")
	}
}

// TestShareByReload is heeded at once.
func TestShareByReload(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c", "d")
	w.eject(t, 0)
	if got := w.spread(8); got[0] != 0 {
		t.Errorf("%v", got)
	}
	less := usual()
	less.MaxShare = 0.1
	w.r.Reconfigure(less)
	if got := w.spread(8); got[0] != 2 || w.f.Believed() {
		t.Errorf("%v, believed %v", got, w.f.Believed())
	}
}

// TestWarnings are once for each target.
func TestWarnings(t *testing.T) {
	w := newWorld(t, usual(), "a")
	other := w.f.Join()
	other.Resolved(endpoints("a"))
	a := NewRoute(w.f, new(LastGood))
	_, nowhere := a.Begin(t.Context(), Kind{})
	a.End(nowhere, w.now, End{}) // without an answer: nobody knows
	_, nowhere = a.Begin(t.Context(), Kind{})
	a.End(nowhere, w.now, succeeds)
	_, nowhere = a.Begin(t.Context(), Kind{})
	a.End(nowhere, w.now, succeeds)
	w.f.mu.Lock()
	warned := len(w.f.warned)
	w.f.mu.Unlock()
	if warned != 2 {
		t.Errorf("%d warnings, want 2", warned)
	}
	picked := newWorld(t, usual(), "a", "b")
	r := NewRoute(picked.f, new(LastGood))
	picked.spread(1)
	_, nowhere = r.Begin(t.Context(), Kind{})
	r.End(nowhere, w.now, succeeds)
	if len(picked.f.warned) != 0 {
		t.Errorf("warned of %v", picked.f.warned)
	}
}

// TestRecords: what is out outlives the process, for the time that was left.
func TestRecords(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	w.eject(t, 0)
	w.all[2].Drain(w.now, time.Hour)
	w.now += 200 * time.Millisecond
	all := w.r.Records(time.Hour)
	slices.SortFunc(all, func(a, b Record) int { return cmpString(a.Backend, b.Backend) })
	if len(all) != 2 || all[0].Target != target || all[0].Backend != "a" || all[0].Openings != 1 || all[0].Left < 600*time.Millisecond || all[0].Left > time.Second || all[0].Age != 0 || all[0].Drained {
		t.Errorf("%+v", all)
	}
	if want := (Record{Target: target, Backend: "c", Left: time.Hour - 200*time.Millisecond, Openings: 1, Drained: true}); all[1] != want {
		t.Errorf("%+v, want %+v", all[1], want)
	}
	next := newWorld(t, usual(), "b")
	next.r.AddPending(all)
	next.now += 500 * time.Millisecond
	kept := next.r.Records(time.Hour)
	slices.SortFunc(kept, func(a, b Record) int { return cmpString(a.Backend, b.Backend) })
	if len(kept) != 2 || kept[0].Age != 500*time.Millisecond || kept[0].Left != all[0].Left-500*time.Millisecond || kept[1].Left != all[1].Left-500*time.Millisecond {
		t.Errorf("%+v", kept)
	}
	next.resolve("a", "b", "c")
	if a := next.all[0]; a.State(next.now) != breaker.Open || a.Standing(next.now).Until != next.now+kept[0].Left || a.Standing(next.now).Why != breaker.Restored {
		t.Errorf("%+v", a.Standing(next.now))
	}
	if c := next.all[2]; !c.drained(next.now+kept[1].Left-1) || c.drained(next.now+kept[1].Left) {
		t.Errorf("%+v", c.Standing(next.now))
	}
	if out, held := next.f.out.Load(), next.f.held.Load(); out != 2 || held != 1 {
		t.Errorf("%d out, %d held", out, held)
	}
	if n := len(next.r.pending.records); n != 0 {
		t.Errorf("%d are pending still", n)
	}
}

// TestPendingIsBounded in number and age.
func TestPendingIsBounded(t *testing.T) {
	w := newWorld(t, usual(), "b")
	var many []Record
	for i := range maxPending + 10 {
		many = append(many, Record{Target: "t", Backend: fmt.Sprint(i), Left: time.Minute, Openings: 1, Age: 10 * time.Minute})
	}
	w.r.AddPending(many)
	if n := len(w.r.Records(time.Hour)); n != maxPending {
		t.Errorf("%d, want %d", n, maxPending)
	}
	w.now += 50 * time.Minute
	if all := w.r.Records(time.Hour); len(all) != maxPending || all[0].Left != 0 || all[0].Age != time.Hour {
		t.Errorf("%d, %+v", len(all), all[0])
	}
	w.now++
	if n := len(w.r.Records(time.Hour)); n != 0 {
		t.Errorf("%d that are too old", n)
	}
}

// TestDrainThatIsOver leaves nothing.
func TestDrainThatIsOver(t *testing.T) {
	w := newWorld(t, usual(), "b")
	w.r.AddPending([]Record{{Target: target, Backend: "a", Left: time.Minute, Openings: 1, Drained: true}})
	w.now += time.Minute - 1
	if n := len(w.r.Records(time.Hour)); n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	w.now++
	if n := len(w.r.Records(time.Hour)); n != 0 {
		t.Errorf("%d records of a drain that is over", n)
	}
	w.resolve("a", "b")
	if !w.all[0].closed() {
		t.Error("drained, or ejected, after its time")
	}
}

// TestDrainOutlivesItsEndpoint, by no more than its time.
func TestDrainOutlivesItsEndpoint(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.all[0].Drain(w.now, time.Hour)
	w.now += time.Minute
	w.resolve("b")
	if out, held := w.f.out.Load(), w.f.held.Load(); out != 0 || held != 0 {
		t.Errorf("%d out, %d held of one that has gone", out, held)
	}
	w.now += time.Minute
	w.resolve("a", "b")
	if a := w.all[0]; !a.drained(w.now+58*time.Minute-1) || a.drained(w.now+58*time.Minute) {
		t.Errorf("%+v", a.Standing(w.now))
	}
	w.resolve("b")
	w.now += time.Hour
	w.resolve("a", "b")
	if !w.all[0].closed() {
		t.Error("out after its time")
	}
}

// TestDrain: what is chosen, by rule and by what is ready.
func TestDrain(t *testing.T) {
	for _, cfg := range []Config{{}, {P2C: true}, {Observe: true}, {EjectOff: true}} {
		c := usual()
		c.P2C, c.Observe, c.EjectOff = cfg.P2C, cfg.Observe, cfg.EjectOff
		w := newWorld(t, c, "a", "b", "c")
		a := w.all[0]
		if ch := a.Drain(w.now, time.Minute); ch != (breaker.Transition{From: breaker.Closed, To: breaker.Open, Reason: breaker.ByHand}) {
			t.Errorf("%+v", ch)
		}
		if got := w.spread(60); got[0] != 0 {
			t.Errorf("%+v: %v", cfg, got)
		}
		if a.in() || a.well() || !a.out() || !a.Believed() || a.State(w.now) != breaker.Open || a.Standing(w.now).Forced != breaker.ForcedOpen || a.Avoidable() != 0 {
			t.Errorf("%+v: in %v, well %v, out %v, believed %v, %v", cfg, a.in(), a.well(), a.out(), a.Believed(), a.State(w.now))
		}
		if w.f.divided() || !w.f.Believed() {
			t.Errorf("%+v: divided %v: nobody has failed", cfg, w.f.divided())
		}
		w.ready("a")
		if got := w.spread(4); got[0] != 4 || a.Believed() {
			t.Errorf("%+v: %v, believed %v, with no other connected", cfg, got, a.Believed())
		}
		w.ready("a", "b", "c")
		w.now += time.Minute - 1
		if got := w.spread(6); got[0] != 0 {
			t.Errorf("%+v: %v", cfg, got)
		}
		w.now++
		probe, i := w.begin(nil, Kind{Steady: true})
		if want := !cfg.Observe && !cfg.EjectOff; (i == 0) != want {
			t.Errorf("%+v: the first call when its time is over went to %d", cfg, i)
		}
		w.end(probe, succeeds)
		got := make([]int, 3)
		for range 600 {
			a, i := w.begin(nil, Kind{Steady: true})
			got[i]++
			w.now += 10 * time.Millisecond
			w.end(a, succeeds)
		}
		if got[0] < 50 {
			t.Errorf("%+v: %v after its time", cfg, got)
		}
		if !cfg.EjectOff && (!a.closed() || w.f.out.Load() != 0 || w.f.held.Load() != 0) {
			t.Errorf("%+v: %+v, %d out, %d held", cfg, a.Standing(w.now), w.f.out.Load(), w.f.held.Load())
		}
	}
}

// TestDrainOfOneEjected, and its return.
func TestDrainOfOneEjected(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	w.eject(t, 0)
	a := w.all[0]
	if ch := a.Drain(w.now, time.Minute); ch.Happened() || w.f.held.Load() != 1 || w.f.out.Load() != 1 {
		t.Errorf("%+v, %d held, %d out", ch, w.f.held.Load(), w.f.out.Load())
	}
	n := map[breaker.Reason]uint64{}
	a.Ejections(func(why breaker.Reason, k uint64) { n[why] = k })
	if len(n) != 2 || n[breaker.ByHand] != 1 || n[breaker.Consecutive] != 1 {
		t.Errorf("%v", n)
	}
	w.now += 30 * time.Second // past any open time
	if got := w.spread(30); got[0] != 0 {
		t.Errorf("%v", got)
	}
	if ch := a.Return(w.now); ch != (breaker.Transition{From: breaker.Open, To: breaker.Closed, Reason: breaker.ByHand}) || w.f.held.Load() != 0 || w.f.out.Load() != 0 {
		t.Errorf("%+v, %d held, %d out", ch, w.f.held.Load(), w.f.out.Load())
	}
	if got := w.spread(30); got[0] != 10 || a.Standing(w.now).Forced != breaker.NotForced || a.Meter.Past().Since != w.now {
		t.Errorf("%v, %+v", got, a.Standing(w.now))
	}
	if ch := a.Return(w.now); ch.Happened() || a.Standing(w.now).Since != w.now {
		t.Errorf("%+v of one that is in", ch)
	}
}

// TestDrainedDoNotCount for the share that may be out.
func TestDrainedDoNotCount(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c", "d", "e")
	for _, b := range w.all[:3] {
		b.Drain(w.now, time.Minute)
	}
	w.eject(t, 3) // of two
	if !w.f.Believed() || !w.f.divided() {
		t.Errorf("believed %v, divided %v", w.f.Believed(), w.f.divided())
	}
	if got := w.spread(10); !slices.Equal(got, []int{0, 0, 0, 0, 10}) {
		t.Errorf("%v", got)
	}
	w.all[2].Return(w.now) // of three
	if got := w.spread(10); got[0]+got[1]+got[3] > 0 || got[2] == 0 || got[4] == 0 {
		t.Errorf("%v", got)
	}
	w.eject(t, 4) // two of three: nobody is believed to be out, but the drained
	if got := w.spread(20); got[0]+got[1] > 0 || got[2] == 0 || got[3] == 0 || got[4] == 0 || w.f.Believed() || !w.all[0].Believed() {
		t.Errorf("%v, believed %v", got, w.f.Believed())
	}
	// Of those that are not ready, too: two are resolved that are not drained.
	w = newWorld(t, usual(), "a", "b", "c", "d")
	w.all[0].Drain(w.now, time.Minute)
	w.all[1].Drain(w.now, time.Minute)
	w.ready("c", "d")
	w.eject(t, 0)
	if got := w.spread(4); got[0] != 0 {
		t.Errorf("%v", got)
	}
	w.f.Named("b")[0].Return(w.now)
	w.f.Named("a")[0].Return(w.now)
	less := usual()
	less.MaxShare = 0.3 // of four: one; of two: none
	w.r.Reconfigure(less)
	if got := w.spread(4); got[0] != 0 {
		t.Errorf("%v: one of four may be out", got)
	}
	w.f.Named("a")[0].Drain(w.now, time.Minute)
	if got := w.spread(4); got[0] != 2 {
		t.Errorf("%v: none of three may be out", got)
	}
}

// TestSilenceBesideADrain is heeded as if that were not there.
func TestSilenceBesideADrain(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	w.all[0].Drain(w.now, time.Minute)
	for range 6 {
		a, _ := w.begin(nil, Kind{})
		w.now += 10 * time.Millisecond
		w.end(a, succeeds)
	}
	for range 3 {
		w.all[1].Meter.Enter()
		w.all[1].Meter.Ask(w.now)
	}
	w.now += 100 * time.Millisecond
	w.all[2].Meter.Heard(w.now)
	if got := w.spread(10); !slices.Equal(got, []int{0, 0, 10}) {
		t.Errorf("%v", got)
	}
}

// TestNamed finds all of a name.
func TestNamed(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.m.Resolved([]Endpoint{NewEndpoint([]string{"a", "x"}), NewEndpoint([]string{"a", "y"}), NewEndpoint([]string{"b"})})
	if all := w.f.Named("a"); len(all) != 2 || all[0] == all[1] {
		t.Errorf("%v", names(all))
	}
	if all := w.f.Named("c"); len(all) != 0 {
		t.Errorf("%v", names(all))
	}
}

// TestCountsAgree: whatever happens, the fleet's counts are those of its backends,
// nobody who is left alone is chosen, and no probe is lost.
func TestCountsAgree(t *testing.T) {
	keys := []string{"a", "b", "c", "d"}
	rapid.Check(t, func(rt *rapid.T) {
		cfg := usual()
		cfg.P2C = rapid.Bool().Draw(rt, "p2c")
		cfg.Observe = rapid.Bool().Draw(rt, "observe")
		w := &world{now: time.Hour}
		w.r = NewRegistry(time.Time{}, func() *slog.Logger { return slog.New(slog.DiscardHandler) }, cfg)
		defer w.r.Close()
		w.r.Clock = func() time.Duration { return w.now }
		w.f = w.r.Fleet(target)
		w.m = w.f.Join()
		w.resolve(keys...)
		var flying []*Attempt
		pick := func(what string) *Backend {
			all := w.f.Backends()
			return all[rapid.IntRange(0, len(all)-1).Draw(rt, what)]
		}
		rt.Repeat(map[string]func(*rapid.T){
			"begin": func(rt *rapid.T) {
				a, i := w.begin(nil, Kind{Steady: rapid.Bool().Draw(rt, "steady"), Stream: rapid.Bool().Draw(rt, "stream")})
				flying = append(flying, a)
				b := w.all[i]
				anyIn := slices.ContainsFunc(w.all, (*Backend).in)
				if b.drained(w.now) && anyIn {
					rt.Fatalf("%s is drained, and was chosen", b.Name)
				}
				if !b.in() && anyIn && w.f.Believed() && !a.token.Probe() {
					rt.Fatalf("%s is ejected, and was chosen", b.Name)
				}
			},
			"end": func(rt *rapid.T) {
				if len(flying) == 0 {
					rt.Skip()
				}
				i := rapid.IntRange(0, len(flying)-1).Draw(rt, "which")
				e := rapid.SampledFrom([]End{succeeds, fails, fails, {}}).Draw(rt, "end")
				w.end(flying[i], e)
				flying = slices.Delete(flying, i, i+1)
			},
			"answer": func(rt *rapid.T) {
				if len(flying) == 0 {
					rt.Skip()
				}
				flying[rapid.IntRange(0, len(flying)-1).Draw(rt, "which")].Answered(w.now, 0)
			},
			"drain":  func(*rapid.T) { pick("drained").Drain(w.now, 2*time.Second) },
			"return": func(*rapid.T) { pick("returned").Return(w.now) },
			"resolve": func(rt *rapid.T) {
				w.resolve(rapid.SliceOfNDistinct(rapid.SampledFrom(keys), 1, 4, rapid.ID[string]).Draw(rt, "keys")...)
			},
			"time": func(rt *rapid.T) {
				w.now += time.Duration(rapid.Int64Range(1, int64(3*time.Second)).Draw(rt, "passes"))
			},
			"": func(rt *rapid.T) {
				out, held, drained := 0, 0, 0
				for _, b := range w.f.Backends() {
					if !b.closed() {
						out++
						if b.guard.Standing(0).Forced == breaker.ForcedOpen {
							held++
						}
						if b.drained(w.now) {
							drained++
						}
					}
					probes := int32(0)
					for _, a := range flying {
						if a.backend == b && a.token.Probe() {
							probes++
						}
					}
					if got := b.probes.Load(); got != probes {
						rt.Fatalf("%s has %d probes, want %d", b.Name, got, probes)
					}
				}
				if int(w.f.out.Load()) != out || int(w.f.held.Load()) != held {
					rt.Fatalf("%d out and %d held, want %d and %d", w.f.out.Load(), w.f.held.Load(), out, held)
				}
				if e, d := w.f.away(); e != out-drained || d != drained {
					rt.Fatalf("%d ejected and %d drained, want %d and %d", e, d, out-drained, drained)
				}
			},
		})
	})
}
