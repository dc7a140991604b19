package tracing_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/tracing"
)

// only samples the spans of that name.
type only string

func (o only) Description() string { return "only " + string(o) }

func (o only) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if p.Name == string(o) {
		return sdk.SamplingResult{Decision: sdk.RecordAndSample}
	}
	return sdk.SamplingResult{Decision: sdk.Drop}
}

// within notes the span that each attempt runs in.
func within(spans *[]trace.Span) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		*spans = append(*spans, trace.SpanFromContext(ctx))
		return invoke(ctx, method, req, reply, cc, opts...)
	})
}

// TestUnsampled: a call whose span does not record has no attempts' spans, but
// what is beneath receives its trace.
func TestUnsampled(t *testing.T) {
	var in []trace.Span
	spans := record(sdk.WithSampler(sdk.NeverSample()))
	bubble(t, setting{observer: tracing.New(spans), dial: []grpc.DialOption{within(&in)}}, func(t *testing.T, w *world) {
		w.Script(hello, down)
		if err := w.hello(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(spans.GetSpans()); n != 0 {
			t.Errorf("%d spans were exported", n)
		}
		if len(in) != 2 || !in[0].SpanContext().Equal(in[1].SpanContext()) || !in[0].SpanContext().IsValid() || in[0].SpanContext().IsSampled() {
			t.Errorf("attempts ran in %v, want both in one that is not sampled", in)
		}
	})
}

// TestUnsampledWantsNoMore: it would receive events for nothing, unless the
// server must receive the trace.
func TestUnsampledWantsNoMore(t *testing.T) {
	never := record(sdk.WithSampler(sdk.NeverSample()))
	for _, tc := range []struct {
		observer observe.Observer
		more     bool
	}{
		{tracing.New(never), false},
		{tracing.New(never, tracing.WithPropagator(propagation.TraceContext{})), true},
		{tracing.New(record()), true},
	} {
		if _, more := hooksOf(tc.observer).Start(t.Context(), observe.Event{Kind: observe.CallStart}); more != tc.more {
			t.Errorf("wants more: %v, want %v", more, tc.more)
		}
	}
}

// TestNoProvider: without one, and with one that does nothing, calls work.
func TestNoProvider(t *testing.T) {
	for _, tp := range []trace.TracerProvider{nil, noop.NewTracerProvider()} {
		bubble(t, setting{observer: tracing.New(tp, nil)}, func(t *testing.T, w *world) {
			w.Script(hello, down)
			if err := w.hello(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestCallWithinACall: a call that an interceptor beneath makes with the
// attempt's context, of the same suite, hangs beneath that attempt; if it is
// not sampled, the outer spans are left alone.
func TestCallWithinACall(t *testing.T) {
	const inner = "/helloworld.Greeter/Inner"
	for _, tc := range []struct {
		name    string
		sampler sdk.Sampler
		opts    []tracing.Option
		want    string
	}{
		{name: "sampled", sampler: sdk.AlwaysSample(), want: `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
    Sent.helloworld.Greeter.Inner error (UNAVAILABLE) outcome=failed attempts=3 code=14
      - backoff attempt=1 backoff_ms=500 code=14
      - backoff attempt=2 backoff_ms=1000 code=14
      Attempt.helloworld.Greeter.Inner error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
      Attempt.helloworld.Greeter.Inner error (UNAVAILABLE) previous-rpc-attempts=1 attempt_kind=retry code=14
      Attempt.helloworld.Greeter.Inner error (UNAVAILABLE) previous-rpc-attempts=2 attempt_kind=retry code=14
`},
		{name: "inner not sampled", sampler: except{"Sent.helloworld.Greeter.Inner"}, want: `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
`},
		{name: "inner not sampled, propagated", sampler: except{"Sent.helloworld.Greeter.Inner"},
			opts: []tracing.Option{tracing.WithPropagator(propagation.TraceContext{})}, want: `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			spans := record(sdk.WithSampler(tc.sampler))
			nest := grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if method == hello {
					_ = cc.Invoke(ctx, inner, req, reply)
				}
				return invoke(ctx, method, req, reply, cc, opts...)
			})
			bubble(t, setting{observer: tracing.New(spans, tc.opts...), dial: []grpc.DialOption{nest}}, func(t *testing.T, w *world) {
				w.Always(inner, down)
				if err := w.hello(t.Context()); err != nil {
					t.Fatal(err)
				}
				spans.wantTrees(t, tc.want)
			})
		})
	}
}

// except samples all spans but those of that name, whatever their parents.
type except struct{ name string }

func (e except) Description() string { return "all but " + e.name }

func (e except) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if p.Name == e.name {
		return sdk.SamplingResult{Decision: sdk.Drop}
	}
	return sdk.SamplingResult{Decision: sdk.RecordAndSample}
}

// TestSeveralObservers: observers of different providers do not take each
// other's spans for their own, in whatever order.
func TestSeveralObservers(t *testing.T) {
	always := sdk.WithSampler(sdk.AlwaysSample()) // not asking the parent
	a, never, b := record(always), record(sdk.WithSampler(sdk.NeverSample())), record(always)
	observers := []observe.Observer{tracing.New(a), tracing.New(never), tracing.New(b)}
	for _, order := range [][]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}} {
		var o []observe.Observer
		for _, i := range order[1:] {
			o = append(o, observers[i])
		}
		bubble(t, setting{observer: observers[order[0]], suite: []interceptors.Option{interceptors.WithObserver(o...)}}, func(t *testing.T, w *world) {
			w.Script(hello, down)
			if err := w.hello(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, r := range []recorder{a, b} {
				r.wantTrees(t, `
Sent.helloworld.Greeter.SayHello ok outcome=success_after_retry attempts=2 code=0
  - backoff attempt=1 backoff_ms=500 code=14
  Attempt.helloworld.Greeter.SayHello error (UNAVAILABLE) previous-rpc-attempts=0 attempt_kind=first code=14
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=1 attempt_kind=retry code=0
`)
			}
			if n := len(never.GetSpans()); n != 0 {
				t.Errorf("order %v: %d spans of the one that samples none", order, n)
			}
		})
	}
}

// TestOneObserverOfSeveralSuites: a suite above another, with one observer.
func TestOneObserverOfSeveralSuites(t *testing.T) {
	spans := record()
	o := tracing.New(spans)
	outer, err := interceptors.New(interceptors.WithObserver(o))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := flakyserver.StartBuffer()
		defer s.Close()
		inner, err := interceptors.New(interceptors.WithObserver(o), interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}}))
		if err != nil {
			t.Fatal(err)
		}
		cc, err := s.Dial(append(outer.DialOptions(), inner.DialOptions()...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cc.Close() }()
		s.Script(hello, flakyserver.OK())
		if err := cc.Invoke(t.Context(), hello, ann(), ann()); err != nil {
			t.Fatal(err)
		}
		spans.wantTrees(t, `
Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
  Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
    Sent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0
      Attempt.helloworld.Greeter.SayHello ok previous-rpc-attempts=0 attempt_kind=first code=0
`)
	})
}

// TestPropagator: each attempt sends its own span to the server, sampled or
// not, in place of what the caller's metadata say, which stay as they are.
func TestPropagator(t *testing.T) {
	both := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	for name, sampler := range map[string]sdk.Sampler{"sampled": sdk.AlwaysSample(), "not sampled": sdk.NeverSample()} {
		t.Run(name, func(t *testing.T) {
			var in []trace.Span
			spans := record(sdk.WithSampler(sampler))
			bubble(t, setting{observer: tracing.New(spans, tracing.WithPropagator(both)), dial: []grpc.DialOption{within(&in)}}, func(t *testing.T, w *world) {
				member, err := baggage.NewMember("tenant", "blue")
				if err != nil {
					t.Fatal(err)
				}
				bag, err := baggage.New(member)
				if err != nil {
					t.Fatal(err)
				}
				theirs := metadata.Pairs("traceparent", "stale", "x-other", "kept")
				ctx := baggage.ContextWithBaggage(metadata.NewOutgoingContext(t.Context(), theirs), bag)
				w.Script(hello, down)
				if err := w.hello(ctx); err != nil {
					t.Fatal(err)
				}
				seen := w.Attempts(hello)
				if len(seen) != 2 || len(in) != 2 {
					t.Fatalf("%d attempts, %d spans", len(seen), len(in))
				}
				for i, a := range seen {
					sc := in[i].SpanContext()
					flags := map[bool]string{true: "01", false: "00"}[sc.IsSampled()]
					want := "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + flags
					if got := strings.Join(a.Metadata["traceparent"], "|"); got != want || sc.IsSampled() != (name == "sampled") {
						t.Errorf("attempt %d: traceparent %q, want %q", i+1, got, want)
					}
					if got := a.Metadata["baggage"]; len(got) != 1 || got[0] != "tenant=blue" {
						t.Errorf("attempt %d: baggage %q", i+1, got)
					}
					if got := a.Metadata["x-other"]; len(got) != 1 || got[0] != "kept" {
						t.Errorf("attempt %d: other metadata %q", i+1, got)
					}
					if a.Previous != i {
						t.Errorf("attempt %d: grpc-previous-rpc-attempts %d", i+1, a.Previous)
					}
				}
				if theirs["traceparent"][0] != "stale" {
					t.Error("the caller's own metadata were changed")
				}
				for _, s := range spans.GetSpans() {
					kind := trace.SpanKindInternal
					if strings.HasPrefix(s.Name, "Attempt.") {
						kind = trace.SpanKindClient
					}
					if s.SpanKind != kind {
						t.Errorf("%s is %v, want %v", s.Name, s.SpanKind, kind)
					}
				}
			})
		})
	}
}

// TestAttemptsNotSampled: a sampler may leave out attempts.
func TestAttemptsNotSampled(t *testing.T) {
	spans := record(sdk.WithSampler(only("Sent.helloworld.Greeter.SayHello")))
	bubble(t, setting{observer: tracing.New(spans)}, func(t *testing.T, w *world) {
		if err := w.hello(t.Context()); err != nil {
			t.Fatal(err)
		}
		spans.wantTrees(t, "\nSent.helloworld.Greeter.SayHello ok outcome=success_first attempts=1 code=0\n")
	})
}
