package balancer_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

const labTarget = "lab:///backends"

// backend returns what the snapshot shows of one.
func (c *client) backend(t *testing.T, n *node) interceptors.BackendSnapshot {
	t.Helper()
	for _, b := range c.Snapshot().Backends {
		if b.Address == n.addr {
			return b
		}
	}
	t.Fatalf("no backend %s", n.addr)
	return interceptors.BackendSnapshot{}
}

func theBreaker(t *testing.T, c *client) *interceptors.BreakerSnapshot {
	t.Helper()
	for _, m := range c.Snapshot().Methods {
		if m.Breaker != nil && strings.HasSuffix(m.Method, "SayHello") {
			return m.Breaker
		}
	}
	t.Fatal("no breaker")
	return nil
}

// says makes calls, none of which may fail, and returns how many came to a node.
func (c *client) says(t *testing.T, n int, name string, to *node) int {
	t.Helper()
	for range n {
		if err := c.say(t, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	return to.got(name)
}

// TestDrain: no new attempts until the time is over; then probes bring it back.
func TestDrain(t *testing.T) {
	for _, b := range []interceptors.Balancing{{}, {Policy: "p2c"}, {Eject: interceptors.Eject{Mode: interceptors.ModeObserve}}, {Eject: interceptors.Eject{Disabled: true}}, {SameBackend: true}} {
		bubble(t, 3, func(t *testing.T, l *lab) {
			c := newClient(t, l, b, interceptors.Policy{})
			defer c.close()
			_ = c.says(t, 30, "warm", l.nodes[0])
			if err := c.DrainBackend(labTarget, l.nodes[0].addr, time.Minute); err != nil {
				t.Fatal(err)
			}
			until := time.Now().Add(time.Minute)
			if n := c.says(t, 1000, "x", l.nodes[0]); n != 0 {
				t.Errorf("%+v: %d attempts to one that is drained", b, n)
			}
			s := c.backend(t, l.nodes[0])
			if s.Forced != "out" || s.State != "out" || s.Why != "by_hand" || !s.ForcedUntil.Equal(until) || !s.Believed || s.WouldAvoid != 0 {
				t.Errorf("%+v: %+v", b, s)
			}
			if seen := c.backends()[0]; seen.State != observe.BreakerOpen || seen.Ejections[observe.ReasonByHand] != 1 {
				t.Errorf("%+v: observers see %+v", b, seen)
			}
			if n := c.count(func(e observe.Event) bool {
				return e.Kind == observe.BackendChange && e.To == observe.BreakerOpen && e.Reason == observe.ReasonByHand && e.Backend == l.nodes[0].addr
			}); n != 1 {
				t.Errorf("%+v: %d events of it", b, n)
			}
			if !strings.Contains(c.log.String(), "backend forced by hand\" action=drain target="+labTarget+" backend="+l.nodes[0].addr+" for=1m0s") {
				t.Errorf("logged %q", c.log)
			}
			if st := c.Snapshot().Steered; len(st) != 1 || st[0].Action != "drain" || st[0].Backend != l.nodes[0].addr || st[0].For != interceptors.Seconds(time.Minute) {
				t.Errorf("%+v", st)
			}
			time.Sleep(time.Until(until))
			_ = c.says(t, 1000, "after", l.nodes[0]) // p2c asks few times, as the others are as good
			if n := c.says(t, 1000, "then", l.nodes[0]); n == 0 {
				t.Errorf("%+v: it is not back", b)
			}
			if s := c.backend(t, l.nodes[0]); s.State != "in" || s.Forced != "" {
				t.Errorf("%+v: %+v when its time is over", b, s)
			}
		})
	}
}

// TestDrainEndsByProbes: a server that is not back does no harm when the time is over.
func TestDrainEndsByProbes(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{})
		defer c.close()
		_ = c.says(t, 10, "warm", l.nodes[0])
		if err := c.DrainBackend(labTarget, l.nodes[0].addr, time.Minute); err != nil {
			t.Fatal(err)
		}
		l.nodes[0].do(fails(codes.Unavailable))
		time.Sleep(time.Minute)
		if n := c.says(t, 100, "x", l.nodes[0]); n == 0 || n > 3 {
			t.Errorf("%d attempts of 100 calls, want a probe or two", n)
		}
	})
}

