package browsertest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/statuspage"
)

// shop is a program with a suite and its status page, and the servers that it
// calls, over real connections.
type shop struct {
	t     *testing.T
	suite *interceptors.Suite
	conns map[string]*grpc.ClientConn
	page  string // address

	mu    sync.Mutex
	fails map[string][]codes.Code // by method: of the next attempts, the last for ever
}

const (
	place  = "/shop.Orders/Place"
	lookup = "/shop.Catalog/Search"
	charge = "/payments.Cards/Charge"
)

var homes = map[string]string{"shop.Orders": "dns:///orders.shop:443", "shop.Catalog": "dns:///catalog.shop:443", "payments.Cards": "dns:///payments.internal:443"}

func openShop(t *testing.T, page ...statuspage.Option) *shop {
	t.Helper()
	s := &shop{t: t, conns: map[string]*grpc.ClientConn{}, fails: map[string][]codes.Code{}}
	server := grpc.NewServer(grpc.UnknownServiceHandler(s.serve))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	fast := interceptors.Retry{Backoff: jitter.Backoff{Base: 20 * time.Millisecond}, Repeat: interceptors.RepeatAny}
	s.suite, err = interceptors.New(
		interceptors.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		interceptors.WithTargetName(func(target string) string { return homes[strings.TrimPrefix(target, "passthrough:///")] }),
		interceptors.WithPolicySource("policy.yaml:4", interceptors.WithMethodPolicy("/shop.Orders/*", interceptors.Policy{
			Retry: fast, Limit: interceptors.Limit{MaxConcurrent: 64}, Breaker: interceptors.Breaker{OpenFor: 20 * time.Second}})),
		interceptors.WithPolicySource("policy.yaml:12", interceptors.WithMethodPolicy("/shop.Catalog/*", interceptors.Policy{Retry: fast, Breaker: interceptors.Breaker{Mode: interceptors.ModeObserve}})),
		interceptors.WithPolicySource("policy.yaml:20", interceptors.WithPolicy(interceptors.Policy{Retry: fast})))
	if err != nil {
		t.Fatal(err)
	}
	for service := range homes {
		conn, err := grpc.NewClient("passthrough:///"+service, append(s.suite.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
			}))...)
		if err != nil {
			t.Fatal(err)
		}
		s.conns[service] = conn
	}
	web := httptest.NewServer(nil)
	mux := http.NewServeMux()
	mux.Handle("/astra/", statuspage.New(s.suite, append([]statuspage.Option{statuspage.WithTitle("Shop")}, page...)...))
	web.Config.Handler = mux
	s.page = web.URL + "/astra/"
	t.Cleanup(func() {
		_ = s.suite.Close()
		web.CloseClientConnections()
		web.Close()
		for _, c := range s.conns {
			_ = c.Close()
		}
		server.Stop()
		serving.Wait()
	})
	return s
}

// serve answers any method.
func (s *shop) serve(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
		return err
	}
	s.mu.Lock()
	c := codes.OK
	if next := s.fails[method]; len(next) > 0 {
		if c = next[0]; len(next) > 1 {
			s.fails[method] = next[1:]
		}
	}
	s.mu.Unlock()
	if c != codes.OK {
		return status.Error(c, "scripted")
	}
	return stream.SendMsg(new(emptypb.Empty))
}

// script says how attempts end.
func (s *shop) script(method string, c ...codes.Code) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[method] = c
}

func (s *shop) call(method string, times int) {
	s.t.Helper()
	service, _, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for range times {
		_ = s.conns[service].Invoke(ctx, method, new(emptypb.Empty), new(emptypb.Empty)) // the page is to show how it went
	}
}

// ordinary is a good day.
func (s *shop) ordinary() {
	for _, m := range []string{place, "/shop.Orders/Get", "/shop.Orders/Cancel", lookup, "/shop.Catalog/Get", charge, "/payments.Cards/Refund"} {
		s.call(m, 3)
	}
}

// trouble is a bad one.
func (s *shop) trouble() {
	s.script(charge, codes.Unavailable, codes.OK)
	s.call(charge, 1)
	s.script("/shop.Orders/Get", codes.NotFound)
	s.call("/shop.Orders/Get", 1)
	s.script(lookup, codes.Internal)
	s.call(lookup, 12)
	s.script(place, codes.Unavailable)
	s.call(place, 1300)
	_ = s.suite.ForceClose(homes["payments.Cards"], "/payments.Cards/Refund", time.Hour)
}
