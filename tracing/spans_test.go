package tracing_test

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/tracing"
)

// TestSpan looks at a call's span and an attempt's whole.
func TestSpan(t *testing.T) {
	bubble(t, setting{}, func(t *testing.T, w *world) {
		ctx, caller := w.spans.Tracer("caller").Start(t.Context(), "caller")
		began := time.Now()
		w.Script(hello, flakyserver.OK().After(30*time.Millisecond))
		if err := w.hello(ctx); err != nil {
			t.Fatal(err)
		}
		spans := w.spans.GetSpans()
		if len(spans) != 2 {
			t.Fatalf("%d spans have ended, want 2", len(spans))
		}
		attempt, call := spans[0], spans[1]
		if call.Name != "Sent.helloworld.Greeter.SayHello" || attempt.Name != "Attempt.helloworld.Greeter.SayHello" {
			t.Errorf("names %q and %q", call.Name, attempt.Name)
		}
		if call.SpanKind != trace.SpanKindInternal || attempt.SpanKind != trace.SpanKindInternal {
			t.Errorf("kinds %v and %v, want internal", call.SpanKind, attempt.SpanKind)
		}
		if call.Parent.SpanID() != caller.SpanContext().SpanID() || attempt.Parent.SpanID() != call.SpanContext.SpanID() {
			t.Error("the attempt's parent is not the call, or the call's not the caller's span")
		}
		if call.InstrumentationScope.Name != "github.com/astra-grpc/astra/tracing" {
			t.Errorf("scope %q", call.InstrumentationScope.Name)
		}
		for _, s := range spans {
			if s.StartTime != began || s.EndTime.Sub(began) != 30*time.Millisecond {
				t.Errorf("%s lasts from %v to %v", s.Name, s.StartTime, s.EndTime)
			}
		}
		want(t, call.Attributes,
			attribute.String("rpc.system", "grpc"),
			attribute.String("rpc.service", "helloworld.Greeter"),
			attribute.String("rpc.method", "SayHello"),
			attribute.String("grpc.target", "passthrough:///bufconn"),
			attribute.String("astra.outcome", "success_first"),
			attribute.Int("astra.attempts", 1),
			attribute.Int("rpc.grpc.status_code", 0),
		)
		want(t, attempt.Attributes,
			attribute.String("rpc.system", "grpc"),
			attribute.String("rpc.service", "helloworld.Greeter"),
			attribute.String("rpc.method", "SayHello"),
			attribute.Int("previous-rpc-attempts", 0),
			attribute.Bool("transparent-retry", false),
			attribute.String("astra.attempt_kind", "first"),
			attribute.Int("rpc.grpc.status_code", 0),
		)
	})
}

func want(t *testing.T, got []attribute.KeyValue, want ...attribute.KeyValue) {
	t.Helper()
	a, b := attribute.NewSet(got...), attribute.NewSet(want...)
	if len(got) != len(want) || !a.Equals(&b) {
		t.Errorf("attributes\n%v\nwant\n%v", got, want)
	}
}