// TestReturn ends a drain, or an ejection, at once.
func TestReturn(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{OpenFor: time.Hour, MaxOpenFor: time.Hour}}, interceptors.Policy{})
		defer c.close()
		bad := l.nodes[0]
		give := func() {
			t.Helper()
			if err := c.ReturnBackend(labTarget, bad.addr); err != nil {
				t.Fatal(err)
			}
			if s := c.backend(t, bad); s.State != "in" || s.Forced != "" || s.Why != "by_hand" {
				t.Errorf("%+v", s)
			}
		}
		_ = c.says(t, 10, "warm", bad)
		if err := c.DrainBackend(labTarget, bad.addr, time.Hour); err != nil {
			t.Fatal(err)
		}
		give()
		if n := c.says(t, 20, "x", bad); n != 10 {
			t.Errorf("%d of 20 attempts, want half", n)
		}
		bad.do(fails(codes.Unavailable))
		_ = c.says(t, 40, "ejected", bad)
		if s := c.backend(t, bad); s.State != "out" || s.Forced != "" {
			t.Fatalf("%+v, want it ejected", s)
		}
		bad.do(works(usual))
		give()
		if n := c.says(t, 20, "y", bad); n != 10 {
			t.Errorf("%d of 20 attempts, want half", n)
		}
		// It is judged anew: six failures are not seven.
		bad.do(fails(codes.Unavailable))
		_ = c.says(t, 12, "z", bad)
		if s := c.backend(t, bad); s.State != "in" {
			t.Errorf("%+v after six failures", s)
		}
		if err := c.ReturnBackend(labTarget, bad.addr); err != nil { // of one that is in: nothing
			t.Error(err)
		}
	})
}

// TestDrainNeverLeavesNobody: the last one is used, be it drained.
func TestDrainNeverLeavesNobody(t *testing.T) {
	for _, off := range []bool{false, true} {
		bubble(t, 2, func(t *testing.T, l *lab) {
			c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Disabled: off}}, interceptors.Policy{})
			defer c.close()
			_ = c.says(t, 10, "warm", l.nodes[0])
			for _, n := range l.nodes {
				if err := c.DrainBackend(labTarget, n.addr, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			if n := c.says(t, 20, "all", l.nodes[0]); n != 10 {
				t.Errorf("%d of 20, with all drained, want half", n)
			}
			for _, n := range l.nodes {
				if s := c.backend(t, n); s.Believed || s.Forced != "out" {
					t.Errorf("%+v, want it forced out and not believed", s)
				}
			}
			if err := c.ReturnBackend(labTarget, l.nodes[1].addr); err != nil {
				t.Fatal(err)
			}
			if n := c.says(t, 20, "one", l.nodes[0]); n != 0 {
				t.Errorf("%d of 20 to the drained one, want none", n)
			}
			// The one that is not drained goes away: the other is all there is.
			l.nodes[1].srv.Stop()
			synctest.Wait()
			if n := c.says(t, 20, "gone", l.nodes[0]); n != 20 {
				t.Errorf("%d of 20 to the only one left", n)
			}
		})
	}
}

// TestDrainedAreNotOfTheShare: who drains two of three by hand has said so; and of
// the others as many may be ejected as if these were not there.
func TestDrainedAreNotOfTheShare(t *testing.T) {
	bubble(t, 5, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, notRetried())
		defer c.close()
		for range 30 {
			_ = c.say(t, "warm")
		}
		for _, n := range l.nodes[:3] {
			if err := c.DrainBackend(labTarget, n.addr, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		l.nodes[3].do(fails(codes.Unavailable))
		for range 30 {
			_ = c.say(t, "eject")
		}
		for range 40 {
			_ = c.say(t, "x")
		}
		for i, n := range l.nodes {
			want := map[int]int{4: 40}[i]
			if got := n.got("x"); got < want-2 || got > want+2 {
				t.Errorf("node %d got %d of 40", i, got)
			}
		}
		for i, n := range l.nodes {
			if s := c.backend(t, n); !s.Believed {
				t.Errorf("node %d: %+v", i, s)
			}
		}
		// The last that serves fails as well: nobody is believed out, and drained ones serve.
		l.nodes[4].do(fails(codes.Unavailable))
		for range 40 {
			_ = c.say(t, "eject")
		}
		before := l.nodes[0].seen.Load()
		for range 40 {
			_ = c.say(t, "y")
		}
		if l.nodes[0].seen.Load() == before {
			t.Errorf("the drained ones serve nobody, though all others are out: %+v", c.Snapshot().Backends)
		}
	})
}

// TestDrainDoesNotHideFailures: the target's breaker works while one is drained.
func TestDrainDoesNotHideFailures(t *testing.T) {
	bubble(t, 3, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Disabled: true}}, notRetried())
		defer c.close()
		for range 9 {
			_ = c.say(t, "warm")
		}
		if err := c.DrainBackend(labTarget, l.nodes[0].addr, time.Hour); err != nil {
			t.Fatal(err)
		}
		for _, n := range l.nodes {
			n.do(fails(codes.Unavailable))
		}
		for range 20 {
			_ = c.say(t, "x")
		}
		if b := theBreaker(t, c); b.State == "closed" {
			t.Error("all fail, and the breaker is closed")
		}
	})
}

