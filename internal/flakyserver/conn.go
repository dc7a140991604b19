package flakyserver

import (
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// resetMark is a trailer that never reaches the wire: it makes the connection
// where to break. Closing at once would be a race: gRPC writes headers and
// messages some time after the handler has sent them, and would lose them. The
// trailers come after all of that, and these are known by their length.
var resetMark = metadata.Pairs("flakyserver-reset", strings.Repeat("~", resetMarkBytes))

// resetMarkBytes is below the 8 KiB at which gRPC warns of large headers. HPACK
// has no shorter form of a tilde, so that the frame is longer still.
const resetMarkBytes = 6 << 10

const frameHeaderBytes = 9

// conn is the server's end of one connection, watching what gRPC writes.
type conn struct {
	net.Conn
	grpc *grpc.Server

	resetting atomic.Bool // break at the next long trailers frame
	goAway    sync.Once
	goneAway  chan struct{} // closed once a GOAWAY frame is being written
	draining  sync.WaitGroup
	closing   sync.Once
	closed    chan struct{}

	// Of the frame being written. Only gRPC's writer touches them.
	head    [frameHeaderBytes]byte
	headLen int
	payload int // bytes of it still to come
	gone    bool
}

func newConn(nc net.Conn) *conn {
	return &conn{Conn: nc, goneAway: make(chan struct{}), closed: make(chan struct{})}
}

// Write passes on what gRPC writes up to the frame that is to break the
// connection.
func (c *conn) Write(b []byte) (int, error) {
	keep := c.scan(b)
	if keep == len(b) {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:keep])
	c.abort()
	if err == nil {
		err = net.ErrClosed
	}
	return n, err
}

// scan follows the frames in b and returns how much of it may be written.
func (c *conn) scan(b []byte) int {
	for at := 0; at < len(b); {
		if c.payload > 0 {
			n := min(c.payload, len(b)-at)
			c.payload -= n
			at += n
			continue
		}
		begin := at
		n := copy(c.head[c.headLen:], b[at:])
		c.headLen += n
		at += n
		if c.headLen < frameHeaderBytes {
			break
		}
		c.headLen = 0
		c.payload = int(c.head[0])<<16 | int(c.head[1])<<8 | int(c.head[2])
		if c.breaksHere() {
			return begin
		}
	}
	return len(b)
}

// breaksHere looks at the frame whose header is complete.
func (c *conn) breaksHere() bool {
	switch kind, flags := http2.FrameType(c.head[3]), http2.Flags(c.head[4]); kind {
	case http2.FrameHeaders:
		return c.resetting.Load() && c.payload >= resetMarkBytes && flags.Has(http2.FlagHeadersEndStream)
	case http2.FrameGoAway:
		if !c.gone {
			c.gone = true
			close(c.goneAway)
		}
	}
	return false
}

// abort closes the connection as a crashed peer would: with RST over TCP. What
// has been written still reaches the client.
func (c *conn) abort() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // else the close is an orderly one, and no worse
	}
	_ = c.Close()
}

// Close ends the connection and what waits for its end.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		err = c.Conn.Close()
		close(c.closed)
	})
	return err
}

// drain makes gRPC say GOAWAY and returns once that is being written, so that
// what the caller sends next comes after it.
func (c *conn) drain(ctx context.Context) error {
	c.goAway.Do(func() { c.draining.Go(c.grpc.GracefulStop) })
	select {
	case <-c.goneAway:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}

// connListener hands one connection to a grpc.Server.
type connListener struct {
	conn     *conn
	accepted bool
	closing  sync.Once
	closed   chan struct{}
}

// Accept returns the connection, then blocks until it or the listener ends.
func (l *connListener) Accept() (net.Conn, error) {
	if !l.accepted {
		l.accepted = true
		return l.conn, nil
	}
	select {
	case <-l.conn.closed:
	case <-l.closed:
	}
	return nil, net.ErrClosed
}

// Close ends Accept; the connection lives on.
func (l *connListener) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return nil
}

// Addr is the connection's local address.
func (l *connListener) Addr() net.Addr { return l.conn.LocalAddr() }
