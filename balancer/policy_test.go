package balancer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// watch keeps the endpoints that a suite's observers are asked about, and events.
type watch struct {
	mu     sync.Mutex
	ends   []observe.Endpoint
	events []observe.Event
}

func (w *watch) Observe(e observe.Endpoint) observe.Hooks {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, e)
	return observe.Hooks{Inline: true, Event: func(_ context.Context, e observe.Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}}
}

func (w *watch) backends() []observe.Backend {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends[0].Backends()
}

func (w *watch) count(is func(observe.Event) bool) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if is(e) {
			n++
		}
	}
	return n
}

// client is a suite that balances load, and one of its connections.
type client struct {
	*interceptors.Suite
	*watch
	greeterpb.GreeterClient
	cc  *grpc.ClientConn
	log *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newClient(t *testing.T, l *lab, b interceptors.Balancing, p interceptors.Policy, opts ...grpc.DialOption) *client {
	t.Helper()
	c := &client{watch: new(watch), log: new(lockedBuffer)}
	s, err := interceptors.New(interceptors.WithPolicy(p), interceptors.WithObserver(c.watch), interceptors.WithBalancing(b),
		interceptors.WithLogger(slog.New(slog.NewTextHandler(c.log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	c.Suite = s
	c.connect(l, opts...)
	return c
}

func (c *client) connect(l *lab, opts ...grpc.DialOption) {
	c.cc = l.dial(append(c.DialOptions(), opts...)...)
	c.GreeterClient = greeterpb.NewGreeterClient(c.cc)
}

func (c *client) close() {
	_ = c.cc.Close()
	_ = c.Close()
}

func (c *client) say(t *testing.T, name string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := c.SayHello(ctx, &greeterpb.HelloRequest{Name: name})
	return err
}

// bubble runs a test of a lab in virtual time.
func bubble(t *testing.T, n int, test func(t *testing.T, l *lab)) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, n, false)
		defer l.close()
		test(t, l)
	})
}

// TestRetryGoesElsewhereAtOnce: without a backoff, and to where the call has not
// been; and each backend once, before any is asked again.
func TestRetryGoesElsewhereAtOnce(t *testing.T) {
	bubble(t, 3, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{})
		defer c.close()
		for range 6 {
			_ = c.say(t, "warm")
		}
		l.nodes[0].do(fails(codes.Unavailable))
		l.nodes[1].do(fails(codes.Unavailable))
		for range 3 {
			start := time.Now()
			if err := c.say(t, "x"); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 2*usual {
				t.Errorf("took %v: there was a backoff", took)
			}
		}
		for i, n := range l.nodes {
			if k := n.got("x"); k > 3 {
				t.Errorf("node %d had %d attempts of 3 calls", i, k)
			}
		}
		moved := c.count(func(e observe.Event) bool { return e.Kind == observe.AttemptEnd && e.Elsewhere })
		if retries := c.count(func(e observe.Event) bool { return e.Kind == observe.AttemptEnd && e.Attempt > 1 }); moved != retries || moved == 0 {
			t.Errorf("%d of %d retries went elsewhere", moved, retries)
		}
		if n := c.count(func(e observe.Event) bool { return e.Kind == observe.AttemptEnd && e.Backend == "" }); n > 0 {
			t.Errorf("%d attempts without a backend", n)
		}
	})
}

// TestKeepBackoff and the server's word hold.
func TestBackoffIsKept(t *testing.T) {
	for name, b := range map[string]interceptors.Balancing{"asked for": {KeepBackoff: true}, "same backend": {SameBackend: true}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, 2, func(t *testing.T, l *lab) {
				c := newClient(t, l, b, interceptors.Policy{})
				defer c.close()
				for range 4 {
					_ = c.say(t, "warm")
				}
				l.nodes[0].do(fails(codes.Unavailable))
				for range 6 {
					_ = c.say(t, "x")
				}
				if n := c.count(func(e observe.Event) bool { return e.Kind == observe.BackoffStart && e.Delay < time.Millisecond }); n > 0 {
					t.Errorf("%d retries without backoff", n)
				}
			})
		})
	}
}

