package balancer_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// TestEjectObserved: the bad backend is shown as out, and keeps its share.
func TestEjectObserved(t *testing.T) {
	bubble(t, 3, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Mode: interceptors.ModeObserve}}, notRetried())
		defer c.close()
		for range 30 {
			_ = c.say(t, "warm")
		}
		l.nodes[0].do(fails(codes.Unavailable))
		const calls = 600
		failed := 0
		for range calls {
			if c.say(t, "x") != nil {
				failed++
			}
		}
		if failed != calls/3 {
			t.Errorf("%d of %d attempts went to one that is to be left alone by nobody, want a third", failed, calls)
		}
		if l.nodes[0].got("x") != failed {
			t.Errorf("%d calls failed, %d came to the bad one", failed, l.nodes[0].got("x"))
		}
		b := c.backend(t, l.nodes[0])
		if b.Mode != "observe" || b.State == "in" || !b.Believed || b.Why == "" || b.Forced != "" {
			t.Errorf("%+v, want it out, as it would be", b)
		}
		// Seven failures eject; then all but the probes would have gone elsewhere.
		if n := int(b.WouldAvoid); n == 0 || n > failed-7 || n < failed-7-40 {
			t.Errorf("%d of %d attempts would have gone elsewhere", n, failed)
		}
		for _, n := range l.nodes[1:] {
			if b := c.backend(t, n); b.State != "in" || b.WouldAvoid != 0 {
				t.Errorf("%+v", b)
			}
		}
		seen := c.backends()
		if b := seen[0]; b.State == observe.BreakerClosed || b.WouldAvoid == 0 || len(b.Ejections) == 0 {
			t.Errorf("observers see %+v", b)
		}
		if n := c.count(func(e observe.Event) bool { return e.Kind == observe.BackendChange && e.To == observe.BreakerOpen }); n == 0 {
			t.Error("no event says that it is out")
		}
		if !strings.Contains(c.log.String(), "backend ejected") {
			t.Errorf("logged %q", c.log)
		}
		if b := theBreaker(t, c); b.State != "closed" {
			t.Errorf("the target's breaker is %s though the method succeeds on two of three", b.State)
		}
		l.nodes[0].do(works(usual))
		for range calls {
			_ = c.say(t, "y")
		}
		b = c.backend(t, l.nodes[0])
		if b.State != "in" || b.Why != "recovered" {
			t.Errorf("%+v after it serves again", b)
		}
		after := b.WouldAvoid
		for range 30 {
			_ = c.say(t, "z")
		}
		if n := c.backend(t, l.nodes[0]).WouldAvoid; n != after {
			t.Errorf("%d more are said to be better off elsewhere", n-after)
		}
	})
}

// TestEjectObservedStillAvoids: a retry goes where its call has not been, at once.
func TestEjectObservedStillAvoids(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Mode: interceptors.ModeObserve}},
			interceptors.Policy{Budget: interceptors.Budget{Burst: 1000, Ratio: 1}})
		defer c.close()
		for range 4 {
			_ = c.say(t, "warm")
		}
		l.nodes[0].do(fails(codes.Unavailable))
		for range 200 {
			start := time.Now()
			if err := c.say(t, "x"); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 2*usual {
				t.Fatalf("took %v: there was a backoff", took)
			}
		}
		if n := l.nodes[0].got("x"); n != 100 {
			t.Errorf("%d of 200 calls went to the bad one first, want half", n)
		}
		if n := l.nodes[1].got("x"); n != 200 {
			t.Errorf("%d attempts on the good one, want one for each call", n)
		}
	})
}

// TestEjectObservedPays: the budget pays for retries as if nothing was ejected.
func TestEjectObservedPays(t *testing.T) {
	for mode, mostSaved := range map[interceptors.Mode]int{interceptors.ModeObserve: 30, interceptors.ModeEnforce: 1 << 30} {
		bubble(t, 2, func(t *testing.T, l *lab) {
			c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Mode: mode, MaxOpenFor: time.Second}},
				interceptors.Policy{Budget: interceptors.Budget{Burst: 10, Ratio: 0.0001, MinPerSecond: 0.0001}})
			defer c.close()
			for range 10 {
				_ = c.say(t, "warm")
			}
			l.nodes[0].do(fails(codes.Unavailable))
			saved := 0
			for range 3000 {
				before := l.nodes[0].got("x")
				if err := c.say(t, "x"); err == nil && l.nodes[0].got("x") > before {
					saved++
				}
			}
			if saved < 7 || saved > mostSaved {
				t.Errorf("%v: %d calls were saved by a retry, want 7 to %d", mode, saved, mostSaved)
			}
		})
	}
}

// TestEjectObservedHeedsNoSilence, as it would without ejections.
func TestEjectObservedHeedsNoSilence(t *testing.T) {
	asked := map[interceptors.Mode]int{}
	for _, mode := range []interceptors.Mode{interceptors.ModeEnforce, interceptors.ModeObserve} {
		bubble(t, 3, func(t *testing.T, l *lab) {
			p := notRetried()
			p.AttemptTimeout = 3 * time.Second
			c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Mode: mode}}, p)
			defer c.close()
			for range 30 {
				_ = c.say(t, "warm")
			}
			l.nodes[0].do(hangs)
			for range 60 {
				go func() { _ = c.say(t, "x") }()
				time.Sleep(10 * time.Millisecond)
			}
			time.Sleep(5 * time.Second)
			asked[mode] = l.nodes[0].got("x")
		})
	}
	if asked[interceptors.ModeObserve] != 20 || asked[interceptors.ModeEnforce] > 10 {
		t.Errorf("of 60 calls the silent one got %v, want a third where it is observed, and few else", asked)
	}
}

// TestEjectModeByReload: what is known is kept.
func TestEjectModeByReload(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		long := interceptors.Eject{Mode: interceptors.ModeObserve, OpenFor: time.Hour, MaxOpenFor: time.Hour}
		c := newClient(t, l, interceptors.Balancing{Eject: long}, interceptors.Policy{})
		defer c.close()
		_ = c.says(t, 10, "warm", l.nodes[0])
		l.nodes[0].do(fails(codes.Unavailable))
		share := func(name string, e interceptors.Eject) int {
			if err := c.Reload(interceptors.WithBalancing(interceptors.Balancing{Eject: e})); err != nil {
				t.Fatal(err)
			}
			for range 40 {
				if err := c.say(t, name); err != nil {
					t.Error(err)
				}
			}
			return l.nodes[0].got(name)
		}
		if n := share("observe", long); n != 20 {
			t.Errorf("%d of 40 while it is observed, want half", n)
		}
		enforced, off := long, long
		enforced.Mode = interceptors.ModeEnforce
		off.Disabled = true
		if n := share("enforce", enforced); n != 0 {
			t.Errorf("%d of 40 once it is enforced, want none: it was out", n)
		}
		if n := share("observe again", long); n != 20 {
			t.Errorf("%d of 40 while it is observed again, want half", n)
		}
		start := time.Now()
		if n := share("off", off); n != 20 {
			t.Errorf("%d of 40 with ejection disabled, want half", n)
		}
		if took := time.Since(start); took > 40*2*usual {
			t.Errorf("40 calls took %v: retries are not at once any more", took)
		}
	})
}
