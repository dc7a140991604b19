package balancer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"

	"github.com/astra-grpc/astra/internal/fleet"
)

// picks is a child's picker, whose picks end with a call of their own, or fail.
type picks struct {
	done func(balancer.DoneInfo)
	err  error
}

func (p picks) Pick(balancer.PickInfo) (balancer.PickResult, error) {
	return balancer.PickResult{Done: p.done}, p.err
}

// An attempt is in flight from its pick until it is done, which the child's picker is
// given too; one that could not be picked is not.
func TestPicksAreCounted(t *testing.T) {
	r := fleet.NewRegistry(time.Now(), slog.Default, fleet.Config{})
	defer r.Close()
	m := r.Fleet("test:///").Join()
	defer m.Leave()
	m.Resolved([]fleet.Endpoint{fleet.NewEndpoint([]string{"a"})})
	backends := m.Ready([]string{"a"})
	meter := &backends[0].Meter
	var got []balancer.DoneInfo
	failed := errors.New("no connection")
	for name, c := range map[string]struct {
		child picks
		given int
	}{
		"with an end of its own": {picks{done: func(d balancer.DoneInfo) { got = append(got, d) }}, 1},
		"without":                {picks{}, 0},
		"fails":                  {picks{err: failed}, 0},
	} {
		got = nil
		p := &picker{
			fleet: m.Fleet(), chooser: fleet.NewChooser(m.Fleet(), backends, 1),
			backends: []ready{{picker: c.child, done: func(balancer.DoneInfo) { meter.Leave() }}},
		}
		result, err := p.Pick(balancer.PickInfo{Ctx: context.Background()})
		if !errors.Is(err, c.child.err) {
			t.Fatalf("%s: %v", name, err)
		}
		if n := meter.InFlight(); (n == 1) != (err == nil) {
			t.Errorf("%s: %d in flight after the pick", name, n)
		}
		if err == nil {
			result.Done(balancer.DoneInfo{BytesSent: true})
		}
		if n := meter.InFlight(); n != 0 || len(got) != c.given || c.given == 1 && !got[0].BytesSent {
			t.Errorf("%s: %d in flight when it is done, the child was given %+v", name, n, got)
		}
	}
}

// conn is a connection that notes what it is in.
type conn struct {
	balancer.ClientConn
	states []balancer.State
}

func (c *conn) UpdateState(s balancer.State) { c.states = append(c.states, s) }

// While no backend is ready the children's word is the connection's, with a suite and
// without one.
func TestNoneReady(t *testing.T) {
	r := fleet.NewRegistry(time.Now(), slog.Default, fleet.Config{})
	defer r.Close()
	m := r.Fleet("test:///").Join()
	defer m.Leave()
	for name, member := range map[string]*fleet.Member{"without a suite": nil, "with one": m} {
		c := &conn{}
		p := &policy{ClientConn: c}
		p.member.Store(member)
		for _, s := range []connectivity.State{connectivity.Connecting, connectivity.TransientFailure, connectivity.Idle, connectivity.Ready} { // ready, with children that are not ours
			p.UpdateState(balancer.State{ConnectivityState: s, Picker: picks{}})
		}
		if len(c.states) != 4 || c.states[3].ConnectivityState != connectivity.Ready || c.states[1].ConnectivityState != connectivity.TransientFailure {
			t.Errorf("%s: %+v", name, c.states)
		}
		for _, s := range c.states {
			if _, own := s.Picker.(*picker); own {
				t.Errorf("%s: our picker, with nothing to pick", name)
			}
		}
	}
}

// child takes what it is given, and notes that it is woken or closed.
type child struct {
	balancer.Balancer
	woken, closed int
	errs          []error
}

func (c *child) ResolverError(err error) { c.errs = append(c.errs, err) }

func (c *child) ExitIdle() { c.woken++ }

func (c *child) Close() { c.closed++ }

func (*child) UpdateClientConnState(balancer.ClientConnState) error { return nil }

