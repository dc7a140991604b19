package otlptest

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const hello = greeterpb.Greeter_SayHello_FullMethodName

var down = flakyserver.Fail(codes.Unavailable, "scripted")

// quick retries at once.
var quick = interceptors.WithPolicy(interceptors.Policy{
	Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: time.Millisecond, Jitter: jitter.None}},
})

// receiver is an OTLP receiver that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*otlp.Span
}

func (r *receiver) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, resource := range in.GetResourceSpans() {
		for _, scope := range resource.GetScopeSpans() {
			r.spans = append(r.spans, scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// receive serves OTLP over TCP, and returns a provider that exports to it.
func receive(t *testing.T) (*receiver, *sdk.TracerProvider) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r, server := &receiver{}, grpc.NewServer()
	collector.RegisterTraceServiceServer(server, r)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(lis) })
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(lis.Addr().String()), otlptracegrpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	tp := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(resource.Empty()))
	t.Cleanup(func() { _ = tp.Shutdown(context.Background()) })
	return r, tp
}

// trees shows what was received: names, kinds, statuses, and who is whose child.
func (r *receiver) trees(t *testing.T, tp *sdk.TracerProvider) string {
	t.Helper()
	if err := tp.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := map[string]bool{}
	for _, s := range r.spans {
		known[string(s.GetSpanId())] = true
	}
	slices.SortFunc(r.spans, func(a, b *otlp.Span) int { return int(a.GetStartTimeUnixNano()) - int(b.GetStartTimeUnixNano()) })
	var b strings.Builder
	var show func(parent string, depth int)
	show = func(parent string, depth int) {
		for _, s := range r.spans {
			p := string(s.GetParentSpanId())
			if p != parent && (depth > 0 || known[p]) {
				continue
			}
			kind := strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_"))
			status := strings.ToLower(strings.TrimPrefix(s.GetStatus().GetCode().String(), "STATUS_CODE_"))
			fmt.Fprintf(&b, "%s%s %s %s%s\n", strings.Repeat("  ", depth), s.GetName(), kind, status, numbered(s))
			for _, e := range s.GetEvents() {
				fmt.Fprintf(&b, "%s- %s\n", strings.Repeat("  ", depth+1), e.GetName())
			}
			show(string(s.GetSpanId()), depth+1)
		}
	}
	show("", 0)
	return b.String()
}

func numbered(s *otlp.Span) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == "previous-rpc-attempts" {
			return fmt.Sprint(" previous=", a.GetValue().GetIntValue())
		}
	}
	return ""
}

// client dials a flaky server.
func client(t *testing.T, server *flakyserver.Server, opts ...grpc.DialOption) greeterpb.GreeterClient {
	t.Helper()
	cc, err := server.Dial(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return greeterpb.NewGreeterClient(cc)
}

func newSuite(t *testing.T, opts ...interceptors.Option) *interceptors.Suite {
	t.Helper()
	s, err := interceptors.New(append(opts, quick)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func start(t *testing.T, opts ...flakyserver.Option) *flakyserver.Server {
	t.Helper()
	s, err := flakyserver.Start(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
