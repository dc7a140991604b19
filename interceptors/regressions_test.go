package interceptors_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/observe"
)

// TestPoliciesAreCopied: what a caller does to its policy later is its own
// affair.
func TestPoliciesAreCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := interceptors.Policy{Retry: interceptors.Retry{
			PerCode: map[codes.Code]jitter.Backoff{codes.Unavailable: {Base: ms, Jitter: jitter.None}},
		}}
		forAll, forOne := interceptors.WithPolicy(p), interceptors.WithCallPolicy(p)
		p.Retry.PerCode[codes.Unavailable] = jitter.Backoff{Base: time.Hour, Max: time.Hour}
		s := newSuite(t, forAll)
		for _, opts := range [][]grpc.CallOption{nil, {forOne}} {
			start := time.Now()
			_ = call(s, play(fails(codes.Unavailable)), opts...)
			if took := time.Since(start); took != 3*ms {
				t.Errorf("took %v, want 1 ms and 2 ms", took)
			}
		}
	})
}

func TestProbesOfEndlessCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := onlyBreaker(interceptors.Breaker{})
		p.Timeout = 1<<63 - 1
		s := newSuite(t, interceptors.WithPolicy(p))
		trip(t, s, 8)
		time.Sleep(1200 * ms)
		ctx, cancel := context.WithCancel(context.Background())
		hung := play(step{hang: true})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _ = callWith(ctx, s, hung) })
		}
		synctest.Wait()
		wantAttempts(t, hung, 1)
		cancel()
		wg.Wait()
	})
}

// TestReloadsDoNotKeepTheIdle: a reload is no use.
func TestReloadsDoNotKeepTheIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := &evictions{}
		s := newSuite(t, interceptors.WithObserver(gone))
		one := func(m string) {
			_ = s.UnaryClientInterceptor()(context.Background(), m, nil, nil, nil, play(step{}).invoke)
		}
		for i := range 100 {
			one(fmt.Sprintf("/a.B/M%d", i))
		}
		for i := range 12 {
			time.Sleep(5 * time.Minute)
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
			one(fmt.Sprintf("/new.Svc/M%d", i))
		}
		if gone.n < 100 {
			t.Errorf("%d of 100 idle methods forgotten", gone.n)
		}
	})
}

// TestTooManyMethods: those that nothing is kept for have all but a breaker.
func TestTooManyMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := &events{}
		off := interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}, Budget: interceptors.Budget{Burst: 2, MinPerSecond: 1e-9}}
		s := newSuite(t, interceptors.WithObserver(inline{seen}), interceptors.WithPolicy(off),
			interceptors.WithLogger(slog.New(slog.DiscardHandler)),
			interceptors.WithFallback("/late.Svc/*", func(context.Context, string, any, any, error) error { return nil }))
		one := func(m string, sc *script) error {
			return s.UnaryClientInterceptor()(context.Background(), m, nil, nil, nil, sc.invoke)
		}
		for i := range bound {
			_ = one(fmt.Sprintf("/a.B/M%d", i), play(step{}))
		}
		before := seen.count(observe.CallEnd)
		down := play(fails(codes.Unavailable))
		for i := range 20 {
			if err := one(fmt.Sprintf("/late.Svc/M%d", i), down); err != nil {
				t.Fatalf("not rescued: %v", err)
			}
			if err := s.Reload(interceptors.WithPolicy(off)); err != nil {
				t.Fatal(err)
			}
		}
		if got := seen.count(observe.CallEnd) - before; got != 20 {
			t.Errorf("%d of 20 calls told", got)
		}
		wantAttempts(t, down, 22) // one budget of two tokens for them all
	})
}

// TestLoggerThatCallsThroughTheSuite: an exporter of logs may well do so.
func TestLoggerThatCallsThroughTheSuite(t *testing.T) {
	var s *interceptors.Suite
	h := &callingHandler{call: func() { _ = call(s, play(step{})) }}
	s = newSuite(t, interceptors.WithObserver(inline{&events{panic: true}}), interceptors.WithLogger(slog.New(h)))
	_ = call(s, play(step{}))
	for i := range bound + 4 {
		_ = s.UnaryClientInterceptor()(context.Background(), fmt.Sprintf("/a.B/M%d", i), nil, nil, nil, play(step{}).invoke)
	}
	if h.n < 2 {
		t.Errorf("%d records logged: the test shows nothing", h.n)
	}
}

