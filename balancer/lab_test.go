package balancer_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

var long = flag.Bool("long", false, "run all scenarios, for as long as the issue has them, and with 2, 3, 5 and 10 backends")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// behaviour is what a lab server does with a request.
type behaviour func(ctx context.Context, name string) error

const usual = 20 * time.Millisecond

func works(d time.Duration) behaviour {
	return func(ctx context.Context, _ string) error {
		select {
		case <-time.After(time.Duration(float64(d) * (0.75 + rand.Float64()/2))):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func fails(c codes.Code) behaviour {
	return func(context.Context, string) error { return status.Error(c, "scripted") }
}

func hangs(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

func sometimes(share float64, c codes.Code) behaviour {
	ok := works(usual)
	return func(ctx context.Context, name string) error {
		if rand.Float64() < share {
			return status.Error(c, "scripted")
		}
		return ok(ctx, name)
	}
}

// node is a backend of a lab.
type node struct {
	greeterpb.UnimplementedGreeterServer
	addr string
	buf  *bufconn.Listener // nil: TCP
	srv  *grpc.Server
	does atomic.Pointer[behaviour]
	seen atomic.Int64
	lab  *lab

	mu     sync.Mutex
	thaw   chan struct{} // not nil: frozen
	byCall map[string]int
}

func (n *node) do(b behaviour) { n.does.Store(&b) }

func (n *node) SayHello(ctx context.Context, r *greeterpb.HelloRequest) (*greeterpb.HelloReply, error) {
	n.seen.Add(1)
	n.mu.Lock()
	n.byCall[r.GetName()]++
	n.mu.Unlock()
	if err := (*n.does.Load())(ctx, r.GetName()); err != nil {
		return nil, err
	}
	return &greeterpb.HelloReply{Message: n.addr}, nil
}

func (n *node) SayHelloServerStream(r *greeterpb.HelloRequest, s grpc.ServerStreamingServer[greeterpb.HelloReply]) error {
	n.seen.Add(1)
	for range 3 {
		if err := (*n.does.Load())(s.Context(), r.GetName()); err != nil {
			return err
		}
		if err := s.Send(&greeterpb.HelloReply{Message: n.addr}); err != nil {
			return err
		}
	}
	return nil
}

// got returns how many attempts of calls of a name have come to a node.
func (n *node) got(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byCall[name]
}

// mostOfOneCall returns the name that came most often, and how often.
func (n *node) mostOfOneCall() (name string, times int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for call, k := range n.byCall {
		if k > times {
			name, times = call, k
		}
	}
	return name, times
}

// freeze is SIGSTOP: the kernel still takes connections and bytes.
func (n *node) freeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.thaw = make(chan struct{})
}

func (n *node) unfreeze() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.thaw)
	n.thaw = nil
}

func (n *node) awaitThaw() {
	n.mu.Lock()
	c := n.thaw
	n.mu.Unlock()
	if c != nil {
		<-c
	}
}

// frozenConn stops with its node.
type frozenConn struct {
	net.Conn
	n *node
}

func (c *frozenConn) Read(b []byte) (int, error) {
	k, err := c.Conn.Read(b)
	c.n.awaitThaw()
	return k, err
}

func (c *frozenConn) Write(b []byte) (int, error) {
	c.n.awaitThaw()
	return c.Conn.Write(b)
}

// addressed is a connection to a node, at its address.
type addressed struct {
	net.Conn
	to nodeAddr
}

func (c *addressed) RemoteAddr() net.Addr { return c.to }

type nodeAddr string

func (nodeAddr) Network() string  { return "lab" }
func (a nodeAddr) String() string { return string(a) }

type frozenListener struct {
	net.Listener
	n *node
}

func (l *frozenListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &frozenConn{c, l.n}, nil
}

// lab is backends, and those who call them.
type lab struct {
	t        *testing.T
	real     bool
	nodes    []*node
	resolver *names
	serving  sync.WaitGroup
	start    time.Time

	mu  sync.Mutex
	all map[string]*node // by address; those gone, too
}

func newLab(t *testing.T, n int, realSockets bool) *lab {
	l := &lab{t: t, real: realSockets, all: map[string]*node{}, start: time.Now()}
	for range n {
		l.nodes = append(l.nodes, l.node())
	}
	l.resolver = new(names)
	l.resolve()
	return l
}

// node starts one more backend.
func (l *lab) node() *node {
	n := &node{lab: l, byCall: map[string]int{}}
	n.do(works(usual))
	l.serve(n)
	return n
}

func (l *lab) serve(n *node) {
	var lis net.Listener
	if l.real {
		var err error
		addr := n.addr
		if addr == "" {
			addr = "127.0.0.1:0"
		}
		if lis, err = net.Listen("tcp", addr); err != nil {
			l.t.Fatal(err)
		}
		n.addr = lis.Addr().String()
	} else {
		buf := bufconn.Listen(1 << 16)
		lis = buf
		l.mu.Lock()
		if n.addr == "" {
			n.addr = fmt.Sprintf("node-%d", len(l.all))
		}
		n.buf = buf
		l.all[n.addr] = n
		l.mu.Unlock()
	}
	n.srv = grpc.NewServer()
	greeterpb.RegisterGreeterServer(n.srv, n)
	srv := n.srv
	l.serving.Go(func() { _ = srv.Serve(&frozenListener{lis, n}) })
}

func (l *lab) resolve() {
	var s resolver.State
	for _, n := range l.nodes {
		s.Endpoints = append(s.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: n.addr}}})
	}
	l.resolver.update(s)
}

