package fleet

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBelief: who is believed out, by what is ready on a connection, and known to it.
func TestBelief(t *testing.T) {
	for _, tc := range []struct {
		name           string
		ready          string // i: in, e: ejected, d: drained
		resolved       int
		share          float64
		observe, off   bool
		judged, drains bool
	}{
		{"all in", "ii", 2, 0.5, false, false, false, false},
		{"one out", "ei", 2, 0.5, false, false, true, false},
		{"observed", "ei", 2, 0.5, true, false, true, false},
		{"disabled", "ei", 2, 0.5, false, true, false, false},
		{"too many", "eei", 3, 0.5, false, false, false, false},
		{"more are resolved", "eei", 5, 0.5, false, false, true, false},
		{"all that are ready", "ee", 5, 0.5, false, false, false, false},
		{"drained", "dii", 3, 0.5, false, false, false, true},
		{"drained, disabled", "dii", 3, 0.5, false, true, false, true},
		{"all drained", "dd", 2, 0.5, false, false, false, false},
		{"drained, others out", "de", 2, 0.5, false, false, false, false},
		{"drained, others out, observed", "de", 2, 0.5, true, false, false, true},
		{"drained, others out, disabled", "de", 2, 0.5, false, true, false, true},
		{"both", "dei", 3, 0.5, false, false, true, true},
		{"both, too many", "deei", 4, 0.5, false, false, false, true},
		{"all but the drained", "dee", 9, 0.5, false, false, false, false},
		{"the share is of those not drained", "ddei", 4, 0.4, false, false, false, true},
	} {
		cfg := usual()
		cfg.MaxShare, cfg.Observe, cfg.EjectOff = tc.share, tc.observe, tc.off
		w := newWorld(t, usual(), strings.Split("abcdefghi"[:tc.resolved], "")...)
		w.ready(strings.Split("abcdefghi"[:len(tc.ready)], "")...)
		for i, is := range tc.ready {
			switch is {
			case 'e':
				for range 3 {
					a := NewAttempt(context.Background(), w.f, nil, Kind{})
					token, _ := w.all[i].guard.AdmitClosed()
					a.chosen(w.now, w.c, w.all[i], token)
					a.End(w.now, fails)
				}
			case 'd':
				w.all[i].Drain(w.now, time.Minute)
			}
		}
		c := NewChooser(w.f, w.all, tc.resolved)
		for range 2 { // what is remembered is the same
			if judged, drains := c.believe(&cfg, w.now); judged != tc.judged || drains != tc.drains {
				t.Errorf("%s: %v and %v, want %v and %v", tc.name, judged, drains, tc.judged, tc.drains)
			}
		}
		if held := strings.Contains(tc.ready, "d"); (c.belief.Load() != 0) == held {
			t.Errorf("%s: remembered %b", tc.name, c.belief.Load())
		}
	}
}

// TestSilentBesideDrained: those that are silent must leave one that is neither.
func TestSilentBesideDrained(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c", "d", "e")
	w.all[0].Drain(w.now, time.Minute)
	w.ready("a", "b", "c", "d")
	ask := func(b *Backend) {
		b.Meter.Succeeded(w.now, time.Millisecond)
		b.picked.Store(int64(w.now + patience))
		for range 3 {
			b.Meter.Enter()
			b.Meter.Ask(w.now)
		}
	}
	silent := func() bool {
		s := selection{chooser: NewChooser(w.f, w.all, 5), cfg: w.r.Config(), now: w.now + patience, drains: true}
		s.listen()
		return s.silent
	}
	ask(w.all[1])
	ask(w.all[2])
	if !silent() {
		t.Error("two of four that are not drained may be silent")
	}
	w.ready("a", "b", "c")
	if silent() {
		t.Error("nobody is left")
	}
	b := w.all[1]
	b.picked.Store(int64(w.now))
	for at, want := range map[time.Duration]bool{patience - 1: true, patience: false} {
		s := selection{chooser: w.c, cfg: w.r.Config(), now: w.now + at}
		if s.quiet(b) != want {
			t.Errorf("silent %v after it was last asked: %v", at, !want)
		}
	}
}

// TestProbeIsAlone for as long as one may take, be others as willing.
func TestProbeIsAlone(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	w.now += 2 * time.Second
	begun := w.now
	w.f.steady.Store(0)
	if _, i := w.begin(nil, Kind{Steady: true}); i != 0 || w.f.steady.Load() != int64(begun) {
		t.Fatalf("to %d, steady since %v", i, time.Duration(w.f.steady.Load()))
	}
	for w.now += 2 * time.Millisecond; w.now < begun+patience; w.now += 100 * time.Millisecond {
		if _, i := w.begin(nil, Kind{Steady: true}); i == 0 {
			t.Fatalf("another probe after %v", w.now-begun)
		}
	}
	// In a panic, too, an attempt that goes there is a probe, whatever others would mind.
	w = newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	w.eject(t, 1)
	w.now += 3 * time.Second
	w.f.steady.Store(int64(w.now))
	if a, _ := w.begin(nil, Kind{}); !a.token.Probe() {
		t.Error("no probe")
	}
}