type callingHandler struct {
	n    int
	call func()
}

func (h *callingHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *callingHandler) Handle(context.Context, slog.Record) error {
	h.n++
	h.call()
	return nil
}
func (h *callingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *callingHandler) WithGroup(string) slog.Handler      { return h }

// TestReplyOfAFailedAttempt does not add to the next one's.
func TestReplyOfAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		merge := func(path string) func(context.Context, any) {
			return func(_ context.Context, reply any) {
				m := reply.(*fieldmaskpb.FieldMask)
				m.Paths = append(m.Paths, path)
			}
		}
		sc := play(step{err: fails(codes.Unavailable).err, do: merge("of the first")}, step{do: merge("of the second")})
		reply := &fieldmaskpb.FieldMask{}
		if err := s.UnaryClientInterceptor()(context.Background(), method, nil, reply, nil, sc.invoke); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(reply.Paths) != "[of the second]" {
			t.Errorf("reply %v", reply.Paths)
		}
	})
}

func TestTheLastCallOptionWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t)
		five := interceptors.WithCallPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 5}})
		sc := play(fails(codes.Unavailable))
		_ = call(s, sc, interceptors.NoRetry(), five)
		wantAttempts(t, sc, 5)
	})
}

// TestWarnsInSpiteOf: neither a first call that never was nor a sibling
// connection without retries keeps the warning back.
func TestWarnsInSpiteOf(t *testing.T) {
	const config = `{"methodConfig":[{"name":[{}],"retryPolicy":
		{"maxAttempts":2,"initialBackoff":"0.001s","maxBackoff":"0.01s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	var log bytes.Buffer
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	say := func(ctx context.Context, opts ...grpc.DialOption) {
		cc, err := grpc.NewClient("passthrough:///"+server.Addr(), append(opts,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(config))...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		_, _ = greeterpb.NewGreeterClient(cc).SayHello(ctx, &greeterpb.HelloRequest{})
	}
	over, cancel := context.WithCancel(within(t))
	cancel()
	bare := grpc.WithChainUnaryInterceptor(s.UnaryClientInterceptor())
	say(over, bare)
	say(within(t), s.DialOptions()...)
	if log.Len() > 0 {
		t.Errorf("warned too early: %s", log.String())
	}
	say(within(t), bare)
	if n := strings.Count(log.String(), "retry policy"); n != 1 {
		t.Errorf("%d warnings", n)
	}
}

// TestNoContextIsLeft: contexts that attempts and calls were given end with
// them, in a panic too.
func TestNoContextIsLeft(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Timeout: time.Hour, AttemptTimeout: time.Hour}))
	for name, sc := range map[string]step{"return": {}, "panic": {do: func(context.Context, any) { panic("beneath") }}} {
		var kept context.Context
		invoke := func(ctx context.Context, m string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
			kept = ctx
			return play(sc).invoke(ctx, m, req, reply, cc, opts...)
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil, invoke)
		}()
		if kept.Err() == nil {
			t.Errorf("%s: the attempt's context lives on", name)
		}
	}
}

func TestOddErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		for range 7 {
			_ = call(s, play(step{err: status.Error(4711, "")}))
		}
		if !refused(s, play(step{})) {
			t.Error("a code that gRPC does not know is UNKNOWN, and a failure")
		}
	})
}

func TestBudgetOffAndOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 2, MinPerSecond: 1e-9}))
		s := newSuite(t, on)
		_ = call(s, play(fails(codes.Unavailable)))
		for _, opt := range []interceptors.Option{interceptors.WithPolicy(onlyBudget(interceptors.Budget{Disabled: true})), on} {
			if err := s.Reload(opt); err != nil {
				t.Fatal(err)
			}
		}
		sc := play(fails(codes.Unavailable))
		_ = call(s, sc)
		wantAttempts(t, sc, 1)
	})
}
