package metrics_test

import (
	"context"
	"flag"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hello = "/helloworld.Greeter/SayHello"
	bye   = "/helloworld.Greeter/SayBye"
)

// steady retries without jitter.
var steady = interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Jitter: jitter.None}}}

// client is a suite with its observers, above a fake invoker.
type client struct {
	*interceptors.Suite
	intercept grpc.UnaryClientInterceptor
}

func newClient(t testing.TB, o observe.Observer, opts ...interceptors.Option) *client {
	t.Helper()
	s, err := interceptors.New(append(opts, interceptors.WithObserver(o))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &client{s, s.UnaryClientInterceptor()}
}

// call makes a call whose attempts end with these codes, the last one again
// and again; none: OK.
func (c *client) call(ctx context.Context, cc *grpc.ClientConn, method string, ends ...codes.Code) error {
	return c.intercept(ctx, method, nil, nil, cc, func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
		for _, o := range opts { // as grpc-go does for a request that has left
			if p, ok := o.(grpc.PeerCallOption); ok {
				p.PeerAddr.Addr = &net.TCPAddr{}
			}
		}
		if len(ends) == 0 {
			return nil
		}
		end := ends[0]
		if len(ends) > 1 {
			ends = ends[1:]
		}
		return status.Error(end, "scripted")
	})
}

// target returns a connection that is never used but for its name.
func target(t testing.TB, name string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+name, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func register(t testing.TB, cs ...prometheus.Collector) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	for _, c := range cs {
		if err := reg.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	return reg
}

// scrape returns the exposition as a scraper gets it.
func scrape(t testing.TB, g prometheus.Gatherer, accept string) string {
	t.Helper()
	r := httptest.NewRequestWithContext(context.Background(), "GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// golden compares the exposition with testdata/<name>.prom.
func golden(t *testing.T, g prometheus.Gatherer, name string) {
	t.Helper()
	file := filepath.Join("testdata", name+".prom")
	if *update {
		if err := os.WriteFile(file, []byte(scrape(t, g, "text/plain")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := testutil.GatherAndCompare(g, strings.NewReader(string(want))); err != nil {
		t.Errorf("%s (-update writes it anew): %v", file, err)
	}
}

// values returns the samples of a family by their label values, joined with
// spaces in the order of their names; a histogram's is its count.
func values(t testing.TB, g prometheus.Gatherer, family string) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != family {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			all[strings.Join(labels, " ")] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// counted leaves out what is zero.
func counted(m map[string]float64) map[string]float64 {
	maps.DeleteFunc(m, func(_ string, v float64) bool { return v == 0 })
	return m
}

func sum(m map[string]float64) (s float64) {
	for _, v := range m {
		s += v
	}
	return s
}

// tap shows the hooks that a Metrics gives its suite.
type tap struct {
	*metrics.Metrics
	hooks observe.Hooks
}

func (o *tap) Observe(e observe.Endpoint) observe.Hooks {
	o.hooks = o.Metrics.Observe(e)
	return o.hooks
}

const idle = 10 * time.Minute // after which a suite forgets a method