// names resolves the target of every connection.
type names struct {
	mu    sync.Mutex
	state resolver.State
	ccs   map[*named]struct{}
}

type named struct {
	of *names
	cc resolver.ClientConn
}

func (*names) Scheme() string { return "lab" }

func (r *names) Build(_ resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ccs == nil {
		r.ccs = map[*named]struct{}{}
	}
	n := &named{r, cc}
	r.ccs[n] = struct{}{}
	_ = cc.UpdateState(r.state)
	return n, nil
}

func (r *names) update(s resolver.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = s
	for n := range r.ccs {
		_ = n.cc.UpdateState(s)
	}
}

func (n *named) ResolveNow(resolver.ResolveNowOptions) {}

func (n *named) Close() {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	delete(n.of.ccs, n)
}

func (l *lab) close() {
	for _, n := range l.nodes {
		if n.thaw != nil {
			n.unfreeze()
		}
		n.srv.Stop()
	}
	l.serving.Wait()
}

func (l *lab) dial(opts ...grpc.DialOption) *grpc.ClientConn {
	all := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(l.resolver)}
	if !l.real {
		all = append(all, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			l.mu.Lock()
			n := l.all[addr]
			var buf *bufconn.Listener
			if n != nil {
				buf = n.buf
			}
			l.mu.Unlock()
			if buf == nil {
				return nil, fmt.Errorf("no node at %s", addr)
			}
			conn, err := buf.DialContext(ctx)
			if err != nil {
				return nil, err
			}
			return &addressed{conn, nodeAddr(addr)}, nil
		}))
	}
	cc, err := grpc.NewClient("lab:///backends", append(all, opts...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	return cc
}

// contender is how calls are made.
type contender struct {
	name string
	dial func(l *lab) (*grpc.ClientConn, *counter, func())
}

// counter watches a suite.
type counter struct {
	opened    atomic.Int64 // times that a target's breaker did
	ejections atomic.Int64
	attempts  atomic.Int64
}

func (c *counter) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: func(_ context.Context, e observe.Event) {
		switch {
		case e.Kind == observe.BreakerChange && e.To == observe.BreakerOpen:
			c.opened.Add(1)
		case e.Kind == observe.BackendChange && e.To == observe.BreakerOpen && e.From == observe.BreakerClosed:
			c.ejections.Add(1)
		case e.Kind == observe.AttemptEnd:
			c.attempts.Add(1)
		}
	}}
}

func bare(policy string) contender {
	return contender{"bare " + policy, func(l *lab) (*grpc.ClientConn, *counter, func()) {
		cc := l.dial(grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, policy)), grpc.WithDisableRetry())
		return cc, nil, func() { _ = cc.Close() }
	}}
}

