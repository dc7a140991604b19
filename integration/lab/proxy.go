package lab

import (
	"bufio"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A Proxy stands before a server, breaks connections on purpose, and counts the
// requests that come through. All methods may be called from any goroutine.
type Proxy struct {
	Addr string

	server  string
	discard atomic.Bool // what the server answers is thrown away
	wg      sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil: refuses
	conns    map[net.Conn]struct{}
	requests map[string]int // by method
	closed   bool
}

// NewProxy starts a proxy on a port of its own before the server at addr. It ends
// with the test.
func NewProxy(t testing.TB, addr string) *Proxy {
	t.Helper()
	p := &Proxy{server: addr, conns: map[net.Conn]struct{}{}, requests: map[string]int{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Addr = l.Addr().String()
	p.listen(l)
	t.Cleanup(p.close)
	return p
}

// Requests returns how many requests of a method came through.
func (p *Proxy) Requests(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.requests[method]
}

// Cut lets requests through for d but no answers, then resets all connections:
// what a load balancer, a NAT or a dying node does.
func (p *Proxy) Cut(d time.Duration) {
	p.discard.Store(true)
	<-time.After(d)
	p.reset()
	p.discard.Store(false)
}

// Refuse resets all connections and refuses others for d.
func (p *Proxy) Refuse(d time.Duration) error {
	p.mu.Lock()
	l := p.listener
	p.listener = nil
	p.mu.Unlock()
	if l == nil {
		return errors.New("lab: the proxy refuses connections already")
	}
	if err := l.Close(); err != nil {
		return err
	}
	p.reset()
	<-time.After(d)
	l, err := net.Listen("tcp", p.Addr)
	if err == nil {
		p.listen(l)
	}
	return err
}

func (p *Proxy) listen(l net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = l.Close()
		return
	}
	p.listener = l
	p.wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // closed
			}
			p.wg.Go(func() { p.serve(client) })
		}
	})
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	if p.listener != nil {
		_ = p.listener.Close()
	}
	p.mu.Unlock()
	p.reset()
	p.wg.Wait()
}

// reset ends all connections, towards clients without a farewell.
func (p *Proxy) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
	}
}

// keep reports whether the connection may be used; reset will end it.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *Proxy) serve(client net.Conn) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		_ = client.(*net.TCPConn).SetLinger(0) // as the server does, which refuses
		return
	}
	if !p.keep(server) {
		return
	}
	defer p.drop(server)

	seen, sniffed := io.Pipe()
	p.wg.Go(func() { p.count(seen) })
	p.wg.Go(func() {
		_, _ = io.Copy(server, io.TeeReader(client, sniffed))
		_ = sniffed.Close()
		_ = server.Close()
	})
	_, _ = io.Copy(answers{client, p}, server)
}

// answers are written to the client, unless the proxy throws them away.
type answers struct {
	client net.Conn
	proxy  *Proxy
}

func (a answers) Write(b []byte) (int, error) {
	if a.proxy.discard.Load() {
		return len(b), nil
	}
	return a.client.Write(b)
}

// count reads what a client sends and counts its requests, by method.
func (p *Proxy) count(r *io.PipeReader) {
	defer func() { _, _ = io.Copy(io.Discard, r) }() // not HTTP/2, or cut within a frame: only counting ends
	in := bufio.NewReader(r)
	if _, err := in.Discard(len(http2.ClientPreface)); err != nil {
		return
	}
	framer := http2.NewFramer(io.Discard, in)
	framer.SetMaxReadFrameSize(1<<24 - 1)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.ReadMetaHeaders.SetAllowedMaxDynamicTableSize(1 << 20)
	for {
		f, err := framer.ReadFrame()
		if err != nil {
			return
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			p.mu.Lock()
			p.requests[h.PseudoValue("path")]++
			p.mu.Unlock()
		}
	}
}
