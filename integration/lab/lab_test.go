package lab

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	pb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const check = "/grpc.health.v1.Health/Check"

// times returns n delays of d.
func times(n int, d time.Duration) []time.Duration {
	return slices.Repeat([]time.Duration{d}, n)
}

// TestHarms: a row is worse exactly if callers fare worse.
func TestHarms(t *testing.T) {
	const ms = time.Millisecond
	good := Result{Delays: times(1000, 10*ms)}
	flaky := Result{Delays: times(900, 10*ms), Failed: 100, Duplicates: 4}
	for _, c := range []struct {
		name        string
		bare, astra Result
		harms       string // what they speak of; "": there are none
	}{
		{"equal", good, good, ""},
		{"better", flaky, good, ""},
		{"saved, but late", flaky, Result{Delays: append(times(900, 10*ms), times(100, 5*time.Second)...)}, ""},
		{"fewer succeed", good, Result{Delays: times(990, 10*ms), Failed: 10}, "failed succeeded"},
		{"one fails by chance", good, Result{Delays: times(999, 10*ms), Failed: 1}, ""},
		{"never came back", good, Result{Delays: times(900, 10*ms)}, "succeeded"},
		{"one duplicate where there was none", good, Result{Delays: good.Delays, Duplicates: 1}, "duplicates"},
		{"duplicates by chance", flaky, Result{Delays: flaky.Delays, Failed: 100, Duplicates: 8}, ""},
		{"more duplicates", flaky, Result{Delays: flaky.Delays, Failed: 100, Duplicates: 9}, "duplicates"},
		{"two in a hundred are late", good, Result{Delays: append(times(980, 10*ms), times(20, 400*ms)...)}, "within"},
		{"one in a hundred is late", good, Result{Delays: append(times(991, 10*ms), times(9, 400*ms)...)}, ""},
		{"one is very late", good, Result{Delays: append(times(999, 10*ms), time.Second)}, "within"},
	} {
		if r := (Row{Bare: c.bare, Astra: c.astra}); r.proof() != (c.name == "one duplicate where there was none") {
			t.Errorf("%s: proof %v", c.name, r.proof())
		}
		got := strings.Join(Row{Bare: c.bare, Astra: c.astra}.Harms(), "; ")
		for _, word := range strings.Fields(c.harms) {
			if !strings.Contains(got, word) {
				t.Errorf("%s: harms %q, want one that says %q", c.name, got, word)
			}
		}
		if c.harms == "" && got != "" {
			t.Errorf("%s: harms %q, want none", c.name, got)
		}
	}
}

// TestOwnRepeats: duplicates of a client that repeats by itself are up to chance.
func TestOwnRepeats(t *testing.T) {
	delays := times(1000, time.Millisecond)
	r := Row{Repeats: true, Bare: Result{Delays: delays}, Astra: Result{Delays: delays, Duplicates: 3}}
	if h := r.Harms(); len(h) > 0 || r.proof() {
		t.Errorf("three duplicates of a client that repeats: %v", h)
	}
	if r.Astra.Duplicates = 4; len(r.Harms()) == 0 || !r.proof() {
		t.Error("four are no harm")
	}
}

func TestReplaceTable(t *testing.T) {
	const page = "# Page\n<!-- table of a -->\nold\n<!-- end of table -->\n<!-- table of b -->\nkept\n<!-- end of table -->\n"
	got, err := replaceTable(page, "a", "| $1 |\n")
	want := strings.Replace(page, "old\n", "| $1 |\n", 1)
	if err != nil || got != want {
		t.Errorf("the page is\n%s\n%v, want\n%s", got, err, want)
	}
	if _, err := replaceTable(page, "c", ""); err == nil {
		t.Error("a table without a place is written somewhere")
	}
}

// TestPageHasEveryTable: each client that has tests has a table.
func TestPageHasEveryTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/no-harm.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"etcd", "Bigtable", "Pub/Sub", "OTLP trace exporter", "go-spiffe", "grpc-proxy"} {
		text, err := replaceTable(string(page), client, "")
		if err != nil {
			t.Error(err)
		}
		if lost := len(page) - len(text); lost < len(Header) {
			t.Errorf("the table of %s is empty", client)
		}
	}
}