// TestTwoAreCompared by how often they fail, then by cost; a call looks among those
// that it has not been to.
func TestTwoAreCompared(t *testing.T) {
	cfg := usual()
	cfg.P2C = true
	share := func(latency time.Duration, spoil func(w *world)) float64 {
		w := newWorld(t, cfg, "a", "b")
		w.now += time.Minute
		w.all[0].Meter.Succeeded(w.now, latency)
		w.all[1].Meter.Succeeded(w.now, 10*time.Millisecond)
		spoil(w)
		got := 0
		const n = 8000
		for range n {
			if w.c.Choose(nil) == 0 {
				got++
			}
		}
		return float64(got) / n
	}
	fail := func(b *Backend, n int) {
		for range n {
			b.Meter.Failed(0, 0)
		}
	}
	// The cube of (15/16)^20 by that of (15/16)^5 is 0.055: half of that where costs
	// are equal, as it must be drawn first then; all of it where it is cheaper.
	both := func(w *world) { fail(w.all[0], 20); fail(w.all[1], 5) }
	if got := share(10*time.Millisecond, both); got < 0.020 || got > 0.036 {
		t.Errorf("%.3f of the choices, want 0.027", got)
	}
	if got := share(5*time.Millisecond, both); got < 0.045 || got > 0.066 {
		t.Errorf("%.3f of the choices, though it is cheaper, want 0.055", got)
	}
	w := newWorld(t, cfg, "a", "b", "c")
	w.now += time.Minute
	for i, took := range []time.Duration{1, 100, 10} {
		w.all[i].Meter.Succeeded(w.now, took*time.Millisecond)
	}
	for range 50 {
		a, i := w.begin(nil, Kind{})
		w.end(a, End{})
		if i != 0 {
			continue
		}
		b, j := w.begin(a.Call(), Kind{})
		if w.end(b, End{}); j != 2 {
			t.Fatalf("a call that has been to a goes to %s, want the cheaper of the others", w.all[j].Name)
		}
	}
	// Silence counts for more than cost.
	w = newWorld(t, cfg, "a", "b", "c")
	w.now += time.Minute
	for _, b := range w.all {
		b.Meter.Succeeded(w.now, 10*time.Millisecond)
		for range 100 {
			b.Meter.Enter()
		}
	}
	for range 97 {
		w.all[0].Meter.Leave()
	}
	for range 3 {
		w.all[0].Meter.Ask(w.now)
	}
	w.now += 60 * time.Millisecond
	w.all[1].Meter.Heard(w.now)
	for _, b := range w.all {
		b.picked.Store(int64(w.now))
	}
	for range 100 {
		if w.c.Choose(nil) == 0 {
			t.Fatal("the silent one was chosen for being cheap")
		}
	}
}

// TestLooks: p2c asks one that was left out, notes that it was for that, and forgets it
// when that is chosen for its cost, or answers fast.
func TestLooks(t *testing.T) {
	cfg := usual()
	cfg.P2C = true
	w := newWorld(t, cfg, "a", "b")
	w.now += time.Minute
	a := w.all[0]
	a.Meter.Succeeded(w.now, time.Second)
	w.all[1].Meter.Succeeded(w.now, time.Millisecond)
	a.picked.Store(int64(w.now))
	a.pickedTurn.Store(0)
	for range lookAfter - 1 {
		if w.c.Choose(nil) == 0 {
			t.Fatal("it is dear")
		}
	}
	w.now += patience
	at := w.c.Choose(nil)
	if at != 0 {
		at = w.c.Choose(nil) // its turn
	}
	if at != 0 || a.looks.Load() != 1 || a.pickedTurn.Load() < lookAfter {
		t.Errorf("went to %d, %d looks, at turn %d", at, a.looks.Load(), a.pickedTurn.Load())
	}
	turn := w.f.turns.Load()
	if w.c.Choose(nil); w.all[1].pickedTurn.Load() != turn+1 {
		t.Errorf("the cheaper was chosen by turn %d, want %d", w.all[1].pickedTurn.Load(), turn+1)
	}
	if a.chosen(5000); a.looks.Load() != 0 {
		t.Error("looks are not forgotten")
	}
	for name, tc := range map[string]struct {
		looks int32
		k     Kind
		e     End
		fast  bool
	}{
		"fast again":    {2, Kind{}, succeeds, true},
		"not left out":  {0, Kind{}, succeeds, false},
		"a stream":      {2, Kind{Stream: true}, succeeds, false},
		"not found":     {2, Kind{}, End{Good: true, Alive: true}, false},
		"looked for it": {1, Kind{}, succeeds, true},
	} {
		w := newWorld(t, usual(), "a")
		b := w.all[0]
		b.Meter.Succeeded(w.now, time.Second)
		b.looks.Store(tc.looks)
		one, _ := w.begin(nil, tc.k)
		w.now += 10 * time.Millisecond
		w.end(one, tc.e)
		want := tc.looks
		if tc.fast {
			want = 0
		}
		if got := b.Meter.Past(); (got.Latency == 10*time.Millisecond) != tc.fast || b.looks.Load() != want {
			t.Errorf("%s: %+v, %d looks", name, got, b.looks.Load())
		}
	}
}

