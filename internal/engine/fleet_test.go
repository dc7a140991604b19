package engine

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/observe"
)

// balanced makes calls of one method, which has no breaker, to backends that the suite
// chooses among.
type balanced struct {
	*clocked
	fleet    *fleet.Fleet
	chooser  *fleet.Chooser
	backends []*fleet.Backend
}

// newBalanced has backends of which two failures in a row eject one for 0.8 to 1.2
// seconds, and one success brings it back.
func newBalanced(t *testing.T, names ...string) *balanced {
	t.Helper()
	b := &balanced{clocked: newClocked(t)}
	b.now = time.Hour
	b.Policy.BreakerOff = true
	b.Plan.LastGood = new(fleet.LastGood)
	r := fleet.NewRegistry(time.Time{}, func() *slog.Logger { return slog.New(slog.DiscardHandler) }, fleet.Config{MaxShare: 0.5, Breaker: breaker.Config{
		FailureRate: 1, SlowRate: 0.5, MinCalls: 2, Window: time.Minute, Consecutive: 2,
		OpenFor: time.Second, MaxOpenFor: 10 * time.Second, Probes: 1, ProbeTTL: time.Minute,
	}})
	t.Cleanup(r.Close)
	r.Clock = func() time.Duration { return b.now }
	r.Chance = rand.New(rand.NewPCG(1, 2))
	b.fleet = r.Fleet(b.Plan.Target)
	m := b.fleet.Join()
	var all []fleet.Endpoint
	for _, n := range names {
		all = append(all, fleet.Endpoint{Key: n, Name: n})
	}
	m.Resolved(all)
	b.backends = m.Ready(names)
	b.chooser = fleet.NewChooser(b.fleet, b.backends, len(names))
	b.events = nil
	return b
}

func (b *balanced) call(t *testing.T) *Call {
	t.Helper()
	c := new(Call)
	c.Init(t.Context(), b.Host, b.Plan, b.Policy, b.fleet)
	c.Start(c.Ctx)
	return c
}

func (b *balanced) stream(t *testing.T) *Call {
	t.Helper()
	c := new(Call)
	c.InitStream(t.Context(), b.Host, b.Plan, b.Policy, b.fleet)
	c.Start(c.Ctx)
	return c
}

// begin starts the call's next attempt, and returns which backend it goes to.
func (b *balanced) begin(c *Call) int {
	ctx, _ := c.Begin(nil)
	return b.chooser.Choose(fleet.From(ctx, b.fleet))
}

// end ends a call with the attempt that runs.
func end(c *Call, err error, ev Evidence) {
	c.End(err, ev)
	c.Settle(err)
	c.Finish(err, false)
}

// at returns a call whose first attempt has gone to the backend. Those that go elsewhere
// succeed.
func (b *balanced) at(t *testing.T, i int) *Call {
	t.Helper()
	for range 100 {
		c := b.call(t)
		if b.begin(c) == i {
			return c
		}
		end(c, nil, Evidence{})
	}
	t.Fatalf("no attempt goes to %s", b.backends[i].Name)
	return nil
}

// eject has a backend fail until it is out.
func (b *balanced) eject(t *testing.T, i int) {
	t.Helper()
	for range 2 {
		end(b.at(t, i), unavailable, at(badPeer))
	}
	if b.backends[i].State(b.now) != breaker.Open {
		t.Fatalf("%s is not ejected", b.backends[i].Name)
	}
}

// changes returns the changes of backends that have been emitted.
func (b *balanced) changes() (all []observe.Event) {
	for _, e := range b.events {
		if e.Kind == observe.BackendChange {
			all = append(all, e)
		}
	}
	b.events = nil
	return all
}

// What a backend is judged by is what the engine says of its attempts: that they
// succeeded, in how long, that they were slow, or failed. Where the suite chooses, that
// is all: nothing is made of addresses.
func TestBackendsLearnFromTheEngine(t *testing.T) {
	b := newBalanced(t, "a", "b")
	c := b.at(t, 0)
	b.now += 100 * time.Millisecond
	end(c, nil, Evidence{Peer: goodPeer})
	if n := b.backends[0].Count(fleet.Success); n != 1 {
		t.Errorf("%d successes are counted, want 1", n)
	}
	if got := b.backends[0].Meter.Past().Latency; got != 100*time.Millisecond {
		t.Errorf("latency %v, want the 100ms that the attempt took", got)
	}
	b.eject(t, 0)
	if got := b.changes(); len(got) != 1 || got[0].Backend != "a" || got[0].To != observe.BreakerOpen || got[0].Reason != observe.ReasonConsecutive || got[0].Delay < 800*time.Millisecond || got[0].Delay > 1200*time.Millisecond {
		t.Errorf("%+v, want that a is ejected for about a second", got)
	}
	if b.Plan.Peers.Troubled() {
		t.Error("failures of a backend that the suite chose are noted by its address")
	}

	b = newBalanced(t, "a", "b")
	b.Policy.SlowCall = time.Second
	for range 2 {
		c := b.at(t, 1)
		b.now += time.Second
		end(c, nil, Evidence{})
	}
	if got := b.changes(); len(got) != 1 || got[0].Backend != "b" || got[0].Reason != observe.ReasonSlowRate {
		t.Errorf("%+v, want that b is ejected, which is slow", got)
	}
}

