package fleet

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/astra-grpc/astra/internal/backend"
	"github.com/astra-grpc/astra/internal/breaker"
)

func TestTurnsAreEven(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	if got := w.spread(30); !slices.Equal(got, []int{10, 10, 10}) {
		t.Errorf("%v, want ten each", got)
	}
	plain := make([]int, 3)
	for range 30 {
		plain[w.c.Choose(nil)]++ // none of the suite's attempts
	}
	if !slices.Equal(plain, []int{10, 10, 10}) {
		t.Errorf("%v of others', want ten each", plain)
	}
	w.eject(t, 0)
	w.r.Close()
	plain = make([]int, 3)
	for range 30 {
		a := NewAttempt(context.Background(), w.f, nil, Kind{First: true})
		plain[w.c.Choose(a)]++
		if a.Backend() != nil {
			t.Fatal("noted after Close")
		}
	}
	if !slices.Equal(plain, []int{10, 10, 10}) {
		t.Errorf("%v after Close, want ten each", plain)
	}
}

// TestCallsGoElsewhere: a retry to one that its call has not been to, while there
// is one, evenly.
func TestCallsGoElsewhere(t *testing.T) {
	for _, p2c := range []bool{false, true} {
		c := usual()
		c.P2C = p2c
		w := newWorld(t, c, "a", "b", "c", "d")
		second, again := make([]int, 4), 0
		const n = 3000
		for range n {
			a, i := w.begin(nil, Kind{})
			seen := map[int]bool{i: true}
			if !a.Call().Tried(w.all[i]) || a.Moved() {
				t.Fatal("a first attempt has moved, or has been nowhere")
			}
			w.end(a, succeeds)
			for k := range 3 {
				b, j := w.begin(a.Call(), Kind{})
				if k == 0 {
					second[j]++
				}
				if seen[j] {
					again++
				}
				if b.Moved() == seen[j] {
					t.Fatalf("attempt %d on %d has moved: %v", k+2, j, b.Moved())
				}
				seen[j] = true
				w.end(b, succeeds)
			}
			if last, _ := w.begin(a.Call(), Kind{}); last.Moved() { // it has been everywhere
				t.Fatal("moved to where it had been")
			} else {
				w.end(last, succeeds)
			}
			w.now += time.Millisecond
		}
		if again > 0 {
			t.Errorf("p2c %v: %d attempts went where their call had been", p2c, again)
		}
		for i, k := range second {
			if share := float64(k) / n; !p2c && (share < 0.22 || share > 0.28) {
				t.Errorf("backend %d got %.2f of the second attempts, want a quarter", i, share)
			}
		}
	}
}

// TestSameBackend: attempts take turns, wherever their call has been.
func TestSameBackend(t *testing.T) {
	c := usual()
	c.SameBackend = true
	w := newWorld(t, c, "a", "b")
	for range 20 {
		a, i := w.begin(nil, Kind{})
		w.begin(nil, Kind{}) // another's
		if b, j := w.begin(a.Call(), Kind{}); j != i || b.Moved() {
			t.Fatalf("to %d, then to %d", i, j)
		}
	}
}

func TestCallRemembersFour(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c", "d", "e", "f")
	a, _ := w.begin(nil, Kind{})
	for range 3 {
		w.begin(a.Call(), Kind{})
	}
	if a.Fresh() {
		t.Error("fresh after four attempts")
	}
	tried := func() (n int) {
		for _, b := range w.all {
			if a.Call().Tried(b) {
				n++
			}
		}
		return n
	}
	if n := tried(); n != 4 {
		t.Errorf("it has been to %d, want 4", n)
	}
	last, i := w.begin(a.Call(), Kind{})
	if n := tried(); n != 4 || !last.Call().Tried(w.all[i]) || !last.Moved() {
		t.Errorf("it has been to %d, the last among them %v", n, last.Call().Tried(w.all[i]))
	}
}