// TestStreamsSucceed for p2c's sake, too.
func TestStreamsSucceed(t *testing.T) {
	w := newWorld(t, usual(), "a")
	m := &w.all[0].Meter
	m.Failed(w.now, 0)
	before := m.Past().Success
	a, _ := w.begin(nil, Kind{Stream: true})
	if w.end(a, succeeds); m.Past().Success <= before {
		t.Error("a stream's success is none")
	}
}

// TestElsewhereNeedsBelief, a choice, and leave to go there.
func TestElsewhereNeedsBelief(t *testing.T) {
	start := func(cfg Config) (*world, *Route) {
		w := newWorld(t, cfg, "a", "b", "c", "d")
		r := NewRoute(w.f, new(LastGood))
		return w, &r
	}
	try := func(w *world, r *Route) {
		_, a := r.Begin(context.Background(), Kind{First: r.been == nil})
		w.c.Choose(a)
		r.End(a, w.now, fails)
	}
	w, r := start(usual())
	_, nowhere := r.Begin(context.Background(), Kind{First: true})
	if r.Elsewhere() {
		t.Error("the call has been nowhere")
	}
	r.End(nowhere, w.now, End{})
	w, r = start(usual())
	if try(w, r); !r.Elsewhere() {
		t.Error("three others are there")
	}
	w.r.Close()
	if r.Elsewhere() {
		t.Error("after Close")
	}
	same := usual()
	same.SameBackend = true
	w, r = start(same)
	if try(w, r); r.Elsewhere() {
		t.Error("with SameBackend")
	}
	w, r = start(usual())
	for i := range 3 {
		w.eject(t, i)
	}
	_, a := r.Begin(context.Background(), Kind{First: true})
	a.chosen(w.now, w.c, w.all[0], a.token)
	if r.End(a, w.now, fails); r.Elsewhere() {
		t.Error("in a panic nobody is known to be well")
	}
}

// TestRouteOfAStream: its answer is the method's success; a displaced attempt is one.
func TestRouteOfAStream(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	r := NewRoute(w.f, new(LastGood))
	_, a := r.Begin(context.Background(), Kind{First: true, Stream: true})
	w.c.Choose(a)
	if r.Answered(a, w.now, 0); !r.Well() {
		t.Error("a stream that was answered is no success of its method")
	}
	r.displaced = true
	if r.Begin(context.Background(), Kind{}); r.Displaced() {
		t.Error("displaced by an attempt before the last")
	}
	var l LastGood
	l.saw(w.all[0], true)
	if l.saw(w.all[0], true); !l.well() {
		t.Error("a second success is none")
	}
	// What has answered nothing leaves nothing locked.
	none := NewAttempt(context.Background(), w.f, nil, Kind{})
	none.Answered(w.now, 0)
	if none.Backend() != nil {
		t.Error("it went somewhere")
	}
}

// TestLogged: once for each target, though by a goroutine, as a logger may come back.
func TestLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log buffer
		r := NewRegistry(time.Now(), func() *slog.Logger { return slog.New(slog.NewTextHandler(&log, nil)) }, usual())
		defer r.Close()
		f := r.Fleet(target)
		if len(f.Backends()) != 0 {
			t.Errorf("%v before any is resolved", f.Backends())
		}
		route := NewRoute(f, new(LastGood))
		lines := func() int {
			synctest.Wait()
			return strings.Count(log.String(), "\n")
		}
		end := func(e End) {
			_, a := route.Begin(context.Background(), Kind{})
			route.End(a, r.Now(), e)
		}
		if end(fails); lines() != 0 {
			t.Errorf("of an attempt that nobody answered: %s", log.String())
		}
		end(succeeds)
		if end(succeeds); lines() != 1 || !strings.Contains(log.String(), "does not use the suite's load-balancing policy") {
			t.Errorf("logged %s", log.String())
		}
		m := f.Join()
		m.Resolved(endpoints("a"))
		if m.Resolved(endpoints("a")); lines() != 2 || !strings.Contains(log.String(), "single address") {
			t.Errorf("logged %s", log.String())
		}
	})
}

// TestBounds are what the documentation of stores and of targets says.
func TestBounds(t *testing.T) {
	if maxPending != 16384 || maxFleets != 1024 || lookAfter != 100 || maxTried != 4 {
		t.Error("a bound has changed")
	}
	Linked()
	if !IsLinked() {
		t.Error("not linked")
	}
	w := newWorld(t, usual(), "a", "b")
	w.ready("a")
	if !w.all[0].Connected() || w.f.Named("b")[0].Connected() {
		t.Error("connected is what is not ready")
	}
	w.eject(t, 0)
	off := usual()
	off.EjectOff = true
	w.r.Reconfigure(off)
	if ejected, drained := w.f.away(); ejected != 0 || drained != 0 {
		t.Errorf("%d ejected and %d drained with ejection disabled", ejected, drained)
	}
}