// TestDrainOutlives an endpoint's absence, and the process.
func TestDrainOutlives(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		k := &keeper{}
		s, err := interceptors.New(interceptors.WithBalancing(interceptors.Balancing{}), interceptors.WithStore(k))
		if err != nil {
			t.Fatal(err)
		}
		c := &client{Suite: s}
		c.connect(l)
		all, bad := l.nodes, l.nodes[0]
		_ = c.says(t, 10, "warm", bad)
		if err := s.DrainBackend(labTarget, bad.addr, time.Hour); err != nil {
			t.Fatal(err)
		}
		if ch := k.changes; len(ch) != 1 || !ch[0].ByHand || ch[0].Backend != bad.addr || ch[0].Target != labTarget || ch[0].Method != "" ||
			ch[0].Forced != "open" || ch[0].Left != time.Hour || ch[0].From != observe.BreakerClosed || ch[0].To != observe.BreakerOpen {
			t.Errorf("stores got %+v", ch)
		}
		time.Sleep(10 * time.Minute)
		l.nodes = all[1:]
		l.resolve()
		synctest.Wait()
		if b := k.live.State().Backends; len(b) != 1 || !b[0].Drained || b[0].Left != 50*time.Minute {
			t.Errorf("%+v is kept of one that is not resolved", b)
		}
		time.Sleep(10 * time.Minute)
		l.nodes = all
		l.resolve()
		synctest.Wait()
		if n := c.says(t, 20, "resolved again", bad); n != 0 {
			t.Errorf("%d attempts once it is resolved again", n)
		}
		b := k.live.State().Backends
		if len(b) != 1 || !b[0].Drained || b[0].Left.Round(time.Minute) != 40*time.Minute || b[0].Backend != bad.addr || b[0].Age != 0 {
			t.Errorf("%+v is kept", b)
		}
		c.close()
		next := &keeper{state: interceptors.State{Backends: b}}
		if c.Suite, err = interceptors.New(interceptors.WithBalancing(interceptors.Balancing{}), interceptors.WithStore(next)); err != nil {
			t.Fatal(err)
		}
		c.connect(l)
		defer c.close()
		_ = c.says(t, 10, "warm again", bad) // until all are connected
		if n := c.says(t, 20, "restored", bad); n != 0 {
			t.Errorf("%d attempts in the next process", n)
		}
		if got := c.backend(t, bad); got.Forced != "out" || time.Until(got.ForcedUntil).Round(time.Minute) != 40*time.Minute || got.Why != "restored" {
			t.Errorf("%+v", got)
		}
	})
}

// TestDrainErrors name what is wrong.
func TestDrainErrors(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{})
		_ = c.says(t, 4, "warm", l.nodes[0])
		without, err := interceptors.New()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = without.Close() }()
		for want, err := range map[string]error{
			"drain of node-0 on lab:///backends: duration 0s is out of range: want from 1ms to 24h0m0s": c.DrainBackend(labTarget, "node-0", 0),
			"duration 25h0m0s is out of range":                                      c.DrainBackend(labTarget, "node-0", 25*time.Hour),
			"drain of node-7 on lab:///backends: is not known":                      c.DrainBackend(labTarget, "node-7", time.Minute),
			"return of node-0 on lab:///other: is not known: want a target and add": c.ReturnBackend("lab:///other", "node-0"),
			"does not balance load: give New WithBalancing":                         without.ReturnBackend(labTarget, "node-0"),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		if st := c.Snapshot().Steered; len(st) != 4 || st[0].Error == "" {
			t.Errorf("%+v, want four that failed", st)
		}
		if b := c.backend(t, l.nodes[0]); b.State != "in" {
			t.Errorf("%+v", b)
		}
		c.close()
		if err := c.DrainBackend(labTarget, "node-0", time.Minute); err == nil || !strings.Contains(err.Error(), "the suite is closed") {
			t.Errorf("%v after Close", err)
		}
	})
}

// TestDrainByTheNameOfMethods: the target may be given by the name that methods have;
// of its methods the first by name has the event.
func TestDrainByTheNameOfMethods(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		on := methodsOf{}
		s, err := interceptors.New(interceptors.WithBalancing(interceptors.Balancing{}), interceptors.WithObserver(on),
			interceptors.WithTargetName(func(string) string { return "shop" }))
		if err != nil {
			t.Fatal(err)
		}
		c := &client{Suite: s}
		c.connect(l)
		defer c.close()
		stream, err := c.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "x"})
		for err == nil {
			_, err = stream.Recv()
		}
		_ = c.says(t, 10, "warm", l.nodes[0])
		if err := s.DrainBackend("shop", l.nodes[0].addr, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := s.ReturnBackend(labTarget, l.nodes[0].addr); err != nil {
			t.Fatal(err)
		}
		if want := greeterpb.Greeter_SayHello_FullMethodName; len(on) != 1 || on[want] != 2 {
			t.Errorf("events on %v, want two on %s", on, want)
		}
	})
}

// methodsOf counts changes of backends by the method that they are reported on.
type methodsOf map[string]int

func (m methodsOf) Observe(e observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: func(_ context.Context, ev observe.Event) {
		if ev.Kind == observe.BackendChange {
			m[e.Method()]++
		}
	}}
}