// TestEjectedAreLeftAlone, and asked one at a time when it is time, or after enough
// that went elsewhere.
func TestEjectedAreLeftAlone(t *testing.T) {
	for _, p2c := range []bool{false, true} {
		cfg := usual()
		cfg.P2C = p2c
		w := newWorld(t, cfg, "a", "b", "c")
		w.eject(t, 1)
		if n := w.all[1].Count(Failure); n != 3 {
			t.Errorf("%d failures, want 3", n)
		}
		if got := w.spread(300); got[1] != 0 {
			t.Errorf("%v: calls go to the ejected one", got)
		}
		if st := w.all[1].State(w.now); st != breaker.Open {
			t.Errorf("%v", st)
		}
		w.now += 2 * time.Second
		probe, i := w.begin(nil, Kind{Steady: true})
		if i != 1 {
			t.Fatalf("the first call when its time is over went to %d", i)
		}
		w.now += patience - time.Millisecond
		if got := w.spread(30); got[1] != 0 {
			t.Errorf("%v: a probe is under way", got)
		}
		w.now += time.Millisecond
		second, i := w.begin(nil, Kind{Steady: true})
		if i != 1 {
			t.Errorf("to %d: the probe has been under way for long", i)
		}
		if ch := w.end(probe, succeeds); ch.Transition.Happened() || ch.Backend != w.all[1] {
			t.Errorf("%+v after one of two successes", ch)
		}
		before := w.all[1].Meter.Past().Since
		if ch := w.end(second, succeeds); ch.Transition.To != breaker.Closed || ch.Transition.Reason != breaker.Recovered {
			t.Errorf("%+v after two successes", ch)
		}
		if since := w.all[1].Meter.Past().Since; since == before || since != w.now {
			t.Errorf("it is as good as any since %v: want slow start from %v", since, w.now)
		}
		if out := w.f.out.Load(); out != 0 {
			t.Errorf("%d are out", out)
		}
	}
}

// TestProbesByTraffic: attempts that go elsewhere earn one before its time is over.
func TestProbesByTraffic(t *testing.T) {
	cfg := usual()
	cfg.Breaker.OpenFor, cfg.Breaker.MaxOpenFor = time.Minute, time.Minute
	w := newWorld(t, cfg, "a", "b")
	w.eject(t, 0)
	w.now += 10 * time.Second // a share of the open time passes first
	n := 0
	for ; n < 1000; n++ {
		a, i := w.begin(nil, Kind{Steady: true})
		w.end(a, succeeds)
		if i == 0 {
			break
		}
		w.now += 10 * time.Millisecond
	}
	if n < 395 || n > 405 { // Probes by ProbeShare
		t.Errorf("a probe after %d calls that went elsewhere, want about 400", n)
	}
}

// TestProbesAreOfSteadyCalls, as long as there are any.
func TestProbesAreOfSteadyCalls(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	w.now += 2 * time.Second
	// A retry is no probe, though it may be made again.
	first := NewAttempt(context.Background(), w.f, nil, Kind{})
	if _, i := w.begin(first.Call(), Kind{Steady: true}); i != 1 {
		t.Error("a retry was a probe")
	}
	w.f.steady.Store(int64(w.now - patience + time.Millisecond))
	if _, i := w.begin(nil, Kind{}); i != 1 {
		t.Error("a call was a probe that is not made again, though others would be")
	}
	w.now += time.Millisecond
	if _, i := w.begin(nil, Kind{}); i != 0 {
		t.Error("no call is a probe, though there are none that are made again")
	}
}

// TestAskingIsBounded: a busy client asks for a probe once a millisecond.
func TestAskingIsBounded(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	w.spread(1)
	asked := w.all[0].asked.Load()
	w.now += askEvery - 1
	w.spread(5)
	if got := w.all[0].asked.Load(); got != asked {
		t.Errorf("asked at %v, %v before", time.Duration(got), time.Duration(asked))
	}
	if n := w.all[0].skipped.Load(); n != 5 {
		t.Errorf("%d went elsewhere since it was asked, want 5", n)
	}
	w.now++
	w.spread(1)
	if got := w.all[0].asked.Load(); got != int64(w.now) || w.all[0].skipped.Load() != 0 {
		t.Errorf("asked at %v, want %v; %d skipped", time.Duration(got), w.now, w.all[0].skipped.Load())
	}
}