// serve starts a server that counts its calls, and a client of a proxy before it.
func serve(t *testing.T) (p *Proxy, call func(time.Duration) error, served *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served = new(atomic.Int64)
	s := grpc.NewServer(grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		served.Add(1)
		return h(ctx, req)
	}))
	pb.RegisterHealthServer(s, health.NewServer())
	done := make(chan struct{})
	go func() { _ = s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Stop(); <-done })
	p = NewProxy(t, l.Addr().String())
	cc, err := grpc.NewClient(p.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return p, func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		_, err := pb.NewHealthClient(cc).Check(ctx, &pb.HealthCheckRequest{}, grpc.WaitForReady(true))
		return err
	}, served
}

// TestProxyCounts: the proxy counts requests by method as the server does, over
// headers that HTTP/2 compresses.
func TestProxyCounts(t *testing.T) {
	p, call, served := serve(t)
	for range 50 {
		if err := call(10 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if got := p.Requests(check); got != 50 || served.Load() != 50 {
		t.Errorf("the proxy counts %d requests and the server %d, want 50", got, served.Load())
	}
}

// TestCut: while answers are thrown away requests arrive, and their callers fail.
func TestCut(t *testing.T) {
	p, call, served := serve(t)
	if err := call(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	p.discard.Store(true) // Cut does so first
	go func() { ended <- call(10 * time.Second) }()
	if !Await(10*time.Second, func() bool { return served.Load() == 2 }) {
		t.Fatal("a request did not arrive")
	}
	p.Cut(0)
	if err := <-ended; status.Code(err) != codes.Unavailable {
		t.Errorf("the call ends with %v, want UNAVAILABLE", err)
	}
	if err := call(10 * time.Second); err != nil {
		t.Errorf("after the cut: %v", err)
	}
}

// TestRefuse: while the proxy refuses there is no connection to be had.
func TestRefuse(t *testing.T) {
	p, call, _ := serve(t)
	over := make(chan error, 1)
	go func() { over <- p.Refuse(300 * time.Millisecond) }()
	if !Await(10*time.Second, func() bool {
		c, err := net.Dial("tcp", p.Addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	}) {
		t.Error("connections are not refused")
	}
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if err := call(10 * time.Second); err != nil {
		t.Errorf("after the refusal: %v", err)
	}
}

// TestExperiment: both sides get the same calls, and what they see is recorded.
func TestExperiment(t *testing.T) {
	calls := map[string]*atomic.Int64{"bare": {}, "astra": {}}
	rows, _ := run(t, "client", "none", 300*time.Millisecond, func(t testing.TB, x *Experiment) func() {
		records := Both(x, func(s *Side) *Record { return s.Record("call", s.Proxy(t, "127.0.0.1:1"), check) })
		x.Load(100, func(s *Side, i int) {
			calls[s.Name].Add(1)
			_ = records[s].Do(func() error {
				if i%2 == 0 {
					return errors.New("even")
				}
				return nil
			})
		})
		return func() { records[x.Astra].Duplicate(3) }
	})
	if len(rows) != 1 {
		t.Fatalf("%d rows, want 1", len(rows))
	}
	r := rows[0]
	if n := int(calls["bare"].Load()); n < 2 || int(calls["astra"].Load()) != n || r.Bare.OK()+r.Bare.Failed != n || r.Astra.OK() != r.Bare.OK() || r.Astra.Duplicates != 3 {
		t.Errorf("%d calls of each side gave %+v and %+v", n, r.Bare, r.Astra)
	}
	if len(r.Harms()) == 0 {
		t.Error("three duplicates are no harm")
	}
}

// TestFailing: both sides meet the same failures, however often they try.
func TestFailing(t *testing.T) {
	first := context.Background()
	retry := metadata.NewIncomingContext(first, metadata.Pairs("grpc-previous-rpc-attempts", "1"))
	f := Failing{OneIn: 3}
	var got []codes.Code
	for _, ctx := range []context.Context{first, first, first, retry, retry, retry, first, first, first} {
		got = append(got, status.Code(f.Next(ctx)))
	}
	want := []codes.Code{0, 0, codes.Unavailable, 0, 0, 0, 0, 0, codes.Unavailable}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := (&Failing{}).Next(first); err != nil {
		t.Errorf("a server that is to fail none fails one: %v", err)
	}
}