// TestStateOutlivesIdleness: a backend that was out before the channel idled is
// out after it.
func TestStateOutlivesIdleness(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{OpenFor: time.Hour, MaxOpenFor: 24 * time.Hour}}, interceptors.Policy{}, grpc.WithIdleTimeout(time.Minute))
		defer c.close()
		l.nodes[0].do(fails(codes.Unavailable))
		for range 20 {
			_ = c.say(t, "x")
		}
		before := l.nodes[0].seen.Load()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for range 20 {
			if err := c.say(t, "x"); err != nil {
				t.Error(err)
			}
		}
		if n := l.nodes[0].seen.Load() - before; n > 3 { // one call's, while nothing else is connected
			t.Errorf("%d more attempts after idleness to a backend that is out", n)
		}
		for _, b := range c.backends() {
			want := observe.BreakerClosed
			if b.Address == l.nodes[0].addr {
				want = observe.BreakerOpen
			}
			if b.State != want || b.InFlight != 0 || !b.Ready {
				t.Errorf("%+v", b)
			}
		}
	})
}

// TestConnectionsShareWhatIsKnown: what one learns, another need not.
func TestConnectionsShareWhatIsKnown(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{})
		defer c.close()
		l.nodes[0].do(fails(codes.Unavailable))
		for range 20 {
			_ = c.say(t, "x")
		}
		before := l.nodes[0].seen.Load()
		cc := l.dial(c.DialOptions()...)
		defer func() { _ = cc.Close() }()
		other := greeterpb.NewGreeterClient(cc)
		for range 20 {
			if _, err := other.SayHello(t.Context(), &greeterpb.HelloRequest{}); err != nil {
				t.Error(err)
			}
		}
		if n := l.nodes[0].seen.Load() - before; n > 3 { // one call's, while nothing else is connected
			t.Errorf("%d attempts to a backend that is out", n)
		}
	})
}

// TestEndpointsComeAndGo: a backend's state goes with its endpoint.
func TestEndpointsComeAndGo(t *testing.T) {
	bubble(t, 3, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{})
		defer c.close()
		l.nodes[0].do(fails(codes.Unavailable))
		for range 30 {
			_ = c.say(t, "x")
		}
		gone := l.nodes[0]
		l.nodes = append(l.nodes[1:], l.node())
		l.resolve()
		synctest.Wait()
		for range 30 {
			if err := c.say(t, "y"); err != nil {
				t.Error(err)
			}
		}
		gone.srv.Stop()
		list := c.backends()
		if len(list) != 3 {
			t.Errorf("%d backends, want 3", len(list))
		}
		for _, b := range list {
			if b.Address == gone.addr || b.State != observe.BreakerClosed {
				t.Errorf("%+v", b)
			}
		}
		if k := gone.got("y"); k > 0 {
			t.Errorf("%d attempts to an endpoint that has gone", k)
		}
	})
}

// TestStreams: retried elsewhere; one that was answered is a success; they leave
// nothing in flight.
func TestStreams(t *testing.T) {
	bubble(t, 3, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Policy: "p2c"}, interceptors.Policy{})
		defer c.close()
		l.nodes[0].do(fails(codes.Unavailable))
		for range 60 {
			s, err := c.SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "x"})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for {
				if _, err = s.Recv(); err != nil {
					break
				}
				n++
			}
			if !errors.Is(err, io.EOF) || n != 3 {
				t.Fatalf("%d messages, then %v", n, err)
			}
		}
		if n := l.nodes[0].seen.Load(); n > 10 {
			t.Errorf("%d attempts to a backend that is out", n)
		}
		for _, b := range c.backends() {
			if b.InFlight != 0 {
				t.Errorf("%+v", b)
			}
			if b.Address != l.nodes[0].addr && (b.Succeeded == 0 || b.State != observe.BreakerClosed) {
				t.Errorf("%+v", b)
			}
		}
	})
}