// TestTooManyOut: nobody is believed to be, the state is kept, and it is judged anew
// with what is ready on a connection.
func TestTooManyOut(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c", "d")
	w.eject(t, 0)
	w.eject(t, 1)
	if !w.f.Believed() || !w.all[0].Believed() {
		t.Error("two of four are not believed out, want half to be")
	}
	if got := w.spread(40); got[0]+got[1] != 0 {
		t.Errorf("%v", got)
	}
	w.eject(t, 2)
	if w.f.Believed() || w.all[0].Believed() {
		t.Error("three of four are believed out")
	}
	if got := w.spread(40); !slices.Equal(got, []int{10, 10, 10, 10}) {
		t.Errorf("%v, want all to get calls", got)
	}
	w.ready("a", "b") // both of which are out
	if got := w.spread(40); !slices.Equal(got, []int{20, 20}) {
		t.Errorf("%v of those that are out, with no other connected", got)
	}
	w.ready("b", "d")
	w.c = NewChooser(w.f, w.all, 2)
	if got := w.spread(40); !slices.Equal(got, []int{0, 40}) {
		t.Errorf("%v, want none for the one of two that is out", got)
	}
	w.ready("d")
	w.eject(t, 0)
	if got := w.spread(4); got[0] != 4 {
		t.Error("the last one gets no calls")
	}
}

// TestProbesInAPanic: attempts that go to one that is out, as nobody is believed to
// be, bring it back.
func TestProbesInAPanic(t *testing.T) {
	w := newWorld(t, usual(), "a", "b")
	w.eject(t, 0)
	w.eject(t, 1)
	w.now += 3 * time.Second
	for range 20 {
		a, _ := w.begin(nil, Kind{})
		w.end(a, succeeds)
		w.now += 100 * time.Millisecond
	}
	if n := w.f.out.Load(); n != 0 {
		t.Errorf("%d are out though all serve", n)
	}
}

// TestSilence: one that answers nothing while others do is left alone, is asked now
// and then, and is back with its first answer.
func TestSilence(t *testing.T) {
	for _, p2c := range []bool{false, true} {
		cfg := usual()
		cfg.P2C = p2c
		w := newWorld(t, cfg, "a", "b", "c")
		var hung []*Attempt
		calls := func(n int) (got []int) {
			got = make([]int, 3)
			for range n {
				a, i := w.begin(nil, Kind{})
				got[i]++
				w.now += 10 * time.Millisecond
				if i == 0 {
					hung = append(hung, a)
				} else {
					w.end(a, succeeds)
				}
			}
			return got
		}
		for range 5 * len(w.all) {
			a, _ := w.begin(nil, Kind{})
			w.now += 10 * time.Millisecond
			w.end(a, succeeds)
		}
		w.now += time.Second
		for k := 0; len(hung) < 3 && k < 100; k++ {
			calls(1)
		}
		w.now += 50 * time.Millisecond
		w.all[1].Meter.Heard(w.now)
		looks := 0
		if p2c { // which asks one that it has left out of a hundred choices
			looks = 1
		}
		if got := calls(90); got[0] > looks {
			t.Errorf("p2c %v: %v: want none to the silent one, or %d", p2c, got, looks)
		}
		w.now += patience
		if got := calls(30); got[0] == 0 && !p2c {
			t.Errorf("p2c %v: %v: it is not asked any more", p2c, got)
		}
		w.end(hung[0], succeeds)
		w.now += 10 * time.Second
		if got := calls(60); got[0] == 0 {
			t.Errorf("p2c %v: %v: it has answered", p2c, got)
		}
	}
}