// A connection belongs to the suite that its service config names last; to none if that
// is gone, or it names none.
func TestConnectionsFollowTheirConfig(t *testing.T) {
	one, two := fleet.NewRegistry(time.Now(), slog.Default, fleet.Config{}), fleet.NewRegistry(time.Now(), slog.Default, fleet.Config{})
	defer one.Close()
	children := new(child)
	p := &policy{ClientConn: &conn{}, children: children, target: "test:///"}
	for i, c := range []struct {
		config *config
		want   *fleet.Fleet
	}{
		{&config{Suite: one.ID}, one.Fleet("test:///")},
		{&config{Suite: one.ID}, one.Fleet("test:///")},
		{&config{Suite: two.ID}, two.Fleet("test:///")},
		{nil, nil},
		{&config{Suite: one.ID}, one.Fleet("test:///")},
	} {
		s := balancer.ClientConnState{}
		if c.config != nil {
			s.BalancerConfig = c.config
		}
		if err := p.UpdateClientConnState(s); err != nil {
			t.Fatal(err)
		}
		var got *fleet.Fleet
		if m := p.member.Load(); m != nil {
			got = m.Fleet()
		}
		if got != c.want {
			t.Errorf("step %d: another fleet than the config's", i)
		}
	}
	two.Close()
	_ = p.UpdateClientConnState(balancer.ClientConnState{BalancerConfig: &config{Suite: two.ID}})
	if p.member.Load() != nil {
		t.Error("a member of a suite that is closed")
	}
	if p.ExitIdle(); children.woken != 1 {
		t.Errorf("the children were woken %d times, want once", children.woken)
	}
	unresolved := errors.New("no such host")
	if p.ResolverError(unresolved); len(children.errs) != 1 || !errors.Is(children.errs[0], unresolved) {
		t.Errorf("the children were given %v, want %v", children.errs, unresolved)
	}
	s := balancer.ClientConnState{BalancerConfig: &config{Suite: one.ID}}
	s.ResolverState.Endpoints = []resolver.Endpoint{{Addresses: []resolver.Address{{Addr: "a"}}}}
	_ = p.UpdateClientConnState(s)
	m := p.member.Load()
	if b := m.Ready([]string{"a"}); b[0] == nil {
		t.Error("what was resolved is not known")
	}
	if p.Close(); children.closed != 1 {
		t.Errorf("the children were closed %d times, want once", children.closed)
	}
	if b := m.Ready([]string{"a"}); b[0] != nil || p.member.Load() != nil {
		t.Error("a connection that is closed has backends still")
	}
}

// A resolver that names the same endpoints again changes nothing: what is known of a
// backend that no other connection has stays.
func TestResolvedAgain(t *testing.T) {
	r := fleet.NewRegistry(time.Now(), slog.Default, fleet.Config{})
	defer r.Close()
	other := r.Fleet("test:///").Join()
	defer other.Leave()
	other.Resolved([]fleet.Endpoint{fleet.NewEndpoint([]string{"a"})})
	p := &policy{ClientConn: &conn{}, children: new(child), target: "test:///"}
	defer p.Close()
	s := balancer.ClientConnState{BalancerConfig: &config{Suite: r.ID}}
	for _, addr := range []string{"a", "b"} {
		s.ResolverState.Endpoints = append(s.ResolverState.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	var before []*fleet.Backend
	for range 3 {
		if err := p.UpdateClientConnState(s); err != nil {
			t.Fatal(err)
		}
		now := r.Fleet("test:///").Backends()
		if len(now) != 2 || before != nil && (now[0] != before[0] || now[1] != before[1]) {
			t.Fatalf("%d backends, want the same two", len(now))
		}
		before = now
	}
}

// A connection that has none ready any more makes its backends not ready: a snapshot
// shows them so, and retries do not count on them.
func TestNotReadyAnyMore(t *testing.T) {
	r := fleet.NewRegistry(time.Now(), slog.Default, fleet.Config{})
	defer r.Close()
	m := r.Fleet("test:///").Join()
	defer m.Leave()
	m.Resolved([]fleet.Endpoint{fleet.NewEndpoint([]string{"a"})})
	p := &policy{ClientConn: &conn{}}
	p.member.Store(m)
	for _, s := range []connectivity.State{connectivity.Connecting, connectivity.TransientFailure, connectivity.Idle} {
		b := m.Ready([]string{"a"})[0]
		if !b.Ready() {
			t.Fatal("it is not ready")
		}
		if p.UpdateState(balancer.State{ConnectivityState: s, Picker: picks{}}); b.Ready() {
			t.Errorf("it is ready while its connection is %v", s)
		}
	}
}