// A connection may have a policy that is not the suite's: what its attempts say is noted
// by address then, as if there were no backends to choose among.
func TestConnectionWithAnotherPolicy(t *testing.T) {
	b := newBalanced(t, "a", "b")
	b.Policy.BreakerOff = false
	one := func(err error, ev Evidence) {
		c := b.call(t)
		if err := admit(c); err != nil {
			t.Fatal(err)
		}
		c.Begin(nil) // nobody chooses
		end(c, err, ev)
	}
	one(unavailable, at(badPeer))
	one(nil, at(goodPeer))
	for range 5 {
		one(unavailable, at(badPeer))
	}
	b.want(t, breaker.Closed)
}

// A call whose first attempt failed where another backend served, by its address, counts
// all the same if its last is on one that the suite has chosen meanwhile.
func TestConnectionGetsTheSuitesPolicy(t *testing.T) {
	b := newBalanced(t, "a", "b", "c")
	b.Policy.BreakerOff = false
	for _, first := range []struct {
		err  error
		peer net.Addr
	}{{unavailable, badPeer}, {nil, goodPeer}} {
		c := b.call(t)
		c.Begin(nil)
		end(c, first.err, at(first.peer))
	}
	went := map[int]bool{}
	for range 2 {
		c := b.call(t)
		if err := admit(c); err != nil {
			t.Fatal(err)
		}
		c.Begin(nil)
		c.End(unavailable, at(badPeer))
		went[b.begin(c)] = true
		end(c, unavailable, at(badPeer))
	}
	if b.want(t, breaker.Open); len(went) != 2 {
		t.Errorf("attempts went to %v, want two backends that fail once each", went)
	}
}

// An attempt that is given up says nothing about its backend; if it was to probe, another
// may.
func TestAbandonedProbe(t *testing.T) {
	b := newBalanced(t, "a", "b", "c")
	b.eject(t, 0)
	b.now += 2 * time.Second
	for i := range 3 {
		c := b.call(t)
		var a Attempt
		c.Launch(&a, nil)
		if to := b.chooser.Choose(fleet.From(a.Ctx, b.fleet)); to != 0 {
			t.Errorf("attempt %d goes to %s, want a probe", i+1, b.backends[to].Name)
		}
		c.Abandon(&a, context.Canceled)
		b.now += 10 * time.Millisecond
	}
	if n := b.backends[0].Count(fleet.Other); n != 3 || b.backends[0].State(b.now) == breaker.Closed {
		t.Errorf("%d attempts given up, %v; want 3, which do not bring it back", n, b.backends[0].State(b.now))
	}
}

// A backend that is out is tried by first attempts, and while there are calls that
// would be made again if they fail, by retries or hedges, by those alone.
func TestWhoProbes(t *testing.T) {
	for _, c := range []struct {
		attempts, hedged int
		want             bool
	}{{3, 0, true}, {2, 0, true}, {1, 0, false}, {1, 1, false}, {1, 2, true}, {3, 2, true}} {
		b := newBalanced(t, "a", "b", "c")
		b.eject(t, 0)
		b.now += 700 * time.Millisecond
		end(b.at(t, 1), nil, Evidence{}) // one that would be made again
		b.now += 700 * time.Millisecond  // the time for a probe has come
		p := *b.Policy
		p.Retry.MaxAttempts, p.Hedge.MaxAttempts = c.attempts, c.hedged
		b.Policy = &p
		if got := b.begin(b.call(t)) == 0; got != c.want {
			t.Errorf("a call of %d attempts, %d hedged, is a probe: %v", c.attempts, c.hedged, got)
		}
	}
}

// A retry of what a backend failed at need not wait if another is well; of what says
// nothing about the backend, or if there is no other, it does.
func TestAnotherBackendAtOnce(t *testing.T) {
	aborted := status.Error(codes.Aborted, "scripted")
	for name, c := range map[string]struct {
		names []string
		err   error
		delay time.Duration
	}{
		"another":                 {[]string{"a", "b"}, unavailable, 0},
		"no other":                {[]string{"a"}, unavailable, time.Second},
		"not the backend's fault": {[]string{"a", "b"}, aborted, time.Second},
	} {
		b := newBalanced(t, c.names...)
		b.Policy.Retry.Codes = astracodes.Of(codes.Unavailable, codes.Aborted)
		b.Policy.Retry.Backoff = jitter.Backoff{Base: time.Second, Jitter: jitter.None}
		call := b.at(t, 0)
		call.End(c.err, at(badPeer))
		if delay, again := call.Next(call.FailureOf(c.err, nil, nil)); !again || delay != c.delay {
			t.Errorf("%s: a retry %v, in %v; want it in %v", name, again, delay, c.delay)
		}
	}
}

// A stream that probes a backend brings it back once it is answered, not when it ends.
func TestAnsweredStreamBringsItsBackendBack(t *testing.T) {
	b := newBalanced(t, "a", "b", "c")
	b.eject(t, 0)
	b.now += 2 * time.Second
	c := b.stream(t)
	if i := b.begin(c); i != 0 {
		t.Fatalf("the attempt goes to %s, want a probe", b.backends[i].Name)
	}
	b.changes()
	c.Answered(goodPeer)
	if got := b.changes(); len(got) != 1 || got[0].Backend != "a" || got[0].To != observe.BreakerClosed {
		t.Errorf("%+v, want that a is back", got)
	}
}