func TestUnaryTrees(t *testing.T) {
	fallback := func(err error) interceptors.Option {
		return interceptors.WithFallback(hello, func(context.Context, string, any, any, error) error { return err })
	}
	panics := func(context.Context, string, any, any, *grpc.ClientConn, grpc.UnaryInvoker, ...grpc.CallOption) error {
		panic("beneath")
	}
	for _, tc := range []struct {
		name string
		setting
		script  []flakyserver.Step
		calls   int
		timeout time.Duration
		cancel  time.Duration
		want    string
	}{
		{name: "success", want: `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
`},
		{name: "saved", script: []flakyserver.Step{down, down}, want: `
Sent.helloworld.Greeter.SayHello ok outcome=success_after_retry attempts=3 code=0
  - backoff attempt=1 backoff_ms=500 code=14
  - backoff attempt=2 backoff_ms=1000 code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=1 attempt_kind=retry code=14
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=2 attempt_kind=retry code=0
`},
		{name: "exhausted", script: []flakyserver.Step{down, down}, setting: setting{policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 2}}}, want: `
Sent.helloworld.Greeter.SayHello error (UNAVAILABLE) outcome=failed attempts=2 code=14
  - backoff attempt=1 backoff_ms=500 code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=1 attempt_kind=retry code=14
`},
		{name: "not retryable", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "none")}, want: `
Sent.helloworld.Greeter.SayHello error (NOT_FOUND) outcome=failed attempts=1 code=5
  - retry suppressed attempt=1 suppress_reason=not_retryable code=5
  Attempt.helloworld.Greeter.SayHello error (NOT_FOUND) previous-rpc-attempts=0 attempt_kind=first code=5
`},
		{name: "no budget", script: []flakyserver.Step{down, down}, setting: setting{policy: interceptors.Policy{Budget: interceptors.Budget{Burst: 1, MinPerSecond: 0.001}}}, want: `
Sent.helloworld.Greeter.SayHello error (UNAVAILABLE) outcome=failed attempts=2 code=14
  - backoff attempt=1 backoff_ms=500 code=14
  - retry suppressed attempt=2 suppress_reason=budget code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=1 attempt_kind=retry code=14
`},
		{name: "breaker", script: []flakyserver.Step{down}, calls: 2,
			setting: setting{policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Consecutive: 1}}}, want: `
Sent.helloworld.Greeter.SayHello error (UNAVAILABLE) outcome=failed attempts=1 code=14
  - breaker changed breaker.from=closed breaker.to=open breaker.reason=consecutive
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
Sent.helloworld.Greeter.SayHello error (UNAVAILABLE) outcome=rejected_breaker attempts=0 code=14
  - breaker rejected
`},
		{name: "fallback", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "none")}, setting: setting{suite: []interceptors.Option{fallback(nil)}}, want: `
Sent.helloworld.Greeter.SayHello ok outcome=fallback attempts=1 code=0
  - retry suppressed attempt=1 suppress_reason=not_retryable code=5
  - fallback code=5
  Attempt.helloworld.Greeter.SayHello error (NOT_FOUND) previous-rpc-attempts=0 attempt_kind=first code=5
`},
		{name: "fallback fails", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "none")}, setting: setting{suite: []interceptors.Option{fallback(context.DeadlineExceeded)}}, want: `
Sent.helloworld.Greeter.SayHello error (DEADLINE_EXCEEDED) outcome=failed attempts=1 code=4
  - retry suppressed attempt=1 suppress_reason=not_retryable code=5
  Attempt.helloworld.Greeter.SayHello error (NOT_FOUND) previous-rpc-attempts=0 attempt_kind=first code=5
`},
		{name: "panic", setting: setting{dial: []grpc.DialOption{grpc.WithChainUnaryInterceptor(panics)}}, want: `
Sent.helloworld.Greeter.SayHello error (UNKNOWN) outcome=failed attempts=1 code=2
  Attempt.helloworld.Greeter.SayHello error (UNKNOWN) previous-rpc-attempts=0 attempt_kind=first code=2
`},
		{name: "no time for a backoff", script: []flakyserver.Step{down}, timeout: 100 * time.Millisecond, want: `
Sent.helloworld.Greeter.SayHello error (UNAVAILABLE) outcome=failed attempts=1 code=14
  - retry suppressed attempt=1 suppress_reason=deadline code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
`},
		{name: "cancelled in the backoff", script: []flakyserver.Step{down}, cancel: 100 * time.Millisecond, want: `
Sent.helloworld.Greeter.SayHello error (CANCELLED) outcome=failed attempts=1 code=1
  - backoff attempt=1 backoff_ms=500 code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
`},
		{name: "attempt timeout", script: []flakyserver.Step{flakyserver.Hang()}, setting: setting{policy: interceptors.Policy{AttemptTimeout: time.Second}}, want: `
Sent.helloworld.Greeter.SayHello ok outcome=success_after_retry attempts=2 code=0
  - backoff attempt=1 backoff_ms=500 code=4
  Attempt.helloworld.Greeter.SayHello error (DEADLINE_EXCEEDED) previous-rpc-attempts=0 attempt_kind=first code=4
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=1 attempt_kind=retry code=0
`},
		{name: "with messages", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "no such Ann")}, setting: setting{tracing: []tracing.Option{tracing.WithErrorMessages()}}, want: `
Sent.helloworld.Greeter.SayHello error (NOT_FOUND, no such Ann) outcome=failed attempts=1 code=5
  - retry suppressed attempt=1 suppress_reason=not_retryable code=5
  Attempt.helloworld.Greeter.SayHello error (NOT_FOUND, no such Ann) previous-rpc-attempts=0 attempt_kind=first code=5
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, tc.setting, func(t *testing.T, w *world) {
				w.Script(hello, tc.script...)
				for range max(1, tc.calls) {
					ctx, cancel := context.WithCancel(t.Context())
					if tc.timeout > 0 {
						ctx, cancel = context.WithTimeout(t.Context(), tc.timeout)
					}
					if tc.cancel > 0 {
						time.AfterFunc(tc.cancel, cancel)
					}
					func() {
						defer func() { _ = recover() }()
						_ = w.hello(ctx)
					}()
					cancel()
				}
				w.spans.wantTrees(t, tc.want)
			})
		})
	}
}

// TestLimitTrees: a call that waits for its turn, and those that get none.
func TestLimitTrees(t *testing.T) {
	narrow := interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 1, MaxQueue: 2, MaxWait: 150 * time.Millisecond}}
	bubble(t, setting{policy: narrow}, func(t *testing.T, w *world) {
		w.Always(hello, flakyserver.OK().After(100*time.Millisecond))
		for range 4 {
			go func() { _ = w.hello(t.Context()) }()
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		w.spans.wantTrees(t, `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
  - queued
  - dequeued queued_ms=99
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
Sent.helloworld.Greeter.SayHello error (RESOURCE_EXHAUSTED) outcome=rejected_limit attempts=0 code=8
  - queued
  - dequeued queued_ms=150
  - limit rejected limit_reason=queue_timeout
Sent.helloworld.Greeter.SayHello error (RESOURCE_EXHAUSTED) outcome=rejected_limit attempts=0 code=8
  - limit rejected limit_reason=queue_full
`)
	})
}
