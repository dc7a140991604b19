// Package otlp holds the rows of OpenTelemetry's trace exporter and a collector.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/trace"
	pb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/astra-grpc/astra/integration/lab"
)

const (
	client    = "OTLP trace exporter"
	exporters = 8 // of each side: when one tries again is up to chance
	export    = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m, client)) }

func TestRestart(t *testing.T) {
	compare(t, "collector away for .7 s of every 4 s", 12*time.Second, func(t testing.TB, x *lab.Experiment, cs collectors) {
		x.Every(4*time.Second, func(int) { cs.all(func(c *collector) { c.restart(t, 700*time.Millisecond) }) })
	})
}

func TestCut(t *testing.T) {
	compare(t, "connection cut every 3 s", 12*time.Second, func(_ testing.TB, x *lab.Experiment, _ collectors) {
		x.Cut(3*time.Second, 500*time.Millisecond)
	})
}

func TestUnavailable(t *testing.T) {
	compare(t, "UNAVAILABLE for 3 s of every 6 s", 12*time.Second, func(_ testing.TB, x *lab.Experiment, cs collectors) {
		x.Later = 2250 * time.Millisecond // two backoffs, before the exporter's own begins
		x.Every(6*time.Second, func(int) { cs.fail(status.Error(codes.Unavailable, "restarting"), 3*time.Second) })
	})
}

func TestExhausted(t *testing.T) {
	s, err := status.New(codes.ResourceExhausted, "too much").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "RESOURCE_EXHAUSTED with RetryInfo of 1 s for 3 s of every 6 s", 12*time.Second, func(_ testing.TB, x *lab.Experiment, cs collectors) {
		x.Later = 3500 * time.Millisecond // as above, but the first takes a second, the other up to 2.5
		x.Every(6*time.Second, func(int) { cs.fail(s.Err(), 3*time.Second) })
	})
}

// compare exports spans, a batch every 200 ms, under a fault. How long a span took
// is the time from its end to the collector.
func compare(t *testing.T, fault string, d time.Duration, begin func(testing.TB, *lab.Experiment, collectors)) {
	t.Helper()
	t.Parallel()
	lab.Compare(t, client, fault, d, func(t testing.TB, x *lab.Experiment) func() {
		cs := lab.Both(x, func(s *lab.Side) *collector { return newCollector(t, s) })
		begin(t, x, cs)
		x.Load(100, func(s *lab.Side, i int) { cs[s].span(i) })
		return func() {
			collectors(cs).all(func(c *collector) { c.finish(t) })
		}
	})
}

type collectors map[*lab.Side]*collector

func (cs collectors) all(f func(*collector)) {
	var wg sync.WaitGroup
	for _, c := range cs {
		wg.Go(func() { f(c) })
	}
	wg.Wait()
}

// fail makes exports fail for d.
func (cs collectors) fail(err error, d time.Duration) {
	set := func(err error) {
		cs.all(func(c *collector) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.err = err
		})
	}
	set(err)
	<-time.After(d)
	set(nil)
}

// collector is a server, and the client that exports to it.
type collector struct {
	pb.UnimplementedTraceServiceServer
	addr      string
	server    *grpc.Server
	providers []*trace.TracerProvider
	record    *lab.Record

	mu       sync.Mutex
	err      error // of exports
	ended    map[string]time.Time
	received map[string]int
}

func newCollector(t testing.TB, s *lab.Side) *collector {
	t.Helper()
	c := &collector{ended: map[string]time.Time{}, received: map[string]int{}, addr: "127.0.0.1:0"}
	c.serve(t)
	t.Cleanup(func() { c.server.Stop() })
	p := s.Proxy(t, c.addr)
	c.record = s.Record(fmt.Sprintf("Export: spans of %d exporters", exporters), p, export).Repeats()
	for range exporters {
		exporter, err := otlptracegrpc.New(t.Context(), otlptracegrpc.WithEndpoint(p.Addr), otlptracegrpc.WithInsecure(), otlptracegrpc.WithDialOption(s.DialOptions()...))
		if err != nil {
			t.Fatal(err)
		}
		c.providers = append(c.providers, trace.NewTracerProvider(trace.WithBatcher(exporter, trace.WithBatchTimeout(200*time.Millisecond))))
	}
	return c
}

func (c *collector) serve(t testing.TB) {
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		t.Error(err)
		return
	}
	c.addr = l.Addr().String()
	c.server = grpc.NewServer()
	pb.RegisterTraceServiceServer(c.server, c)
	go func(s *grpc.Server) { _ = s.Serve(l) }(c.server)
}

// restart ends the server, and starts another at its address after a while.
func (c *collector) restart(t testing.TB, away time.Duration) {
	c.server.Stop()
	<-time.After(away)
	c.serve(t)
}

// Export implements the service.
func (c *collector) Export(_ context.Context, req *pb.ExportTraceServiceRequest) (*pb.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	now, again := time.Now(), false
	for _, r := range req.ResourceSpans {
		for _, scope := range r.ScopeSpans {
			for _, span := range scope.Spans {
				if c.received[span.Name]++; c.received[span.Name] == 1 {
					c.record.Add(now.Sub(c.ended[span.Name]), nil)
				} else {
					again = true
				}
			}
		}
	}
	if again { // one batch is one duplicate, however many spans it has
		c.record.Duplicate(1)
	}
	return &pb.ExportTraceServiceResponse{}, nil
}

func (c *collector) span(i int) {
	name := fmt.Sprint("span ", i)
	_, span := c.providers[i%exporters].Tracer("load").Start(context.Background(), name)
	span.SetAttributes(attribute.String("padding", strings.Repeat("x", 100)))
	c.mu.Lock()
	c.ended[name] = time.Now()
	c.mu.Unlock()
	span.End()
}

// finish exports what is left, and counts.
func (c *collector) finish(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for _, p := range c.providers {
		wg.Go(func() {
			if err := p.Shutdown(ctx); err != nil {
				t.Logf("shutdown: %v", err)
			}
		})
	}
	wg.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.ended {
		if c.received[name] == 0 {
			c.record.Add(0, errors.New("never came"))
		}
	}
}
