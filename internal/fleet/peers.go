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
	last atomic.Int64             // when one did
	bad  atomic.Pointer[net.Addr] // where
	good atomic.Pointer[served]   // nil: nobody serves the method, as far as is known
}

// served is a backend that served the method while attempts failed.
type served struct {
	addr    net.Addr
	heard   atomic.Int64 // when it last did, a millisecond more or less
	excused atomic.Int32 // failures on others since …
	since   atomic.Int64 // … and when the first of them was
	others  atomic.Bool  // it was others that failed
}

const (
	// troubleFor is how long what is known outlives the last failure, and that a
	// backend was heard of: they come and go.
	troubleFor = 10 * time.Second
	// mostExcused is how many failures on others a backend excuses that is not heard of
	// meanwhile, and manyFor for how long it excuses more: calls may come seldom, or in
	// bursts.
	mostExcused = 20
	manyFor     = time.Second
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
	case ago > manyFor: // nobody is known, or it may be gone
		s := &served{addr: addr}
		s.heard.Store(int64(now))
		if bad := t.bad.Load(); bad != nil {
			s.others.Store(!same(*bad, addr))
		}
		t.good.CompareAndSwap(g, s)
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
		t.failed(now, addr)
		p.trouble.CompareAndSwap(nil, t)
		return false
	}
	t.failed(now, addr)
	g := t.good.Load()
	if g == nil {
		return false
	}
	if same(g.addr, addr) || !g.excuses(began, now) {
		t.good.CompareAndSwap(g, nil)
		return false
	}
	g.others.Store(true)
	return true
}

// excuses reports whether the backend was heard of lately enough, or since the attempt
// began, that its failure elsewhere says nothing about the target.
func (g *served) excuses(began, now time.Duration) bool {
	n := g.excused.Add(1)
	if n == 1 {
		g.since.Store(int64(now))
	}
	ago := g.ago(now)
	return ago <= now-began || ago <= troubleFor && (n <= mostExcused || now-time.Duration(g.since.Load()) <= manyFor)
}

func (t *trouble) failed(now time.Duration, addr net.Addr) {
	t.last.Store(int64(now))
	if bad := t.bad.Load(); bad == nil || !same(*bad, addr) {
		t.bad.Store(&addr)
	}
}

// Well reports whether a backend serves the method while others do not, so that a
// breaker which opened for those must not refuse its calls.
func (p *Peers) Well(now time.Duration) bool {
	t := p.trouble.Load()
	if t == nil {
		return false
	}
	g := t.good.Load()
	return g != nil && g.others.Load() && g.ago(now) <= troubleFor
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
