package engine

import (
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/observe"
)

var (
	goodPeer net.Addr = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 80}
	badPeer  net.Addr = &net.TCPAddr{IP: net.IPv4(10, 0, 0, 2), Port: 80}
)

// endAt makes a call that ends at a backend.
func (k *clocked) endAt(t *testing.T, peer net.Addr, err error) {
	t.Helper()
	c := k.again(t, 0)
	if err := admit(c); err != nil {
		t.Fatal(err)
	}
	c.Begin(nil)
	c.End(err, at(peer))
	c.Settle(err)
	c.Finish(err, false)
}

// at is what a server leaves that has answered.
func at(peer net.Addr) Evidence {
	return Evidence{Known: true, Sent: true, Peer: peer, Trailer: map[string][]string{"content-type": {"application/grpc"}}}
}

func (k *clocked) want(t *testing.T, s breaker.State) {
	t.Helper()
	if got := k.Plan.Breaker.At(k.now); got != s {
		t.Errorf("the breaker is %v, want %v", got, s)
	}
}

// TestFailuresWhereAnotherServes: they do not open the breaker; those of the one that
// serves do.
func TestFailuresWhereAnotherServes(t *testing.T) {
	k := newClocked(t)
	k.endAt(t, badPeer, unavailable)
	k.endAt(t, goodPeer, nil)
	for range 5 {
		k.endAt(t, badPeer, unavailable)
	}
	k.want(t, breaker.Closed)
	for range 2 {
		k.endAt(t, goodPeer, unavailable)
	}
	k.want(t, breaker.Open)
}

// TestFailuresWhereAnotherAnswers: an answer of any code serves.
func TestFailuresWhereAnotherAnswers(t *testing.T) {
	k := newClocked(t)
	k.endAt(t, badPeer, unavailable)
	k.endAt(t, goodPeer, status.Error(codes.NotFound, "scripted"))
	for range 5 {
		k.endAt(t, badPeer, unavailable)
	}
	k.want(t, breaker.Closed)
}

// TestEndOfAnAnsweredStream: it was answered when it was; that it ends says nothing of
// who serves now.
func TestEndOfAnAnsweredStream(t *testing.T) {
	k := newClocked(t)
	stream := new(Call)
	stream.InitStream(t.Context(), k.Host, k.Plan, k.Policy, nil)
	stream.Start(stream.Ctx)
	if err := admit(stream); err != nil {
		t.Fatal(err)
	}
	stream.Begin(nil)
	stream.Answered(goodPeer)
	k.endAt(t, badPeer, unavailable)
	stream.EndStream(unavailable, true, func() Evidence { e := at(goodPeer); e.Header = true; return e })
	stream.Settle(unavailable)
	stream.Finish(unavailable, false)
	k.endAt(t, badPeer, unavailable)
	k.want(t, breaker.Open)
}

// TestAbandonedHedgeForgetsNothing: the failure that decided a hedged call was at a
// backend that is not the only one.
func TestAbandonedHedgeForgetsNothing(t *testing.T) {
	k := newClocked(t)
	k.endAt(t, badPeer, unavailable)
	k.endAt(t, goodPeer, nil)
	for range 3 {
		c := k.again(t, 0)
		if err := admit(c); err != nil {
			t.Fatal(err)
		}
		var first, hedge Attempt
		c.Launch(&first, nil)
		c.Launch(&hedge, nil)
		c.EndOf(&first, unavailable, at(badPeer))
		c.Abandon(&hedge, nil)
		c.Settle(unavailable)
		c.Finish(unavailable, false)
	}
	k.want(t, breaker.Closed)
}

// TestOpenBreakerWhereAnotherServes: calls pass, and are not counted as such that would
// have been refused.
func TestOpenBreakerWhereAnotherServes(t *testing.T) {
	for _, mode := range []string{"enforced", "observed"} {
		k := newClocked(t)
		k.Policy.BreakerObserve = mode == "observed"
		slow := k.again(t, time.Hour) // begins before, ends after
		if err := admit(slow); err != nil {
			t.Fatal(err)
		}
		slow.Begin(nil)
		for range 2 {
			k.endAt(t, badPeer, unavailable)
		}
		k.want(t, breaker.Open)
		slow.End(nil, at(goodPeer))
		slow.Settle(nil)
		slow.Finish(nil, false)
		k.events = nil
		if err := admit(k.again(t, 0)); err != nil {
			t.Errorf("%s: %v, though another backend serves", mode, err)
		}
		for _, e := range k.events {
			if e.Kind == observe.WouldRefuse {
				t.Errorf("%s: a call that passes is counted as one to be refused", mode)
			}
		}
		k.now += time.Minute
		if err := admit(k.again(t, 0)); (err == nil) != k.Policy.BreakerObserve {
			t.Errorf("%s: %v, a minute after", mode, err)
		}
	}
}

// TestAnsweredStreamServes: that a stream is answered at a backend is its serving, as a
// call's success is.
func TestAnsweredStreamServes(t *testing.T) {
	k := newClocked(t)
	k.endAt(t, badPeer, unavailable)
	stream := new(Call)
	stream.InitStream(t.Context(), k.Host, k.Plan, k.Policy, nil)
	stream.Start(stream.Ctx)
	stream.Begin(nil)
	stream.Answered(goodPeer)
	for range 5 {
		k.endAt(t, badPeer, unavailable)
	}
	k.want(t, breaker.Closed)
}

// TestLongAttempts: an attempt that takes long is excused by a backend that has served
// since it began, though not lately, if it is known when it was: if it may take so long
// only, whatever observers want to know.
func TestLongAttempts(t *testing.T) {
	for left, want := range map[time.Duration]breaker.State{time.Hour: breaker.Closed, 0: breaker.Open} {
		k := newClocked(t)
		k.endAt(t, badPeer, unavailable)
		k.endAt(t, goodPeer, nil)
		var long []*Call
		for range 2 {
			c := k.again(t, left)
			if err := admit(c); err != nil {
				t.Fatal(err)
			}
			k.now = time.Second
			c.Begin(nil)
			long = append(long, c)
		}
		k.now = 2 * time.Second
		k.endAt(t, goodPeer, nil)
		k.now = 13 * time.Second
		for _, c := range long {
			c.End(unavailable, at(badPeer))
			c.Settle(unavailable)
		}
		k.want(t, want)
	}
}

// TestLastFailureIsNowhereElse: of a call whose first attempt failed where another
// serves, the last, which found no connection, counts.
func TestLastFailureIsNowhereElse(t *testing.T) {
	k := newClocked(t)
	k.endAt(t, badPeer, unavailable)
	k.endAt(t, goodPeer, nil)
	for range 2 {
		c := k.again(t, 0)
		if err := admit(c); err != nil {
			t.Fatal(err)
		}
		c.Begin(nil)
		c.End(unavailable, at(badPeer))
		c.Begin(nil)
		c.End(unavailable, Evidence{Known: true, Down: true})
		c.Settle(unavailable)
	}
	k.want(t, breaker.Open)
}
