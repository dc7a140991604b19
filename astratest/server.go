package astratest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/astra-grpc/astra/internal/flakyserver"
)

// awaitAtMost is how long tests wait for what does not come; virtual in a bubble.
const awaitAtMost = 30 * time.Second

// logged is more attempts than a test makes: all are kept.
const logged = 1 << 20

// Server is a gRPC server that treats each attempt as its script says. It is
// closed when its test ends. Its methods may be called at any time from any
// goroutine, except those that can fail the test, which must be called from the
// test's own.
//
// An attempt meets the first of these that is set: Down; what is left of its
// method's Script; its method's Always; the same of [Any]; OK.
type Server struct {
	tb      testing.TB
	server  *flakyserver.Server
	backend int
}

// Start serves in memory, for [Server.Dial] alone. In a bubble of
// testing/synctest it runs in virtual time.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return newServer(tb, flakyserver.StartBuffer(flakyserver.WithLog(logged)), 0)
}

// StartTCP serves on a free port of the loopback interface. See [Server.Addr].
func StartTCP(tb testing.TB) *Server {
	tb.Helper()
	s, err := flakyserver.Start(flakyserver.WithLog(logged))
	if err != nil {
		tb.Fatalf("astratest: %v", err)
	}
	return newServer(tb, s, 0)
}

func newServer(tb testing.TB, s *flakyserver.Server, backend int) *Server {
	tb.Cleanup(s.Close)
	return &Server{tb: tb, server: s, backend: backend}
}

// Addr returns the address served on: "127.0.0.1:port" of StartTCP.
func (s *Server) Addr() string { return s.server.Addr() }

// Dial returns a connection to the server, without transport security, that is
// closed when the test ends. Options given win over the server's own.
func (s *Server) Dial(opts ...grpc.DialOption) *grpc.ClientConn {
	s.tb.Helper()
	conn, err := s.server.Dial(opts...)
	return dialed(s.tb, conn, err)
}

func dialed(tb testing.TB, conn *grpc.ClientConn, err error) *grpc.ClientConn {
	tb.Helper()
	if err != nil {
		tb.Fatalf("astratest: dial: %v", err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Script gives the method's next attempts these steps, one each, in place of what
// is left of an earlier script. method is its full name, or [Any].
func (s *Server) Script(method string, script ...Step) {
	s.server.Script(method, steps(script)...)
}

// Always gives the method's attempts past its script this step, in place of an
// earlier Always or Share.
func (s *Server) Always(method string, step Step) { s.server.Always(method, step.step) }

// Share gives a share of the method's attempts past its script, from 0 to 1, this
// step, in place of an earlier Always or Share; the others are answered. The same
// seed draws the same sequence.
func (s *Server) Share(method string, seed uint64, share float64, step Step) {
	s.server.Random(method, seed, flakyserver.Mix{Rate: share, Steps: []flakyserver.Step{step.step}})
}

// Down gives every attempt that arrives this step, until Up.
func (s *Server) Down(step Step) { s.server.SetDown(step.step) }

// Up ends Down.
func (s *Server) Up() { s.server.SetUp() }

// Refuse ends all connections abruptly and refuses new ones, as a process that
// has died, until Accept. Over TCP they are reset before their first byte.
func (s *Server) Refuse() { s.server.Refuse() }

// Accept ends Refuse.
func (s *Server) Accept() { s.server.Accept() }

// Attempts returns the attempts of a method, full name, or of [Any], all, that
// have arrived, oldest first.
func (s *Server) Attempts(method string) (all []Attempt) {
	for _, a := range s.server.Attempts(method) {
		all = append(all, attemptOf(a, s.backend))
	}
	return all
}

// Await returns as soon as cond returns true. It is called again when an
// attempt arrives, receives a message or ends. The test fails if it does not
// return true within 30 s, in a bubble of virtual time.
func (s *Server) Await(cond func() bool) {
	s.tb.Helper()
	await(s.tb, s.server.Await, cond)
}

// AwaitAttempts waits until n attempts of the method, or of [Any], have arrived
// and all that have arrived have ended. See [Server.Await].
func (s *Server) AwaitAttempts(method string, n int) {
	s.tb.Helper()
	s.Await(func() bool { return arrived(s.Attempts(method), n) })
}

func arrived(all []Attempt, n int) bool {
	return len(all) >= n && !slices.ContainsFunc(all, func(a Attempt) bool { return !a.Ended })
}

func await(tb testing.TB, wait func(context.Context, func() bool) error, cond func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitAtMost)
	defer cancel()
	if err := wait(ctx, cond); err != nil {
		tb.Fatalf("astratest: what is awaited did not come within %v", awaitAtMost)
	}
}

// Backends are servers behind one target.
type Backends []*Server

// StartBackends serves as n backends of one target, in memory. The backend of an
// [Attempt] is its index.
func StartBackends(tb testing.TB, n int) Backends {
	tb.Helper()
	if n < 1 {
		tb.Fatalf("astratest: %d backends: want at least 1", n)
	}
	all := make(Backends, n)
	for i := range all {
		all[i] = newServer(tb, flakyserver.StartBuffer(flakyserver.WithLog(logged)), i)
	}
	return all
}

const backendPrefix = "backend-"

// Dial returns a connection to all backends, balanced by round_robin unless an
// option says otherwise, that is closed when the test ends.
func (b Backends) Dial(opts ...grpc.DialOption) *grpc.ClientConn {
	tb := b[0].tb
	tb.Helper()
	var addresses []resolver.Address
	for i := range b {
		addresses = append(addresses, resolver.Address{Addr: fmt.Sprintf("%s%d", backendPrefix, i)})
	}
	r := manual.NewBuilderWithScheme("astratest")
	r.InitialState(resolver.State{Addresses: addresses})
	conn, err := grpc.NewClient("astratest:///backends", slices.Concat([]grpc.DialOption{
		grpc.WithResolvers(r),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(b.dial),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`),
	}, opts)...)
	return dialed(tb, conn, err)
}

func (b Backends) dial(ctx context.Context, addr string) (net.Conn, error) {
	for i, s := range b {
		if name, ok := strings.CutPrefix(addr, backendPrefix); ok && name == fmt.Sprint(i) {
			return s.server.DialContext(ctx)
		}
	}
	return nil, errors.New("astratest: no backend with the address " + addr)
}

// Attempts returns the attempts of a method, full name, or of [Any], all, at all
// backends, in the order of their arrival.
func (b Backends) Attempts(method string) (all []Attempt) {
	for _, s := range b {
		all = append(all, s.Attempts(method)...)
	}
	slices.SortStableFunc(all, func(x, y Attempt) int { return x.Begin.Compare(y.Begin) })
	return all
}
