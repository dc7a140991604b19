package tracing_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/observe"
	"github.com/astra-grpc/astra/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hello       = greeterpb.Greeter_SayHello_FullMethodName
	helloServer = greeterpb.Greeter_SayHelloServerStream_FullMethodName
	helloClient = greeterpb.Greeter_SayHelloClientStream_FullMethodName
	helloBidi   = greeterpb.Greeter_SayHelloBidi_FullMethodName
)

// steady retries without jitter.
var steady = interceptors.Retry{Backoff: jitter.Backoff{Jitter: jitter.None}}

var down = flakyserver.Fail(codes.Unavailable, "scripted")

// recorder is a provider whose spans can be read.
type recorder struct {
	*sdk.TracerProvider
	*tracetest.InMemoryExporter
}

func record(opts ...sdk.TracerProviderOption) recorder {
	e := tracetest.NewInMemoryExporter()
	return recorder{sdk.NewTracerProvider(append(opts, sdk.WithSyncer(e))...), e}
}

// world is a client of a flaky server, traced.
type world struct {
	*flakyserver.Server
	greeterpb.GreeterClient
	cc    *grpc.ClientConn
	suite *interceptors.Suite
	spans recorder
}

type setting struct {
	policy   interceptors.Policy
	suite    []interceptors.Option
	tracing  []tracing.Option
	dial     []grpc.DialOption
	observer observe.Observer // instead of one
}

// bubble runs f in virtual time.
func bubble(t *testing.T, set setting, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		spans := record()
		observer := set.observer
		if observer == nil {
			observer = tracing.New(spans, set.tracing...)
		}
		if set.policy.Retry.Backoff == (jitter.Backoff{}) {
			set.policy.Retry.Backoff = steady.Backoff
		}
		suite, err := interceptors.New(append(set.suite,
			interceptors.WithObserver(observer), interceptors.WithPolicy(set.policy))...)
		if err != nil {
			t.Fatal(err)
		}
		server := flakyserver.StartBuffer()
		cc, err := server.Dial(append(suite.DialOptions(), set.dial...)...)
		if err != nil {
			t.Fatal(err)
		}
		f(t, &world{server, greeterpb.NewGreeterClient(cc), cc, suite, spans})
		_ = cc.Close()
		server.Close()
		_ = suite.Close()
	})
}

func (w *world) hello(ctx context.Context) error {
	_, err := w.SayHello(ctx, &greeterpb.HelloRequest{Name: "Ann"})
	return err
}

// wantTrees compares the spans that have ended with a text, then forgets them.
func (r recorder) wantTrees(t *testing.T, want string) {
	t.Helper()
	if got := r.trees(t); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	r.Reset()
}

// trees shows the spans that have ended: each with its status and attributes,
// its events, and beneath it its children.
func (r recorder) trees(t *testing.T) string {
	t.Helper()
	all := r.GetSpans()
	known := map[trace.SpanID]bool{}
	for _, s := range all {
		id := s.SpanContext.SpanID()
		if known[id] {
			t.Errorf("span %s has ended twice", s.Name)
		}
		known[id] = true
	}
	slices.SortStableFunc(all, func(a, b tracetest.SpanStub) int {
		return cmp.Or(a.StartTime.Compare(b.StartTime), cmp.Compare(previous(a), previous(b)))
	})
	var b strings.Builder
	shown := 0
	var show func(parent trace.SpanID, depth int)
	show = func(parent trace.SpanID, depth int) {
		for _, s := range all {
			p := s.Parent.SpanID()
			if p != parent && (depth > 0 || known[p]) {
				continue
			}
			shown++
			fmt.Fprintf(&b, "%s%s%s\n", strings.Repeat("  ", depth), s.Name, telling(s))
			for _, e := range s.Events {
				fmt.Fprintf(&b, "%s- %s%s\n", strings.Repeat("  ", depth+1), e.Name, list(e.Attributes))
			}
			show(s.SpanContext.SpanID(), depth+1)
		}
	}
	show(trace.SpanID{}, 0)
	if shown != len(all) {
		t.Errorf("%d of %d spans hang together", shown, len(all))
	}
	return b.String()
}

func previous(s tracetest.SpanStub) int64 {
	for _, a := range s.Attributes {
		if a.Key == "previous-rpc-attempts" {
			return a.Value.AsInt64()
		}
	}
	return -1
}

func telling(s tracetest.SpanStub) string {
	text := map[otelcodes.Code]string{otelcodes.Unset: " unset", otelcodes.Ok: " ok", otelcodes.Error: " error"}[s.Status.Code]
	if s.Status.Description != "" {
		text += " (" + s.Status.Description + ")"
	}
	return text + list(s.Attributes)
}

// list leaves out what is the same for all spans; TestSpan looks at that.
func list(attributes []attribute.KeyValue) string {
	var b strings.Builder
	for _, a := range attributes {
		if a.Key == "rpc.grpc.status_code" {
			fmt.Fprintf(&b, " code=%d", a.Value.AsInt64())
		} else if !strings.HasPrefix(string(a.Key), "rpc.") && a.Key != "transparent-retry" && a.Key != "grpc.target" {
			fmt.Fprintf(&b, " %s=%v", strings.TrimPrefix(string(a.Key), "astra."), a.Value.String())
		}
	}
	return b.String()
}