// TestSilenceOfTooMany is nothing to heed, nor is that of all.
func TestSilenceOfTooMany(t *testing.T) {
	w := newWorld(t, usual(), "a", "b", "c")
	for i, b := range w.all {
		b.Meter.Succeeded(w.now, 10*time.Millisecond)
		if i > 0 {
			for range 3 {
				b.Meter.Enter()
				b.Meter.Ask(w.now)
			}
		}
		b.picked.Store(int64(w.now + 500*time.Millisecond))
	}
	w.now += 500 * time.Millisecond
	w.all[0].Meter.Heard(w.now)
	s := selection{chooser: w.c, cfg: w.r.Config(), now: w.now}
	if s.listen(); s.silent {
		t.Error("two of three are avoided for their silence, want one at most")
	}
	w.all[2].Meter.Heard(w.now)
	if s.listen(); !s.silent || s.heard != w.now {
		t.Errorf("one of three is not avoided; heard of others %v ago", w.now-s.heard)
	}
	if cl := s.class(1); cl != backend.Silent {
		t.Errorf("class %v", cl)
	}
	s.heard = w.all[1].Meter.QuietSince()
	if cl := s.class(1); cl != backend.Fresh {
		t.Errorf("class %v though nobody else has been heard since", cl)
	}
	off := *w.r.Config()
	off.EjectOff = true
	s.cfg = &off
	if s.quiet(w.all[1]) {
		t.Error("silence is heeded with ejection disabled")
	}
	off.EjectOff, off.Observe = false, true
	if s.quiet(w.all[1]) {
		t.Error("silence is heeded where ejection observes")
	}
}

// TestObserve: the ejected keep their share, nothing else is different, and what
// would have gone elsewhere is counted.
func TestObserve(t *testing.T) {
	for _, p2c := range []bool{false, true} {
		cfg := usual()
		cfg.P2C, cfg.Observe = p2c, true
		cfg.Breaker.OpenFor, cfg.Breaker.MaxOpenFor = time.Hour, time.Hour
		w := newWorld(t, cfg, "a", "b", "c")
		w.eject(t, 0)
		a := w.all[0]
		s := selection{chooser: w.c, cfg: w.r.Config(), now: w.now}
		s.run()
		if s.ejects || !s.judged || s.special(0) {
			t.Errorf("p2c %v: %+v", p2c, s)
		}
		before := a.Avoidable()
		got := w.spread(300)
		if got[0] == 0 || !p2c && got[0] != 100 {
			t.Errorf("p2c %v: %v", p2c, got)
		}
		if n := a.Avoidable() - before; n != uint64(got[0]) {
			t.Errorf("p2c %v: %d of %d would have gone elsewhere", p2c, n, got[0])
		}
		if a.State(w.now) != breaker.Open || a.Standing(w.now).State != breaker.Open || !a.Believed() {
			t.Errorf("%v, %+v", a.State(w.now), a.Standing(w.now))
		}
		if !a.in() || !a.well() || a.out() || w.f.divided() {
			t.Errorf("in %v, well %v, out %v, divided %v", a.in(), a.well(), a.out(), w.f.divided())
		}
		// Were half of them to be out and more, none would be, so nothing would be avoided.
		w.eject(t, 1)
		before = a.Avoidable() + w.all[1].Avoidable()
		w.spread(30)
		if n := a.Avoidable() + w.all[1].Avoidable() - before; n != 0 {
			t.Errorf("%d would have gone elsewhere in a panic", n)
		}
	}
}

// TestObserveRecovers by its own attempts, without a slow start: it had its share.
func TestObserveRecovers(t *testing.T) {
	cfg := usual()
	cfg.Observe = true
	w := newWorld(t, cfg, "a", "b", "c")
	w.eject(t, 0)
	since := w.all[0].Meter.Past().Since
	w.now += 2 * time.Second
	for range 30 {
		w.spread(1)
		w.now += 10 * time.Millisecond
	}
	if st := w.all[0].Standing(w.now); st.State != breaker.Closed || st.Why != breaker.Recovered {
		t.Errorf("%+v", st)
	}
	if got := w.all[0].Meter.Past().Since; got != since {
		t.Errorf("a slow start at %v", got)
	}
}

