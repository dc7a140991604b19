package fleet

import (
	"math"
	"net"
	"sync/atomic"
	"time"
)

// Peers is what the attempts of a method say of the backends behind a target that
// the suite does not choose among: as long as one of them serves the method,
// failures on others say nothing about the target. The zero value knows nothing.
type Peers struct{ trouble atomic.Pointer[trouble] }

// trouble is attempts that fail.
type trouble struct {
	last atomic.Int64           // when one did
	good atomic.Pointer[served] // nil: nobody serves the method, as far as is known
}

// served is a backend that served the method while others failed.
type served struct {
	addr    net.Addr
	heard   atomic.Int64 // when it last did, a millisecond more or less
	excused atomic.Int32 // failures on others since
}

const (
	// troubleFor is how long what is known outlives the last failure, and that a
	// backend was heard of: they come and go.
	troubleFor = 10 * time.Second
	// freshFor is how long a backend that was heard of excuses any number of failures
	// on others, and mostExcused how many it does after that: calls may come in
	// bursts, or seldom.
	freshFor    = time.Second
	mostExcused = 20
)

// Troubled reports whether an attempt has failed lately, so that successes matter. It
// costs a load.
func (p *Peers) Troubled() bool { return p.trouble.Load() != nil }

// Succeeded notes that a server which is well has answered an attempt at an
// address; nil: it is not known.
func (p *Peers) Succeeded(now time.Duration, addr net.Addr) {
	t := p.trouble.Load()
	if t == nil || addr == nil {
		return
	}
	if now-time.Duration(t.last.Load()) > troubleFor {
		p.trouble.CompareAndSwap(t, nil)
		return
	}
	g := t.good.Load()
	switch ago := g.ago(now); {
	case g != nil && ago < time.Millisecond:
	case g != nil && same(g.addr, addr):
		g.heard.Store(int64(now))
		g.excused.Store(0)
	case ago > freshFor: // nobody is known, or it may be gone
		served := &served{addr: addr}
		served.heard.Store(int64(now))
		t.good.CompareAndSwap(g, served)
	}
}

// Failed notes that an attempt that began then has failed at an address, and reports
// whether the method is served at another.
func (p *Peers) Failed(began, now time.Duration, addr net.Addr) (elsewhere bool) {
	if addr == nil {
		return false
	}
	t := p.trouble.Load()
	if t == nil {
		t = new(trouble)
		t.last.Store(int64(now))
		p.trouble.CompareAndSwap(nil, t)
		return false
	}
	t.last.Store(int64(now))
	g := t.good.Load()
	if g == nil {
		return false
	}
	switch ago := g.ago(now); {
	case same(g.addr, addr), ago > troubleFor:
	case ago <= max(freshFor, now-began), g.excused.Add(1) <= mostExcused:
		return true
	}
	t.good.CompareAndSwap(g, nil)
	return false
}

// ago returns how long ago the backend was heard of.
func (g *served) ago(now time.Duration) time.Duration {
	if g == nil {
		return math.MaxInt64
	}
	return now - time.Duration(g.heard.Load())
}

// same reports whether two addresses are of one backend, which may have been
// connected to anew.
func same(a, b net.Addr) bool {
	ta, ok := a.(*net.TCPAddr)
	tb, both := b.(*net.TCPAddr)
	if ok && both {
		return ta == tb || ta.Port == tb.Port && ta.Zone == tb.Zone && ta.IP.Equal(tb.IP)
	}
	return a.Network() == b.Network() && a.String() == b.String()
}
