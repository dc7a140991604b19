package state

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// TestMain runs a test, or, in a process that a test has started, what that
// process is for.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleKey); role != "" {
		roles[role]()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

const method = "/helloworld.Greeter/SayHello"

// patient opens for ten seconds, after a single failure.
var patient = interceptors.WithPolicy(interceptors.Policy{
	Retry:   interceptors.Retry{MaxAttempts: 1},
	Breaker: interceptors.Breaker{Consecutive: 1, OpenFor: 10 * time.Second},
})

func newSuite(t testing.TB, store interceptors.Store, opts ...interceptors.Option) *interceptors.Suite {
	t.Helper()
	s, err := interceptors.New(append(opts, interceptors.WithStore(store))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustFile(t testing.TB, path string) *store {
	t.Helper()
	s, err := File(path)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*store)
}

// call makes a call whose attempts end so.
func call(s *interceptors.Suite, method string, end error) error {
	return s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil,
		func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return end })
}

var down = status.Error(codes.Unavailable, "down")

// rest calls once, which must be refused, and returns for how long it will be.
func rest(t testing.TB, s *interceptors.Suite, method string) time.Duration {
	t.Helper()
	err := call(s, method, nil)
	if !errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Fatalf("%v, want a refusal", err)
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	t.Fatal("no RetryInfo")
	return 0
}

// notices is an observer of the suite alone.
type notices struct {
	mu  sync.Mutex
	all []observe.SuiteEvent
	ch  chan observe.SuiteEvent // if not nil, sent too
}

func (n *notices) Observe(observe.Endpoint) observe.Hooks { return observe.Hooks{} }

func (n *notices) SuiteEvent(got observe.SuiteEvent) {
	n.mu.Lock()
	n.all = append(n.all, got)
	n.mu.Unlock()
	if n.ch != nil {
		n.ch <- got
	}
}

func (n *notices) results(kind observe.SuiteEventKind) (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, got := range n.all {
		if got.Kind == kind {
			all = append(all, got.Result.String())
		}
	}
	return all
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write leaves out what the suite says of its breakers.
func (l *lines) Write(p []byte) (int, error) {
	if strings.Contains(string(p), `msg="astra: breaker `) {
		return len(p), nil
	}
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

func (l *lines) option() interceptors.Option {
	return interceptors.WithLogger(slog.New(slog.NewTextHandler(l, nil)))
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// files returns the names beside a path.
func files(t testing.TB, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