// TestGivenUpIsNotWaitedFor: a call that was given up, of a backend that serves streams,
// does not make that look slower and slower.
func TestGivenUpIsNotWaitedFor(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Policy: "p2c"}, interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}})
		defer c.close()
		var holds [2]atomic.Int32
		for i, n := range l.nodes {
			n.do(func(ctx context.Context, name string) error {
				switch {
				case name == "hold" && holds[i].Add(1) == 1, name == "hang" && i == 0:
					<-ctx.Done()
				case name != "hang":
					time.Sleep(10 * time.Millisecond)
				}
				return nil
			})
		}
		calls := func(n int) {
			for range n {
				if err := c.say(t, "usual"); err != nil {
					t.Error(err)
				}
			}
		}
		calls(1000) // both are known
		hold, cancel := context.WithCancel(t.Context())
		defer cancel()
		for holds[0].Load() == 0 || holds[1].Load() == 0 { // one on each, and nobody has answered it
			if _, err := c.SayHelloServerStream(hold, &greeterpb.HelloRequest{Name: "hold"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for l.nodes[0].got("hang") == 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			_, _ = c.SayHello(ctx, &greeterpb.HelloRequest{Name: "hang"})
			cancel()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		before := l.nodes[0].got("usual")
		calls(100)
		if n := l.nodes[0].got("usual") - before; n < 20 {
			t.Errorf("%d of 100 calls to one of two backends that are as fast, want about half", n)
		}
	})
}

