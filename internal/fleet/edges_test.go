package fleet

import (
	"context"
	"testing"
	"time"
)

// TestNobodyWaitsForWhatIsOver: a backend looks slower for as long as an attempt that is
// no stream waits for it, not for one that has ended or that grpc-go has sent elsewhere.
func TestNobodyWaitsForWhatIsOver(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	for _, b := range w.all {
		b.Meter.Succeeded(w.now, time.Millisecond)
	}
	waits := func(b *Backend) bool {
		later := w.now + time.Second
		return b.Meter.Expected(later) != b.Meter.Past()
	}
	stream, i := w.begin(nil, Kind{Stream: true})
	if waits(w.all[i]) {
		t.Error("a stream waits")
	}
	w.end(stream, End{})
	a := w.at(t, i, Kind{})
	if !waits(w.all[i]) {
		t.Error("nobody waits for an attempt that has begun, after a stream has ended")
	}
	if j := w.c.Choose(a); j == i {
		t.Fatal("chosen again for the same")
	}
	if waits(w.all[i]) || !waits(w.all[1-i]) {
		t.Errorf("chosen again: the first waits %v, the other %v", waits(w.all[i]), waits(w.all[1-i]))
	}
	if a.End(w.now, End{}); waits(w.all[0]) || waits(w.all[1]) {
		t.Error("somebody waits for an attempt that was given up")
	}
}

// TestProbesThatEnd make room for one each, however they end.
func TestProbesThatEnd(t *testing.T) {
	for _, e := range []End{succeeds, fails, {}} {
		w := newWorld(t, usual(), "a", "b")
		w.eject(t, 0)
		w.now += 2 * time.Second
		probe, i := w.begin(nil, Kind{Steady: true})
		if i != 0 || !probe.token.Probe() {
			t.Fatalf("to %d, which is no probe", i)
		}
		w.now += patience // after which another may be
		if other, i := w.begin(nil, Kind{Steady: true}); i != 0 || !other.token.Probe() || w.all[0].probes.Load() != 2 {
			t.Fatalf("to %d, %d probes, want two", i, w.all[0].probes.Load())
		}
		if w.end(probe, e); w.all[0].probes.Load() != 1 {
			t.Errorf("%+v: %d probes under way, want one", e, w.all[0].probes.Load())
		}
	}
}

// TestProbeOfOneThatIsIn is none: it may have come back since it was seen to be out.
func TestProbeOfOneThatIsIn(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	b := w.all[0]
	if token, ok := b.probe(w.now, true); !ok || token.Probe() || b.probes.Load() != 0 {
		t.Errorf("admitted %v, probe %v, %d under way", ok, token.Probe(), b.probes.Load())
	}
}

// TestClientsBeginAnywhere: not all connections send their first call to the first
// backend that the resolver names.
func TestClientsBeginAnywhere(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	got := make([]int, 3)
	for range 300 {
		got[NewChooser(w.f, w.all, 3).Choose(nil)]++
	}
	for i, n := range got {
		if n < 60 || n > 140 {
			t.Errorf("%d of 300 connections begin with %s, want a third", n, w.all[i].Name)
		}
	}
}

// TestBeliefIsKept until the fleet changes: choices look at all backends once.
func TestBeliefIsKept(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	w.eject(t, 0)
	for range 2 {
		judged, _ := w.c.believe(w.r.Config(), w.now)
		if kept := w.c.belief.Load(); !judged || kept != w.f.version.Load()<<1|1 {
			t.Errorf("judged %v, kept %b of version %b", judged, kept, w.f.version.Load())
		}
	}
	w.c.belief.Store(w.f.version.Load() << 1) // that nobody is out
	if judged, _ := w.c.believe(w.r.Config(), w.now); judged {
		t.Error("what is kept is not looked at")
	}
	w.all[1].Drain(w.now, time.Minute)
	if judged, drained := w.c.believe(w.r.Config(), w.now); !judged || !drained {
		t.Errorf("judged %v, drained %v, once the fleet has changed", judged, drained)
	}
}

// TestChosenForItsCost: what p2c has chosen is not left out, and its looks are over.
func TestChosenForItsCost(t *testing.T) {
	cfg := usual()
	cfg.P2C = true
	w := newWorld(t, cfg, "a", "b")
	w.now += time.Minute
	w.all[0].Meter.Succeeded(w.now, time.Second)
	w.all[1].Meter.Succeeded(w.now, time.Millisecond)
	for _, b := range w.all {
		b.picked.Store(int64(w.now))
		b.looks.Store(1)
	}
	if i := w.c.Choose(nil); i != 1 {
		t.Fatal("it is dear")
	}
	if b := w.all[1]; b.looks.Load() != 0 || b.pickedTurn.Load() != w.f.turns.Load() {
		t.Errorf("%d looks, chosen by turn %d of %d", b.looks.Load(), b.pickedTurn.Load(), w.f.turns.Load())
	}
	if w.all[0].looks.Load() != 1 {
		t.Error("the looks at the other are over")
	}
}

// TestDrainKeptHasOpenedOnce: what outlives its endpoint is a first opening, so that
// its open times begin with the shortest.
func TestDrainKeptHasOpenedOnce(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.all[0].Drain(w.now, time.Hour)
	w.resolve("b")
	want := Record{Target: target, Backend: "a", Left: time.Hour, Openings: 1, Drained: true}
	if got := w.r.Records(time.Hour); len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	none := NewAttempt(context.Background(), w.f, nil, Kind{})
	if w.c.Choose(none); none.Name() != "b" {
		t.Errorf("to %q", none.Name())
	}
}

// TestDrainIsOverWithItsProbe: the first that goes there when its time is over finds one
// that is out like any other, which is not held any more.
func TestDrainIsOverWithItsProbe(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.all[0].Drain(w.now, time.Minute)
	if out, held := w.f.out.Load(), w.f.held.Load(); out != 1 || held != 1 {
		t.Fatalf("%d out, %d held", out, held)
	}
	w.now += time.Minute
	if a, i := w.begin(nil, Kind{Steady: true}); i != 0 || !a.token.Probe() {
		t.Fatalf("to %d, which is no probe", i)
	}
	if out, held := w.f.out.Load(), w.f.held.Load(); out != 1 || held != 0 {
		t.Errorf("%d out, %d held, with its probe under way", out, held)
	}
}