// TestLookAgain: one that p2c has left out is asked, whatever it costs; less and less
// often as long as that is the only reason.
func TestLookAgain(t *testing.T) {
	b := &Backend{}
	b.picked.Store(int64(time.Minute))
	for _, tc := range []struct {
		looks int32
		since time.Duration
		turns uint64
		want  bool
	}{
		{0, patience - 1, lookAfter, false},
		{0, patience, lookAfter - 1, false},
		{0, patience, lookAfter, true},
		{1, 2*patience - 1, 2 * lookAfter, false},
		{1, 2 * patience, 2*lookAfter - 1, false},
		{1, 2 * patience, 2 * lookAfter, true},
		{7, 2*patience - 1, 1 << 20, false},
		{7, 2 * patience, 2 * lookAfter, true},
		{7, lookAtLast - 1, 0, false},
		{7, lookAtLast, 0, true},
	} {
		b.looks.Store(tc.looks)
		b.pickedTurn.Store(1000)
		if got := b.leftOut(time.Minute+tc.since, 1000+tc.turns); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
	for _, slow := range []bool{true, true, false, true} {
		b.look(1500, slow)
	}
	if b.looks.Load() != 1 || b.pickedTurn.Load() != 1500 {
		t.Errorf("%d looks, at turn %d; want one, since it was not slow", b.looks.Load(), b.pickedTurn.Load())
	}
	b.chosen(2000)
	if b.looks.Load() != 0 || b.pickedTurn.Load() != 2000 {
		t.Errorf("%d looks, at turn %d", b.looks.Load(), b.pickedTurn.Load())
	}
}

// TestCheaper: of two, the one with less latency or less in flight; one that fails
// much is passed over.
func TestCheaper(t *testing.T) {
	cfg := usual()
	cfg.P2C = true
	for _, tc := range []struct {
		name  string
		spoil func(b *Backend, now time.Duration)
		low   float64
		high  float64
	}{
		{"nothing", func(*Backend, time.Duration) {}, 0.4, 0.6},
		{"slow", func(b *Backend, now time.Duration) { b.Meter.Succeeded(now, time.Second) }, 0, 0.03},
		{"busy", func(b *Backend, _ time.Duration) {
			for range 5 {
				b.Meter.Enter()
			}
		}, 0, 0.03},
		{"failing", func(b *Backend, now time.Duration) {
			for range 20 {
				b.Meter.Failed(now, 0)
			}
		}, 0.001, 0.1},
	} {
		w := newWorld(t, cfg, "a", "b")
		w.now += time.Minute
		for _, b := range w.all {
			b.Meter.Succeeded(w.now, 10*time.Millisecond)
		}
		tc.spoil(w.all[0], w.now)
		got := 0
		const n = 2000
		for range n {
			if w.c.Choose(nil) == 0 {
				got++
			}
		}
		if share := float64(got) / n; share < tc.low || share > tc.high {
			t.Errorf("%s: %.3f of the choices, want %v to %v", tc.name, share, tc.low, tc.high)
		}
	}
	if w := newWorld(t, cfg, "a"); w.c.Choose(nil) != 0 {
		t.Error("not the only one")
	}
}

// TestRampOfARecovered: p2c gives one that is back a tenth of its share at first.
func TestRampOfARecovered(t *testing.T) {
	cfg := usual()
	cfg.P2C = true
	w := newWorld(t, cfg, "a", "b")
	w.now += time.Minute
	for _, b := range w.all {
		b.Meter.Succeeded(w.now, 10*time.Millisecond)
	}
	w.all[0].Drain(w.now, time.Minute)
	w.all[0].Return(w.now)
	got := 0
	for range 2000 {
		if w.c.Choose(nil) == 0 {
			got++
		}
	}
	if got < 20 || got > 200 {
		t.Errorf("%d of 2000 at once, want about a tenth of half", got)
	}
}

func ExampleNewEndpoint() {
	fmt.Println(NewEndpoint([]string{"b:1", "a:1"}), NewEndpoint([]string{"a:1", "b:1"}).Key, NewEndpoint([]string{"c:1"}), NewEndpoint(nil))
	// Output: {a:1 b:1 b:1} a:1 b:1 {c:1 c:1} { }
}