// TestLogOfWhereItCannotWork: once each, and calls work.
func TestLogOfWhereItCannotWork(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		nodes      int
		opts       []grpc.DialOption
	}{
		{"one address", "single address", 1, nil},
		{"another policy", "does not use the suite's load-balancing policy", 2, []grpc.DialOption{grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"pick_first":{}}]}`)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, tc.nodes, func(t *testing.T, l *lab) {
				c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{}, tc.opts...)
				defer c.close()
				for range 10 {
					if err := c.say(t, "x"); err != nil {
						t.Error(err)
					}
				}
				synctest.Wait()
				if got := strings.Count(c.log.String(), tc.want); got != 1 || strings.Count(c.log.String(), "\n") != 1 {
					t.Errorf("logged %q, want one line that says %q", c.log, tc.want)
				}
			})
		})
	}
}

// TestSingleBackendIsAsWithout: the breaker opens as it does without balancing.
func TestSingleBackendIsAsWithout(t *testing.T) {
	bubble(t, 1, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, notRetried())
		defer c.close()
		_ = c.say(t, "x")
		l.nodes[0].do(fails(codes.Unavailable))
		for range 7 {
			_ = c.say(t, "x")
		}
		before := l.nodes[0].seen.Load()
		if err := c.say(t, "x"); !errors.Is(err, interceptors.ErrBreakerOpen) || l.nodes[0].seen.Load() != before {
			t.Errorf("after 7 failures: %v", err)
		}
	})
}

// TestAllBad: nobody is believed out, and the target's breaker opens.
func TestAllBad(t *testing.T) {
	bubble(t, 3, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, notRetried())
		defer c.close()
		for range 6 {
			_ = c.say(t, "x")
		}
		for _, n := range l.nodes {
			n.do(fails(codes.Unavailable))
		}
		refused := false
		for range 40 {
			if err := c.say(t, "x"); errors.Is(err, interceptors.ErrBreakerOpen) {
				refused = true
				break
			}
		}
		if !refused {
			t.Error("the breaker did not open within 40 failures")
		}
		for _, n := range l.nodes {
			n.do(works(usual))
		}
		for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if err := c.say(t, "x"); err == nil && time.Now().After(deadline.Add(-5*time.Second)) {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("15 s after all serve again: %v", err)
			}
		}
	})
}

// TestReload changes the numbers, not what is known.
func TestReload(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Disabled: true}}, interceptors.Policy{})
		defer c.close()
		l.nodes[0].do(fails(codes.Unavailable))
		calls := func() (bad int64) {
			before := l.nodes[0].seen.Load()
			for range 40 {
				if err := c.say(t, "x"); err != nil {
					t.Error(err)
				}
			}
			return l.nodes[0].seen.Load() - before
		}
		if n := calls(); n < 18 || n > 22 {
			t.Errorf("%d of 40 first attempts to the bad one, though none is ejected", n)
		}
		if err := c.Reload(interceptors.WithBalancing(interceptors.Balancing{Eject: interceptors.Eject{Consecutive: 2}})); err != nil {
			t.Fatal(err)
		}
		if n := calls(); n > 4 {
			t.Errorf("%d of 40 first attempts to the bad one, though two eject", n)
		}
	})
}

// TestAfterClose: calls work, as plain ones.
func TestAfterClose(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{})
		for range 4 {
			_ = c.say(t, "warm")
		}
		_ = c.Close()
		for range 4 {
			if err := c.say(t, "x"); err != nil {
				t.Error(err)
			}
		}
		if a, b := l.nodes[0].got("x"), l.nodes[1].got("x"); a != 2 || b != 2 {
			t.Errorf("%d and %d attempts, want 2 each", a, b)
		}
		_ = c.cc.Close()
	})
}

func TestServiceConfig(t *testing.T) {
	with, err := interceptors.New(interceptors.WithBalancing(interceptors.Balancing{}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = with.Close() }()
	without, err := interceptors.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = without.Close() }()
	const own = `{"methodConfig":[{"name":[{}],"timeout":"1s"}],"loadBalancingPolicy":"round_robin"}`
	if got, err := without.ServiceConfig(own); err != nil || got != own {
		t.Errorf("without balancing: %s, %v", got, err)
	}
	got, err := with.ServiceConfig(own)
	if err != nil || !strings.Contains(got, `"astra_balancing"`) || !strings.Contains(got, `"timeout":"1s"`) || strings.Contains(got, "loadBalancingPolicy") {
		t.Errorf("with: %s, %v", got, err)
	}
	for _, bad := range []string{"{", "[]", "null", `{"loadBalancingPolicy":"pick_first"}`, `{"loadBalancingConfig":[{"ring_hash_experimental":{}}]}`} {
		if got, err := with.ServiceConfig(bad); err == nil {
			t.Errorf("%s: %s", bad, got)
		}
	}
	bubble(t, 2, func(t *testing.T, l *lab) {
		cc := l.dial(append(with.DialOptions(), grpc.WithDefaultServiceConfig(got))...)
		defer func() { _ = cc.Close() }()
		for range 4 {
			if _, err := greeterpb.NewGreeterClient(cc).SayHello(t.Context(), &greeterpb.HelloRequest{}); err != nil {
				t.Error(err)
			}
		}
		if l.nodes[0].seen.Load() == 0 || l.nodes[1].seen.Load() == 0 {
			t.Error("the merged config does not balance load")
		}
	})
}

// TestPushbackHolds: the server's word on when is obeyed, another backend or not.
func TestPushbackHolds(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{}, interceptors.Policy{})
		defer c.close()
		for range 4 {
			_ = c.say(t, "warm")
		}
		b := behaviour(func(ctx context.Context, _ string) error {
			_ = grpc.SetTrailer(ctx, map[string][]string{"grpc-retry-pushback-ms": {"700"}})
			return status.Error(codes.Unavailable, "later")
		})
		l.nodes[0].do(b)
		for range 2 {
			start := time.Now()
			before := l.nodes[0].seen.Load()
			if err := c.say(t, "x"); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); l.nodes[0].seen.Load() > before && (took < 700*time.Millisecond || took > 800*time.Millisecond) {
				t.Errorf("took %v, though pushback asked for 700 ms", took)
			}
		}
	})
}

// TestStateOutlivesTheProcess: a backend that was out is out in the next suite
// that a store restores.
func TestStateOutlivesTheProcess(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		eject := interceptors.Balancing{Eject: interceptors.Eject{OpenFor: time.Hour, MaxOpenFor: 24 * time.Hour}}
		first := &keeper{}
		run := func(k *keeper) (bad int64) {
			s, err := interceptors.New(interceptors.WithBalancing(eject), interceptors.WithStore(k))
			if err != nil {
				t.Fatal(err)
			}
			cc := l.dial(s.DialOptions()...)
			before := l.nodes[0].seen.Load()
			for range 20 {
				if _, err := greeterpb.NewGreeterClient(cc).SayHello(t.Context(), &greeterpb.HelloRequest{}); err != nil {
					t.Error(err)
				}
			}
			k.state = k.live.State()
			_ = cc.Close()
			_ = s.Close()
			return l.nodes[0].seen.Load() - before
		}
		l.nodes[0].do(fails(codes.Unavailable))
		if n := run(first); n < 7 {
			t.Errorf("%d attempts to the bad one, want 7", n)
		}
		if b := first.state.Backends; len(b) != 1 || b[0].Backend != l.nodes[0].addr || b[0].Target != "lab:///backends" || b[0].Left < 45*time.Minute {
			t.Errorf("%+v", b)
		}
		next := &keeper{state: first.state}
		if n := run(next); n > 3 { // one call's, while nothing else is connected
			t.Errorf("%d attempts to a backend that was out", n)
		}
		if b := next.state.Backends; len(b) != 1 {
			t.Errorf("%+v", b)
		}
	})
}

// keeper is a store in memory.
type keeper struct {
	live    interceptors.StoreHandle
	state   interceptors.State
	changes []interceptors.Change
}

func (k *keeper) Attach(l interceptors.StoreHandle) error {
	k.live = l
	l.Restore(k.state)
	return nil
}
func (k *keeper) Changed(c interceptors.Change) { k.changes = append(k.changes, c) }
func (*keeper) Close() error                    { return nil }

// TestBadBackendDoesNotDrainTheBudget: probes that fail are made again at no cost.
func TestBadBackendDoesNotDrainTheBudget(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{MaxOpenFor: time.Second}},
			interceptors.Policy{Budget: interceptors.Budget{Burst: 10, Ratio: 0.0001, MinPerSecond: 0.0001}})
		defer c.close()
		for range 10 {
			_ = c.say(t, "warm")
		}
		l.nodes[0].do(fails(codes.Unavailable))
		for range 3000 { // a minute
			if err := c.say(t, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if n := l.nodes[0].got("x"); n < 20 {
			t.Errorf("%d attempts on the bad backend: the test shows nothing", n)
		}
	})
}

// TestTargetIsNotJudgedByOneBackend: as long as the method succeeds on another, its
// breaker stays closed, even if no backend is ever ejected.
func TestTargetIsNotJudgedByOneBackend(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Disabled: true}}, notRetried())
		defer c.close()
		for range 10 {
			_ = c.say(t, "warm")
		}
		l.nodes[0].do(fails(codes.Unavailable))
		good := 0
		for range 400 {
			switch err := c.say(t, "x"); {
			case err == nil:
				good++
			case errors.Is(err, interceptors.ErrBreakerOpen):
				t.Fatal("the breaker opened")
			}
		}
		if good != 200 {
			t.Errorf("%d of 400 calls succeeded", good)
		}
	})
}

// TestOpenBreakerLetsCallsPassToAWellBackend: it opened while all were bad.
func TestOpenBreakerLetsCallsPassToAWellBackend(t *testing.T) {
	bubble(t, 2, func(t *testing.T, l *lab) {
		p := notRetried()
		p.Breaker = interceptors.Breaker{OpenFor: time.Minute, MaxOpenFor: time.Hour, Consecutive: 20, Probes: 50}
		c := newClient(t, l, interceptors.Balancing{Eject: interceptors.Eject{Disabled: true}}, p)
		defer c.close()
		for range 10 {
			_ = c.say(t, "warm")
		}
		for _, n := range l.nodes {
			n.do(fails(codes.Unavailable))
		}
		for range 25 {
			_ = c.say(t, "x")
		}
		l.nodes[1].do(works(usual))
		open, passed := 0, 0
		for range 10000 {
			time.Sleep(usual)
			switch err := c.say(t, "y"); {
			case err == nil:
				passed++
			case errors.Is(err, interceptors.ErrBreakerOpen) && passed > 0:
				open++
			}
		}
		// A probe finds out that one backend is well; until 50 have, the breaker is
		// not closed, and those that go to the other open it again.
		if open > 0 || passed < 100 {
			t.Errorf("%d calls succeeded, and %d were refused after the first that did", passed, open)
		}
	})
}