// today is a suite that does not balance load, over round_robin.
func today(name string, p interceptors.Policy) contender {
	return with(name, []grpc.DialOption{grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`)}, p)
}

func suite(name string, p interceptors.Policy, opts ...interceptors.Option) contender {
	return with(name, nil, p, opts...)
}

func with(name string, dial []grpc.DialOption, p interceptors.Policy, opts ...interceptors.Option) contender {
	return contender{name, func(l *lab) (*grpc.ClientConn, *counter, func()) {
		c := new(counter)
		s, err := interceptors.New(append([]interceptors.Option{interceptors.WithPolicy(p), interceptors.WithObserver(c)}, opts...)...)
		if err != nil {
			l.t.Fatal(err)
		}
		cc := l.dial(append(s.DialOptions(), dial...)...)
		return cc, c, func() {
			_ = cc.Close()
			_ = s.Close()
		}
	}}
}

var attemptTimeout = interceptors.Policy{AttemptTimeout: 500 * time.Millisecond, Retry: interceptors.Retry{Repeat: interceptors.RepeatAny}}

func notRetried() interceptors.Policy {
	p := attemptTimeout
	p.Retry.MaxAttempts = 1
	return p
}

func hedged() interceptors.Policy {
	return interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: 60 * time.Millisecond}}
}

var (
	balanced    = suite("balanced", attemptTimeout, interceptors.WithBalancing(interceptors.Balancing{}))
	balancedOne = suite("balanced, not retried", notRetried(), interceptors.WithBalancing(interceptors.Balancing{}))
	costed      = suite("p2c", attemptTimeout, interceptors.WithBalancing(interceptors.Balancing{Policy: "p2c"}))
	unbalanced  = today("as today", attemptTimeout)
	unbalanced1 = today("as today, not retried", notRetried())
)

// result is what came of a load.
type result struct {
	calls, ok  int
	attempts   int64 // that servers saw
	latencies  []time.Duration
	opened     int64
	ejections  int64
	badLate    float64 // share of attempts that went to the first node in the second half of the fault
	stop, back time.Duration
	errs       map[string]int
}

func (r *result) success() float64 { return 100 * float64(r.ok) / float64(r.calls) }

func (r *result) perCall() float64 { return float64(r.attempts) / float64(r.calls) }

func (r *result) p99() time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	slices.Sort(r.latencies)
	return r.latencies[len(r.latencies)*99/100]
}

func (r *result) String() string {
	return fmt.Sprintf("%6.2f %% of %d, %.3f attempts/call, p99 %4d ms, bad's share %4.1f %%, opened %d, ejections %d, stop %v, back %v %v",
		r.success(), r.calls, r.perCall(), r.p99().Milliseconds(), 100*r.badLate, r.opened, r.ejections,
		r.stop.Round(10*time.Millisecond), r.back.Round(10*time.Millisecond), r.errs)
}

// load is calls at a steady rate: warm, with a fault, and after it. Results are of
// the fault.
type load struct {
	rate              int
	warm, fault, rest time.Duration
	begin, end        func(l *lab)
	timeout           time.Duration
	clients           int
}

func (ld load) run(l *lab, c contender) *result {
	r := &result{errs: map[string]int{}}
	clients := max(1, ld.clients)
	var conns []*grpc.ClientConn
	var counters []*counter
	for range clients {
		cc, counter, end := c.dial(l)
		defer end()
		conns = append(conns, cc)
		if counter != nil {
			counters = append(counters, counter)
		}
	}
	timeout := ld.timeout
	if timeout == 0 {
		timeout = 2 * time.Second
	}
	var mu sync.Mutex
	var calls sync.WaitGroup
	start := time.Now()
	seen := func() (first, all int64) {
		for i, n := range l.nodes {
			k := n.seen.Load()
			all += k
			if i == 0 {
				first = k
			}
		}
		return
	}
	ended := ld.warm + ld.fault
	type sample struct {
		at         time.Duration
		first, all int64
	}
	var samples []sample
	total := int((ld.warm + ld.fault + ld.rest).Seconds() * float64(ld.rate))
	begun, over := false, false
	var before int64
	var firstHalf sample
	for i := range total {
		at := time.Duration(i) * time.Second / time.Duration(ld.rate)
		time.Sleep(time.Until(start.Add(at)))
		if !begun && at >= ld.warm {
			begun = true
			_, before = seen()
			if ld.begin != nil {
				ld.begin(l)
			}
		}
		if begun && firstHalf.at == 0 && at >= ld.warm+ld.fault/2 {
			firstHalf.at = at
			firstHalf.first, firstHalf.all = seen()
		}
		if !over && at >= ended {
			over = true
			first, all := seen()
			r.attempts = all - before
			r.badLate = float64(first-firstHalf.first) / float64(max(1, all-firstHalf.all))
			if ld.end != nil {
				ld.end(l)
			}
		}
		if i%max(1, ld.rate/20) == 0 {
			first, all := seen()
			samples = append(samples, sample{at, first, all})
		}
		inFault := begun && !over
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			t := time.Now()
			_, err := greeterpb.NewGreeterClient(conns[i%clients]).SayHello(ctx, &greeterpb.HelloRequest{Name: fmt.Sprint(i)})
			took := time.Since(t)
			if !inFault {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			r.calls++
			if err == nil {
				r.ok++
				r.latencies = append(r.latencies, took)
			} else {
				r.errs[status.Code(err).String()]++
			}
		})
	}
	calls.Wait()
	if !over {
		_, all := seen()
		r.attempts = all - before
	}
	for _, c := range counters {
		r.opened += c.opened.Load()
		r.ejections += c.ejections.Load()
	}
	// When every second after it holds less than half of the fair share, and at
	// least half of it again.
	fair := 1 / float64(len(l.nodes))
	window := func(i int) (share float64, ok bool) {
		long := time.Second
		if samples[i].at >= ended {
			long *= 2 // of ten backends each gets 20 calls a second: half as many come by chance
		}
		for j := i + 1; j < len(samples); j++ {
			if samples[j].at-samples[i].at >= long {
				return float64(samples[j].first-samples[i].first) / float64(max(1, samples[j].all-samples[i].all)), true
			}
		}
		return 0, false
	}
	r.stop, r.back = -1, -1
	for i, s := range samples {
		share, ok := window(i)
		if !ok {
			break
		}
		switch {
		case s.at >= ld.warm && s.at < ended-time.Second:
			if share >= fair/2 {
				r.stop = -1
			} else if r.stop < 0 {
				r.stop = s.at - ld.warm
			}
		case s.at >= ended:
			if share < fair/2 {
				r.back = -1
			} else if r.back < 0 {
				r.back = s.at - ended
			}
		}
	}
	return r
}
