package chaostest

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Fault is what a proxy does to what passes through it. The zero Fault is none.
type Fault struct {
	Latency   time.Duration // each way
	Bandwidth int           // bytes a second, each way; 0: any
	Slice     int           // bytes a write at most; 0: any
	HoldUp    bool          // nothing arrives at the server until the fault is over, as if all packets were lost
	HoldDown  bool          // … at the client
	Refuse    bool          // new connections are reset
	CutAfter  int           // each connection is reset when so many more bytes have gone to the client; 0: never
}

// Proxy passes TCP connections on to a target, and spoils them. Its methods may be
// called at any time from any goroutine.
type Proxy struct {
	listener net.Listener
	target   atomic.Pointer[string]
	running  sync.WaitGroup

	mu      sync.Mutex
	fault   Fault
	changed chan struct{} // closed at the next change of fault, and by Close
	links   map[*link]struct{}
	closed  bool
}

// link is a client's connection and the one to the target.
type link struct {
	proxy    *Proxy
	up, down net.Conn // to the target, to the client
	ended    chan struct{}
	ending   sync.Once
	cutAfter atomic.Int64 // 0: never
}

// StartProxy serves on a free port of the loopback interface.
func StartProxy(target string) (*Proxy, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: lis, changed: make(chan struct{}), links: make(map[*link]struct{})}
	p.Aim(target)
	p.running.Go(p.accept)
	return p, nil
}

// Addr returns the address served on.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Aim sets where connections from now on lead.
func (p *Proxy) Aim(target string) { p.target.Store(&target) }

// Set puts a fault in place of the one before, for old and new connections.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	if !p.closed {
		close(p.changed)
		p.changed = make(chan struct{})
	}
	for l := range p.links {
		l.cutAfter.Store(int64(f.CutAfter))
	}
}

// Cut resets all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Close resets all connections, and returns when every goroutine has ended.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.changed)
	}
	for l := range p.links {
		l.reset()
	}
	p.mu.Unlock()
	p.running.Wait()
}

func (p *Proxy) now() (f Fault, changed chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.changed
}

func (p *Proxy) accept() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.serve(down) })
	}
}

func (p *Proxy) serve(down net.Conn) {
	l := &link{proxy: p, down: down, ended: make(chan struct{})}
	if f, _ := p.now(); f.Refuse {
		abort(down)
		return
	}
	up, err := net.DialTimeout("tcp", *p.target.Load(), time.Second)
	if err != nil {
		abort(down)
		return
	}
	l.up = up
	if !p.add(l) {
		l.reset()
		return
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(up, down, true) })
	l.pump(down, up, false)
	pumps.Wait()
	_ = up.Close()
	_ = down.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	l.cutAfter.Store(int64(p.fault.CutAfter))
	p.links[l] = struct{}{}
	return true
}

// reset ends both connections with RST.
func (l *link) reset() {
	l.ending.Do(func() {
		close(l.ended)
		abort(l.down)
		abort(l.up)
	})
}

func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else the close is an orderly one
	}
	_ = c.Close()
}

// chunk is what was read, and when.
type chunk struct {
	data []byte // nil: the end
	at   time.Time
}

// inFlight is how many chunks a direction holds, as the network does.
const inFlight = 64

// pump passes on what comes from one side, to its end.
func (l *link) pump(to, from net.Conn, up bool) {
	chunks := make(chan chunk, inFlight)
	l.proxy.running.Go(func() {
		defer close(chunks)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				select {
				case chunks <- chunk{buf[:n], time.Now()}:
				case <-l.ended:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for c := range chunks {
		if !l.pass(to, c, up) {
			l.reset()
			for range chunks { // what is read ends with the connection
			}
			return
		}
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// pass writes a chunk when its time has come; false if the connection has ended.
func (l *link) pass(to net.Conn, c chunk, up bool) bool {
	for len(c.data) > 0 {
		f, ok := l.unheld(up)
		if !ok || !l.wait(time.Until(c.at.Add(f.Latency))) {
			return false
		}
		part, ok := l.paced(c.data, f)
		if !ok {
			return false
		}
		part, cut := l.untilCut(part, up)
		if _, err := to.Write(part); err != nil || cut {
			return false
		}
		c.data = c.data[len(part):]
	}
	return true
}

// unheld returns the fault that is on, once it holds nothing in this direction.
func (l *link) unheld(up bool) (f Fault, ok bool) {
	for {
		f, changed := l.proxy.now()
		if held := f.HoldUp && up || f.HoldDown && !up; !held {
			return f, true
		}
		select {
		case <-changed:
		case <-l.ended:
			return f, false
		}
		if l.proxy.isClosed() {
			return f, false
		}
	}
}

// paced returns what may be written in one go, when it may.
func (l *link) paced(part []byte, f Fault) ([]byte, bool) {
	if f.Slice > 0 && len(part) > f.Slice {
		part = part[:f.Slice]
	}
	if f.Bandwidth == 0 {
		return part, true
	}
	part = part[:min(len(part), max(f.Bandwidth/100, 1))]
	return part, l.wait(time.Duration(len(part)) * time.Second / time.Duration(f.Bandwidth))
}

// untilCut returns what may still be written before the connection is to be cut.
func (l *link) untilCut(part []byte, up bool) (rest []byte, cut bool) {
	left := l.cutAfter.Load()
	if up || left == 0 {
		return part, false
	}
	if int64(len(part)) >= left {
		return part[:left], true
	}
	l.cutAfter.Add(-int64(len(part)))
	return part, false
}

func (l *link) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-l.ended:
		return false
	}
}

func (p *Proxy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}
