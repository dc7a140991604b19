package flakyserver

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
)

// pipeBytes is the size of a bufconn pipe: more than a flow-control window, so
// that the pipe is never what holds a stream back.
const pipeBytes = 256 << 10

// Server is a running server. Its methods may be called at any time from any
// goroutine.
type Server struct {
	addr     string // to listen on
	listener net.Listener
	dial     func(context.Context) (net.Conn, error) // nil: over TCP
	dialOpts []grpc.DialOption
	grpcOpts []grpc.ServerOption
	start    time.Time
	pool     *pool // nil: no capacity limit
	log      attemptLog

	methods sync.Map // full name → *method
	any     planBox
	down    atomic.Pointer[Step]
	outages atomic.Pointer[[]Outage]
	changed signal

	refusing atomic.Bool // connections

	closed  chan struct{}
	closing sync.Once
	running sync.WaitGroup
	mu      sync.Mutex
	conns   map[*conn]struct{} // nil once closed
}

// Start serves over TCP, on a free port of the loopback interface unless
// [WithAddr] says otherwise; see [Server.Addr].
func Start(opts ...Option) (*Server, error) {
	s := newServer(opts)
	lis, err := net.Listen("tcp", s.addr)
	if err != nil {
		return nil, fmt.Errorf("flakyserver: %w", err)
	}
	s.serve(lis)
	return s, nil
}

// StartBuffer serves in memory, over bufconn; only [Server.Dial] reaches it.
func StartBuffer(opts ...Option) *Server {
	lis := bufconn.Listen(pipeBytes)
	s := newServer(opts)
	s.serve(lis)
	s.dial = lis.DialContext
	s.dialOpts = append(s.dialOpts, grpc.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return s.DialContext(ctx) }))
	return s
}

func newServer(opts []Option) *Server {
	s := &Server{
		addr:     "127.0.0.1:0",
		dialOpts: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
		log:      attemptLog{limit: defaultLog},
		closed:   make(chan struct{}),
		conns:    make(map[*conn]struct{}),
	}
	for _, opt := range opts {
		opt(s)
	}
	return s
}

func (s *Server) serve(lis net.Listener) {
	s.listener = lis
	s.start = time.Now()
	s.running.Go(s.accept)
}

// Addr is the address served on, "127.0.0.1:port" over TCP.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Dial makes a client connection to the server, without transport security.
// Options given come after the server's own and so win. The caller closes it.
func (s *Server) Dial(opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+s.Addr(), slices.Concat(s.dialOpts, opts)...)
}

// DialContext connects to the server, without gRPC.
func (s *Server) DialContext(ctx context.Context) (net.Conn, error) {
	if s.dial == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	}
	if s.refusing.Load() {
		return nil, &net.OpError{Op: "dial", Net: s.Addr(), Err: syscall.ECONNREFUSED}
	}
	return s.dial(ctx)
}

// Close ends all connections abruptly, and returns when every goroutine of the
// server has ended. It is idempotent; counters and log can be read after it.
func (s *Server) Close() {
	s.closing.Do(func() {
		close(s.closed)
		_ = s.listener.Close()
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.conns = nil
		s.mu.Unlock()
		s.Unstall() // else those in the queue wait for ever; now nobody hears how they end
	})
	s.running.Wait()
}

func (s *Server) accept() {
	for {
		nc, err := s.listener.Accept()
		if err != nil {
			return // only Close ends a loopback or in-memory listener
		}
		c := newConn(nc)
		if !s.track(c) {
			_ = c.Close()
			return
		}
		s.running.Go(func() { s.serveConn(c) })
	}
}

// serveConn gives the connection a grpc.Server of its own, since gRPC can
// send GOAWAY only on all connections of a server at once.
func (s *Server) serveConn(c *conn) {
	defer s.untrack(c)
	opts := slices.Concat(s.grpcOpts, []grpc.ServerOption{
		grpc.WaitForHandlers(true),
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error { return s.handle(c, stream) }),
	})
	c.grpc = grpc.NewServer(opts...)
	// Its error says that the connection has ended. After GOAWAY it waits for that.
	_ = c.grpc.Serve(&connListener{conn: c, closed: make(chan struct{})})
	c.grpc.Stop()
	c.draining.Wait()
}

func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return false
	}
	if s.refusing.Load() {
		c.abort()
		return true // serving it ends at once
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) untrack(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}
