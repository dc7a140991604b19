package doctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/doctest/client"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

const sayHello = greeterpb.Greeter_SayHello_FullMethodName

var failure = flakyserver.Fail(codes.Unavailable, "down")

// bubble runs f in virtual time with a server of its own.
func bubble(t *testing.T, f func(t *testing.T, s *flakyserver.Server)) {
	synctest.Test(t, func(t *testing.T) {
		s := flakyserver.StartBuffer()
		defer s.Close()
		f(t, s)
	})
}

func newSuite(t *testing.T, opts ...interceptors.Option) *interceptors.Suite {
	t.Helper()
	suite, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return suite
}

func dial(t *testing.T, s *flakyserver.Server, opts ...grpc.DialOption) greeterpb.GreeterClient {
	t.Helper()
	conn, err := s.Dial(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return greeterpb.NewGreeterClient(conn)
}

func hello(t *testing.T, greeter greeterpb.GreeterClient) (*greeterpb.HelloReply, error) {
	return greeter.SayHello(t.Context(), &greeterpb.HelloRequest{Name: "Ada"})
}

func attempts(s *flakyserver.Server) int { return int(s.Stats(sayHello).Attempts) }

func TestFirstExample(t *testing.T) {
	s, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	registerer := prometheus.DefaultRegisterer
	defer func() { prometheus.DefaultRegisterer = registerer }()
	prometheus.DefaultRegisterer = prometheus.NewRegistry()     // the example's own, or it could run only once
	s.Script(sayHello, failure.Pushback("0"), flakyserver.OK()) // at once, or the test would wait
	conn, err := client.Dial(s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := hello(t, greeterpb.NewGreeterClient(conn)); err != nil || attempts(s) != 2 {
		t.Errorf("%v after %d attempts, want success after 2", err, attempts(s))
	}
}

func TestOrderExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		s.Script(sayHello, failure, failure, flakyserver.OK())
		count := func(n *int) grpc.UnaryClientInterceptor {
			return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				*n++
				return invoke(ctx, method, req, reply, cc, opts...)
			}
		}
		var before, after int
		_, err := hello(t, dial(t, s, around(newSuite(t), count(&before), count(&after))...))
		if err != nil || before != 1 || after != 3 {
			t.Errorf("%v; before the suite %d, after it %d, want 1 and 3", err, before, after)
		}
	})
}

func TestBreakerExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		s.Always(sayHello, failure)
		greeter := dial(t, s, newSuite(t).DialOptions()...)
		for n := range 8 {
			_, err := hello(t, greeter)
			wait, refused := retryAfter(err)
			if refused != (n == 7) {
				t.Fatalf("call %d: refused is %v: %v", n, refused, err)
			}
			if refused && (wait <= 0 || wait > 1200*time.Millisecond) {
				t.Errorf("may pass after %v, want 1 s ± 20 %%", wait)
			}
		}
	})
}

func TestMethodPolicyExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		suite, err := methodPolicies()
		if err != nil {
			t.Fatal(err)
		}
		s.Always(sayHello, flakyserver.Hang())
		began := time.Now()
		if _, err := hello(t, dial(t, s, suite.DialOptions()...)); err == nil {
			t.Error("a server that hangs answered")
		}
		if took := time.Since(began); took > time.Second || attempts(s) < 2 {
			t.Errorf("%d attempts in %v, want at least 2 within a second", attempts(s), took)
		}
	})
}

func TestCallOptionExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		s.Always(sayHello, failure)
		greeter := dial(t, s, newSuite(t).DialOptions()...)
		if _, err := callOptions(t.Context(), greeter, &greeterpb.HelloRequest{}); err == nil || attempts(s) != 1+5 {
			t.Errorf("%v after %d attempts, want 1 and 5", err, attempts(s))
		}
	})
}

func TestReloadExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		s.Always(sayHello, failure)
		suite := newSuite(t)
		greeter := dial(t, s, suite.DialOptions()...)
		reload(suite, interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}})
		if _, err := hello(t, greeter); err == nil || attempts(s) != 1 {
			t.Errorf("%v after %d attempts, want 1", err, attempts(s))
		}
	})
}

func TestFallbackExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		s.Always(sayHello, failure)
		suite := newSuite(t, fromCache(map[string]string{"Ada": "Hello from the cache"}))
		reply, err := hello(t, dial(t, s, suite.DialOptions()...))
		if err != nil || reply.GetMessage() != "Hello from the cache" {
			t.Errorf("%v, %v, want the cached greeting", reply, err)
		}
	})
}

func TestObserverExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		s.Script(sayHello, failure, flakyserver.OK())
		var log bytes.Buffer
		suite := newSuite(t, interceptors.WithObserver(retryLog{slog.New(slog.NewTextHandler(&log, nil))}))
		if _, err := hello(t, dial(t, s, suite.DialOptions()...)); err != nil {
			t.Fatal(err)
		}
		_ = suite.Close() // has delivered what was queued
		if got := log.String(); strings.Count(got, "msg=retrying") != 1 || !strings.Contains(got, "method="+sayHello) {
			t.Errorf("logged %q, want one line that names the method", got)
		}
	})
}

func TestResumeExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		suite, err := resuming()
		if err != nil {
			t.Fatal(err)
		}
		s.Script(greeterpb.Greeter_SayHelloServerStream_FullMethodName, failure.AfterReplies(2), flakyserver.OK().AfterReplies(1))
		stream, err := dial(t, s, suite.DialOptions()...).SayHelloServerStream(t.Context(), &greeterpb.HelloRequest{Name: "Ann"})
		var got []string
		for err == nil {
			var reply *greeterpb.HelloReply
			if reply, err = stream.Recv(); err == nil {
				got = append(got, reply.GetMessage())
			}
		}
		if want := "[Hello Ann #1 Hello Ann #2 Hello Ann after Hello Ann #2 #1]"; fmt.Sprint(got) != want {
			t.Errorf("%v, %v; want %s", got, err, want)
		}
	})
}

func TestHedgingExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		suite, err := hedging()
		if err != nil {
			t.Fatal(err)
		}
		greeter := dial(t, s, suite.DialOptions()...)
		s.Always(sayHello, flakyserver.OK().After(10*time.Millisecond))
		for range 100 { // so that the method's own latency is known
			if _, err := hello(t, greeter); err != nil {
				t.Fatal(err)
			}
		}
		s.Script(sayHello, flakyserver.Hang(), flakyserver.OK())
		began := time.Now()
		if _, err := hello(t, greeter); err != nil || time.Since(began) > 12*time.Millisecond || attempts(s) != 102 {
			t.Errorf("%v after %v and %d attempts, want an answer by a second one after about 10 ms", err, time.Since(began), attempts(s))
		}
	})
}

func TestLimitExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		suite, err := limiting()
		if err != nil {
			t.Fatal(err)
		}
		greeter := dial(t, s, suite.DialOptions()...)
		s.Always(sayHello, flakyserver.OK().After(time.Second))
		began := time.Now()
		refused := map[time.Duration]int{}
		var mu sync.Mutex
		var calls sync.WaitGroup
		for range 125 {
			calls.Go(func() {
				if _, err := hello(t, greeter); errors.Is(err, interceptors.ErrLimited) {
					mu.Lock()
					defer mu.Unlock()
					refused[time.Since(began)]++
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if attempts(s) != 20 || refused[0] != 5 || refused[200*time.Millisecond] != 100 {
			t.Errorf("%d attempts, refused after %v; want 20, 5 at once and 100 after 200 ms", attempts(s), refused)
		}
	})
}

func TestTracingExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		spans, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
		logger := slog.Default()
		defer slog.SetDefault(logger)
		var log bytes.Buffer
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		suite, err := traced(sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)), sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)))
		if err != nil {
			t.Fatal(err)
		}
		s.Script(sayHello, failure, flakyserver.OK())
		if _, err := hello(t, dial(t, s, suite.DialOptions()...)); err != nil {
			t.Fatal(err)
		}
		_ = suite.Close()
		var histograms metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &histograms); err != nil {
			t.Fatal(err)
		}
		if got := len(spans.GetSpans()); got != 3 {
			t.Errorf("%d spans, want a call's and two attempts'", got)
		}
		if n := len(histograms.ScopeMetrics); n != 1 || len(histograms.ScopeMetrics[0].Metrics) != 2 {
			t.Errorf("recorded %v, want retries and their delay", histograms)
		}
		if got := log.String(); strings.Count(got, "call rescued") != 1 || strings.Count(got, "\n") != 1 {
			t.Errorf("logged %q, want one record", got)
		}
	})
}

func TestStateExample(t *testing.T) {
	bubble(t, func(t *testing.T, s *flakyserver.Server) {
		s.Always(sayHello, failure)
		path := filepath.Join(t.TempDir(), "state")
		for run, calls := range []int{8, 1} { // the first of the second run is refused
			suite, err := keeping(path)
			if err != nil {
				t.Fatal(err)
			}
			greeter := dial(t, s, suite.DialOptions()...)
			for n := range calls {
				if _, err := hello(t, greeter); errors.Is(err, interceptors.ErrBreakerOpen) != (n == calls-1) {
					t.Errorf("run %d, call %d: %v", run+1, n+1, err)
				}
			}
			if err := suite.Close(); err != nil {
				t.Error(err)
			}
		}
		if _, err := keeping(t.TempDir()); err == nil {
			t.Error("a directory passes for a file")
		}
	})
}
