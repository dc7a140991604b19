package interceptors_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// warnings has a log leave out what is less.
var warnings = &slog.HandlerOptions{Level: slog.LevelWarn}

// logBuffer keeps what is logged, by goroutines of the suite's own too.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Reset()
}

const method = "/helloworld.Greeter/SayHello"

// noJitter makes schedules exact.
var noJitter = jitter.Backoff{Jitter: jitter.None}

func newSuite(t testing.TB, opts ...interceptors.Option) *interceptors.Suite {
	t.Helper()
	s, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// step is one attempt of a script: after a delay, or when its context ends,
// it fills what a server sends and returns an error.
type step struct {
	err     error
	after   time.Duration
	hang    bool // until the context ends
	header  metadata.MD
	trailer metadata.MD
	do      func(ctx context.Context, reply any)
}

// script is an invoker that plays steps, one an attempt, the last one for ever.
// It writes to Header and Trailer options as grpc-go does, if it sends any.
type script struct {
	mu    sync.Mutex
	steps []step
	began []time.Time
	prev  []string // grpc-previous-rpc-attempts of each attempt
	opts  [][]grpc.CallOption
}

func play(steps ...step) *script { return &script{steps: steps} }

func fails(c codes.Code) step { return step{err: status.Error(c, "scripted")} }

func (s *script) next(ctx context.Context, opts []grpc.CallOption) step {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := min(len(s.began), len(s.steps)-1)
	md, _ := metadata.FromOutgoingContext(ctx)
	prev := ""
	if v := md.Get("grpc-previous-rpc-attempts"); len(v) > 0 {
		prev = v[len(v)-1]
	}
	s.began = append(s.began, time.Now())
	s.prev = append(s.prev, prev)
	s.opts = append(s.opts, append([]grpc.CallOption(nil), opts...))
	return s.steps[i]
}

func (s *script) attempts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.began)
}

// gaps returns the times between one attempt and the next.
func (s *script) gaps() (all []time.Duration) {
	for i := 1; i < len(s.began); i++ {
		all = append(all, s.began[i].Sub(s.began[i-1]))
	}
	return all
}

func (s *script) invoke(ctx context.Context, _ string, _, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
	st := s.next(ctx, opts)
	if st.do != nil {
		st.do(ctx, reply)
	}
	if st.hang || st.after > 0 {
		var fire <-chan time.Time
		if !st.hang {
			t := time.NewTimer(st.after)
			defer t.Stop()
			fire = t.C
		}
		select {
		case <-fire:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	for _, o := range opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			if st.header != nil {
				*o.HeaderAddr = st.header
			}
		case grpc.TrailerCallOption:
			if st.trailer != nil {
				*o.TrailerAddr = st.trailer
			}
		}
	}
	return st.err
}

// call makes one call through the suite.
func call(s *interceptors.Suite, sc *script, opts ...grpc.CallOption) error {
	return callWith(context.Background(), s, sc, opts...)
}

func callWith(ctx context.Context, s *interceptors.Suite, sc *script, opts ...grpc.CallOption) error {
	return s.UnaryClientInterceptor()(ctx, method, nil, nil, nil, sc.invoke, opts...)
}

func withRetryInfo(c codes.Code, d time.Duration) error {
	st, err := status.New(c, "scripted").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)})
	if err != nil {
		panic(err)
	}
	return st.Err()
}

func pushback(ms ...string) metadata.MD { return metadata.MD{"grpc-retry-pushback-ms": ms} }

func wantCode(t *testing.T, err error, c codes.Code) {
	t.Helper()
	if got := status.Code(err); got != c {
		t.Fatalf("code %v (%v), want %v", got, err, c)
	}
}

func wantAttempts(t *testing.T, sc *script, n int) {
	t.Helper()
	if got := sc.attempts(); got != n {
		t.Fatalf("%d attempts, want %d", got, n)
	}
}
