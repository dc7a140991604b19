package astraredis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	goleak.VerifyTestMain(m)
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// server is a Redis of a test's own.
type server struct {
	dir   string
	shell *exec.Cmd
	leash io.Closer
	pid   int
}

// requireKey is the variable that makes a missing redis-server a failure, as CI
// wants it.
const requireKey = "ASTRA_REQUIRE_REDIS"

func startRedis(t *testing.T) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv(requireKey) != "" {
			t.Fatalf("%v; %s wants one", err, requireKey)
		}
		t.Skipf("%v: install redis-server to run this test", err)
	}
	s := &server{dir: t.TempDir()}
	s.start(t)
	t.Cleanup(s.kill)
	return s
}

func (s *server) socket() string { return filepath.Join(s.dir, "socket") }

// onLeash runs its arguments, and kills them when its input ends: with the
// test, however that ends.
const onLeash = `"$@" </dev/null & echo "pid $!"; cat >/dev/null; kill -9 $!; wait $! 2>/dev/null`

// start returns once it accepts connections.
func (s *server) start(t *testing.T) {
	t.Helper()
	s.shell = exec.Command("sh", "-c", onLeash, "sh",
		"redis-server", "--port", "0", "--unixsocket", s.socket(), "--dir", s.dir, "--save", "", "--appendonly", "no")
	out, err := s.shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.leash, err = s.shell.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.shell.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		_, _ = fmt.Sscanf(lines.Text(), "pid %d", &s.pid)
		if strings.Contains(strings.ToLower(lines.Text()), "ready to accept connections") {
			return
		}
	}
	t.Fatalf("redis-server ended: %v", s.shell.Wait())
}

// kill loses all that it held.
func (s *server) kill() {
	_ = s.leash.Close()
	_ = s.shell.Wait()
}

func (s *server) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(s.pid, sig); err != nil {
		t.Fatal(err)
	}
}

func (s *server) client(t *testing.T) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Network: "unix", Addr: s.socket(), ContextTimeoutEnabled: true,
		MaxRetries: -1, DialTimeout: time.Second, DialerRetries: 1, ReadTimeout: time.Second, WriteTimeout: time.Second,
	})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// listeners waits until so many listen. Their first look at the set comes after
// that.
func (s *server) listeners(t *testing.T, channel string, want int64) {
	t.Helper()
	c := s.client(t)
	for t.Context().Err() == nil {
		n, err := c.PubSubNumSub(t.Context(), channel).Result()
		if err != nil {
			t.Fatal(err)
		}
		if n[channel] == want {
			return
		}
	}
}

// peer is an instance of the fleet.
type peer struct {
	*interceptors.Suite
	store *store
	log   lines

	notices chan observe.SuiteEvent
}

const method = "/helloworld.Greeter/SayHello"

var policy = interceptors.Policy{
	Retry:   interceptors.Retry{MaxAttempts: 1},
	Breaker: interceptors.Breaker{Consecutive: 3, OpenFor: time.Minute},
}

// join adds an instance.
func (s *server) join(t *testing.T, opts ...Option) *peer {
	t.Helper()
	st, err := New(s.client(t), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return join(t, st.(*store))
}

func join(t *testing.T, st *store, opts ...interceptors.Option) *peer {
	t.Helper()
	p := &peer{store: st, notices: make(chan observe.SuiteEvent, 10000)}
	st.pingEvery = 100 * time.Millisecond
	suite, err := interceptors.New(append(opts, interceptors.WithPolicy(policy), interceptors.WithStore(st), interceptors.WithObserver(p),
		interceptors.WithLogger(slog.New(slog.NewTextHandler(&p.log, nil))))...)
	if err != nil {
		t.Fatal(err)
	}
	p.Suite = suite
	t.Cleanup(func() { _ = suite.Close() })
	return p
}

func (p *peer) Observe(observe.Endpoint) observe.Hooks { return observe.Hooks{} }
func (p *peer) SuiteEvent(n observe.SuiteEvent)        { p.notices <- n }

// await waits until the instance has reported a result that many times, and
// returns what else it reported.
func (p *peer) await(t *testing.T, result string, times int) (others []observe.SuiteEvent) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for times > 0 {
		select {
		case n := <-p.notices:
			if n.Kind == observe.StateShared && n.Result.String() == result {
				times--
			} else {
				others = append(others, n)
			}
		case <-limit:
			t.Fatalf("no report of %q; others: %v; log:\n%s", result, others, &p.log)
		}
	}
	return others
}

func (p *peer) call(end error) error { return p.callMethod(method, end) }

func (p *peer) callMethod(method string, end error) error {
	return p.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil,
		func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return end })
}

var down = status.Error(codes.Unavailable, "down")

// trip opens the breaker by failures.
func (p *peer) trip(t *testing.T) {
	t.Helper()
	for range policy.Breaker.Consecutive {
		if err := p.call(down); errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Fatal("refused too early")
		}
	}
	p.refuses(t)
}

func (p *peer) refuses(t *testing.T) {
	t.Helper()
	if err := p.call(nil); !errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Fatalf("%v, want a refusal; log:\n%s", err, &p.log)
	}
}

func (p *peer) passes(t *testing.T) {
	t.Helper()
	if err := p.call(nil); err != nil {
		t.Fatal(err)
	}
}

// record returns the state of the instance's breaker.
func (p *peer) record() (r interceptors.BreakerRecord) {
	for _, b := range p.store.live.State().Breakers {
		if b.Method == method {
			return b
		}
	}
	return r
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(part string) int { return strings.Count(l.String(), part) }

func published(left time.Duration, r report) string {
	member, err := r.member()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf("%d %s", left.Milliseconds(), member)
}
