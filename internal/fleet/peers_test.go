package fleet_test

import (
	"net"
	"testing"
	"time"

	"github.com/astra-grpc/astra/internal/fleet"
)

func tcp(last byte, port int) net.Addr {
	return &net.TCPAddr{IP: net.IPv4(10, 0, 0, last), Port: port}
}

// TestPeers: failures say nothing about a target while another of its backends
// serves the method, as far as is known and not too long ago.
func TestPeers(t *testing.T) {
	good, bad := tcp(1, 80), tcp(2, 80)
	type step struct {
		at, began time.Duration // began: of a failure
		ok        bool
		addr      net.Addr
		elsewhere bool // of a failure
	}
	ok := func(at time.Duration, a net.Addr) step { return step{at, 0, true, a, false} }
	fails := func(at time.Duration, a net.Addr, elsewhere bool) step { return step{at, at, false, a, elsewhere} }
	slow := func(began, at time.Duration, a net.Addr, elsewhere bool) step {
		return step{at, began, false, a, elsewhere}
	}
	many := func(n int, s ...step) (all []step) {
		for range n {
			all = append(all, s...)
		}
		return all
	}
	const s, ms = time.Second, time.Millisecond
	begun := []step{fails(s, bad, false), ok(s, good)} // trouble, and who serves meanwhile
	for name, steps := range map[string][]step{
		"nothing is known":                  {fails(1, bad, false), fails(2, bad, false)},
		"what was before the trouble":       {ok(0, good), fails(1, bad, false)},
		"another serves":                    append(begun, fails(s, bad, true), fails(s, bad, true)),
		"at the clock's beginning":          {fails(0, bad, false), ok(0, good), fails(0, bad, true)},
		"itself had served":                 {fails(1, bad, false), ok(1, bad), fails(2, bad, false)},
		"the other fails too":               append(begun, fails(s, good, false), fails(s, bad, false)),
		"the other serves again":            append(begun, fails(s, good, false), ok(s, good), fails(s, bad, true)),
		"the same at another connection":    {fails(1, bad, false), ok(1, tcp(2, 80)), fails(2, bad, false)},
		"another port":                      {fails(1, bad, false), ok(1, tcp(2, 81)), fails(2, bad, true)},
		"failures whose backend is unknown": append(begun, fails(s, nil, false), fails(s, bad, true)),
		"successes whose backend is not":    {fails(1, bad, false), ok(1, nil), fails(2, bad, false)},
		"other networks": {fails(1, &net.UnixAddr{Name: "a"}, false), ok(1, &net.UnixAddr{Name: "b"}),
			fails(2, &net.UnixAddr{Name: "a"}, true), fails(3, &net.UnixAddr{Name: "b"}, false)},
		"a burst":                        append(begun, many(1000, fails(2*s, bad, true))...),
		"a burst later":                  append(begun, many(1000, fails(9*s, bad, true))...),
		"a burst too late":               append(begun, many(1, fails(11*s+1, bad, false))...),
		"a burst of calls that waited":   append(begun, many(1000, slow(s, 20*s, bad, true))...),
		"many, for too long":             append(append(begun, many(20, fails(3*s, bad, true))...), fails(4*s, bad, true), fails(4*s+1, bad, false)),
		"seldom, and not for too long":   append(begun, fails(4*s, bad, true), fails(8*s, bad, true), fails(11*s, bad, true), fails(11*s+1, bad, false)),
		"heard of just in time":          append(append(append(begun, many(20, fails(3*s, bad, true))...), ok(4*s, good), fails(5*s, bad, true)), many(30, fails(6*s, bad, true))...),
		"heard of all the time":          append(begun, many(3, fails(2*s, bad, true), ok(2*s, good), fails(3*s, bad, true), ok(3*s, good))...),
		"a third takes its part":         append(begun, ok(2*s+1, tcp(3, 80)), fails(3*s+1, bad, true), fails(12*s, good, true), fails(12*s, tcp(3, 80), false)),
		"a third that is not needed":     append(begun, ok(2*s, tcp(3, 80)), fails(11*s+1, bad, false)),
		"heard of a moment ago":          append(begun, ok(s+ms-1, good), fails(11*s+1, bad, false)),
		"heard of a little while ago":    append(begun, ok(s+ms, good), fails(11*s+1, bad, true)),
		"trouble that is over":           append(begun, ok(11*s+1, good), fails(11*s+2, bad, false)),
		"trouble that may not be over":   append(begun, ok(11*s, good), fails(11*s+2, bad, true)),
		"trouble that is over unnoticed": append(begun, fails(22*s, bad, false), fails(22*s, bad, false), ok(22*s, good), fails(22*s, bad, true)),
	} {
		t.Run(name, func(t *testing.T) {
			var p fleet.Peers
			for i, s := range steps {
				if s.ok {
					p.Succeeded(s.at, s.addr)
				} else if got := p.Failed(s.began, s.at, s.addr); got != s.elsewhere {
					t.Fatalf("step %d: served elsewhere: %v, want %v", i, got, s.elsewhere)
				}
			}
		})
	}
}

// TestPeersWell: a breaker that is open lets calls pass while a backend serves them
// and others do not; not because of one that fails now and then.
func TestPeersWell(t *testing.T) {
	good, bad := tcp(1, 80), tcp(2, 80)
	const s = time.Second
	var p fleet.Peers
	want := func(now time.Duration, well bool) {
		t.Helper()
		if p.Well(now) != well {
			t.Errorf("at %v: well: %v", now, !well)
		}
	}
	want(0, false)
	p.Failed(s, s, bad)
	want(s, false)
	p.Succeeded(s, bad) // one that fails now and then
	want(s, false)
	p.Failed(s, s, bad)
	p.Succeeded(s, good)
	want(s, true)
	want(11*s, true)
	want(11*s+1, false)
	p.Failed(s, s, good)
	want(s, false)
	p.Succeeded(s, good) // which failed last
	want(s, false)
	p.Failed(s, s, bad)
	want(s, true)
}

// TestPeersCostNothing: while nothing fails, and while one fails.
func TestPeersCostNothing(t *testing.T) {
	var p fleet.Peers
	good, bad, third := tcp(1, 80), tcp(2, 80), tcp(3, 80)
	now := time.Duration(0)
	most := func(what string) {
		t.Helper()
		if n := testing.AllocsPerRun(100, func() {
			now += 2 * time.Millisecond
			p.Succeeded(now, good)
			p.Succeeded(now+time.Millisecond, third)
		}); n > 0 {
			t.Errorf("%s: %v allocations a success", what, n)
		}
	}
	most("nothing has failed")
	if p.Troubled() {
		t.Error("there is trouble, though nothing has failed")
	}
	p.Failed(now, now, bad)
	p.Succeeded(now, good)
	most("one fails")
	if !p.Troubled() {
		t.Error("there is no trouble, though one has failed")
	}
}
