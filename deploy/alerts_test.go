package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
)

const (
	method   = "/shop.Cart/Add"
	interval = 15 * time.Second // from scrape to scrape
)

// series are what scrapes saw, by the name and labels of each: values as promtool
// reads them, one a scrape, "_" if it was not there.
type series map[string][]string

// scrape adds what the registry has now.
func (s series) scrape(t *testing.T, reg *prometheus.Registry, n int) {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		name, value := line[:at], strings.TrimSpace(line[at:])
		if head, labels, ok := strings.Cut(name, "{"); ok {
			name = head + `{job="shop",instance="i",` + labels
		} else {
			name += `{job="shop",instance="i"}`
		}
		for len(s[name]) < n {
			s[name] = append(s[name], "_")
		}
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		s[name] = append(s[name], strconv.FormatFloat(f, 'f', -1, 64))
	}
}

// world is a client in virtual time, whose metrics are scraped.
type world struct {
	t     *testing.T
	m     *metrics.Metrics
	suite *interceptors.Suite
	cc    *grpc.ClientConn
	n     atomic.Int64
}

// server answers a call; n counts them.
type server func(ctx context.Context, n int) error

func down(context.Context, int) error { return status.Error(codes.Unavailable, "down") }

func well(context.Context, int) error { return nil }

func hangs(ctx context.Context, _ int) error {
	<-ctx.Done()
	return status.FromContextError(ctx.Err()).Err()
}

// some fails one call of so many.
func some(every int, fails server) server {
	return func(ctx context.Context, n int) error {
		if n%every == 0 {
			return fails(ctx, n)
		}
		return nil
	}
}

// calls makes ten a second, with a deadline of a second each, for a while.
func (w *world) calls(d time.Duration, s server) {
	intercept := w.suite.UnaryClientInterceptor()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = intercept(ctx, method, nil, nil, w.cc, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
				for _, o := range opts { // as grpc-go does for a request that has left
					if p, ok := o.(grpc.PeerCallOption); ok {
						*p.PeerAddr = peer.Peer{Addr: address{}}
					}
				}
				return s(ctx, int(w.n.Add(1)))
			})
		}()
	}
}

type address struct{}

func (address) Network() string { return "test" }
func (address) String() string  { return "test" }

// backends are what an observer may ask an endpoint of a suite that balances.
type backends struct {
	observe.Source
	state atomic.Uint32 // an observe.BreakerState
}

func (*backends) Target() string                             { return "dns:///shop" }
func (*backends) Method() string                             { return method }
func (*backends) Breaker() (b observe.BreakerStatus, _ bool) { return b, false }
func (*backends) Budget() (b observe.BudgetStatus, _ bool)   { return b, false }
func (*backends) LimitState() (l observe.LimitState, _ bool) { return l, false }
func (b *backends) Backends() []observe.Backend {
	return []observe.Backend{{Address: "10.0.0.1:80", State: observe.BreakerState(b.state.Load()), Of: b}}
}

// injecting is a source of chaos.
type injecting struct{}

func (injecting) Active() bool { return true }

func (injecting) Injected(f func(pattern, kind string, n uint64)) { f(method, "latency", 1) }

// scenario is what happens, and which alerts fire at which minute.
type scenario struct {
	policy interceptors.Policy
	opts   []interceptors.Option
	chaos  metrics.ChaosSource
	drive  func(w *world)
	want   map[int][]string
	// annotations are those of single alerts, at a minute.
	annotations map[int]map[string]map[string]string
}

var asking = interceptors.Retry{MaxAttempts: 3}

var scenarios = map[string]scenario{
	"a good day": {
		policy: interceptors.Policy{Retry: asking},
		drive:  func(w *world) { w.calls(30*time.Minute, some(100, down)) },
		want:   map[int][]string{1: nil, 10: nil, 29: nil},
	},
	"a server fails": {
		policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}},
		drive: func(w *world) {
			w.calls(5*time.Minute, well)
			w.calls(10*time.Minute, down)
			w.calls(15*time.Minute, well)
		},
		want: map[int][]string{4: nil, 7: {"AstraBreakerOpen"}, 9: {"AstraBreakerOpen"}, 29: nil},
		annotations: map[int]map[string]map[string]string{7: {"AstraBreakerOpen": {
			"summary":     method + " of passthrough:///shop is cut off: 1 instance(s) have an open breaker",
			"description": "Open since 2000-01-01 00:05:00.6 +0000 UTC. Calls are refused until a probe succeeds.",
			"runbook":     "docs/metrics-and-alerts.md#astrabreakeropen",
		}}},
	},
	"a server hangs": {
		policy: interceptors.Policy{Retry: asking},
		drive: func(w *world) {
			w.calls(5*time.Minute, well)
			w.calls(10*time.Minute, hangs)
			w.calls(15*time.Minute, well)
		},
		want: map[int][]string{4: nil, 8: {"AstraBreakerOpen"}, 14: {"AstraAttemptsTimeOut", "AstraBreakerOpen"}, 29: nil},
	},
	"a server is slow": {
		policy: interceptors.Policy{Retry: asking, AttemptTimeout: 200 * time.Millisecond},
		drive:  func(w *world) { w.calls(20*time.Minute, some(10, hangs)) },
		want:   map[int][]string{2: nil, 12: {"AstraAttemptsTimeOut"}},
	},
	"a budget is empty": {
		policy: interceptors.Policy{Retry: asking, Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Burst: 10, MinPerSecond: 0.001, Ratio: 0.2}},
		drive: func(w *world) {
			w.calls(5*time.Minute, well)
			w.calls(15*time.Minute, down)
		},
		want: map[int][]string{4: nil, 12: {"AstraBudgetEmpty"}},
	},
	"retries hide a fault": {
		policy: interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Base: time.Millisecond}}, Budget: interceptors.Budget{Ratio: 1}, Breaker: interceptors.Breaker{Disabled: true}},
		drive:  func(w *world) { w.calls(25*time.Minute, some(4, down)) },
		want:   map[int][]string{5: nil, 22: {"AstraAmplification"}},
	},
	"retries do not help": {
		policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}},
		drive:  func(w *world) { w.calls(12*time.Minute, some(20, down)) },
		want:   map[int][]string{2: nil, 11: {"AstraRetriesExhausted"}},
	},
	"a breaker flaps": {
		policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}},
		drive: func(w *world) {
			for range 30 {
				w.calls(2*time.Second, down)
				w.calls(88*time.Second, well)
			}
		},
		want: map[int][]string{2: nil, 35: {"AstraBreakerFlaps"}},
	},
	"a fallback answers": {
		policy: interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}},
		opts:   []interceptors.Option{interceptors.WithFallback(method, func(context.Context, string, any, any, error) error { return nil })},
		drive: func(w *world) {
			w.calls(25*time.Minute, func(_ context.Context, n int) error {
				if n%8 == 0 {
					return status.Error(codes.Internal, "a bug")
				}
				return nil
			})
		},
		want: map[int][]string{10: nil, 20: {"AstraFallbackAnswers"}},
	},
	"a limit refuses": {
		policy: interceptors.Policy{Limit: interceptors.Limit{Rate: 8, Burst: 1}},
		drive:  func(w *world) { w.calls(12*time.Minute, well) },
		want:   map[int][]string{2: nil, 11: {"AstraLimitRefuses"}},
	},
	"a backend is ejected": {
		drive: func(w *world) {
			b := &backends{}
			w.m.Observe(observe.NewEndpoint(b))
			w.calls(2*time.Minute, well)
			b.state.Store(uint32(observe.BreakerOpen))
			w.calls(7*time.Minute, well)
			b.state.Store(uint32(observe.BreakerHalfOpen))
			w.calls(time.Minute, well)
			b.state.Store(uint32(observe.BreakerClosed))
			w.calls(4*time.Minute, well)
		},
		want: map[int][]string{5: nil, 8: {"AstraBackendEjected"}, 13: nil},
	},
	"policies are faulty": {
		drive: func(w *world) {
			w.calls(3*time.Minute, well)
			w.suite.ReloadFailed(errors.New("policy.yaml:1:1: faulty"))
			w.calls(7*time.Minute, well)
			if err := w.suite.Reload(); err != nil {
				w.t.Error(err)
			}
			w.calls(3*time.Minute, well)
		},
		want: map[int][]string{2: nil, 6: {"AstraPoliciesFaulty"}, 12: nil},
		annotations: map[int]map[string]map[string]string{6: {"AstraPoliciesFaulty": {
			"summary":     "i could not take new policies and keeps the old ones",
			"description": "It failed because of: invalid. The policies in use are those of 2000-01-01 00:00:00 +0000 UTC. Fix the file: it is read again at once.",
			"runbook":     "docs/metrics-and-alerts.md#astrapoliciesfaulty",
		}}},
	},
	"a disk is full": {
		drive: func(w *world) {
			saves := func(d time.Duration, r observe.SuiteResult) {
				for end := time.Now().Add(d); time.Now().Before(end); {
					w.m.SuiteEvent(observe.SuiteEvent{Kind: observe.StateSaved, Result: r})
					w.calls(10*time.Second, well)
				}
			}
			saves(3*time.Minute, observe.ResultSuccess)
			saves(12*time.Minute, observe.ResultFailed)
			saves(10*time.Minute, observe.ResultSuccess)
		},
		want: map[int][]string{2: nil, 14: {"AstraStateNotSaved"}, 24: nil},
	},
	"other instances are out of reach": {
		drive: func(w *world) {
			for range 90 {
				w.m.SuiteEvent(observe.SuiteEvent{Kind: observe.StateShared, Result: observe.ResultFailed})
				w.calls(10*time.Second, well)
			}
		},
		want: map[int][]string{1: nil, 12: {"AstraSharingFails"}},
	},
	"a drill was forgotten": {
		chaos: injecting{},
		drive: func(w *world) { w.calls(70*time.Minute, well) },
		want:  map[int][]string{50: nil, 65: {"AstraChaosActive"}},
	},
}

// play runs a scenario, and returns what scrapes saw of it.
func (sc scenario) play(t *testing.T) series {
	cc, err := grpc.NewClient("passthrough:///shop", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()
	seen := series{}
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New()
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(m)
		if sc.chaos != nil {
			reg.MustRegister(metrics.NewChaos(sc.chaos))
		}
		suite, err := interceptors.New(append(sc.opts, interceptors.WithPolicy(sc.policy), interceptors.WithObserver(m))...)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for n := 0; ; n++ {
				seen.scrape(t, reg, n)
				select {
				case <-done:
					return
				case <-time.After(interval):
				}
			}
		}()
		sc.drive(&world{t: t, m: m, suite: suite, cc: cc})
		close(done)
		<-ended
		time.Sleep(2 * time.Second) // the last calls end
		if err := suite.Close(); err != nil {
			t.Error(err)
		}
	})
	return seen
}

// promtoolTest is a file for promtool test rules.
func (sc scenario) promtoolTest(seen series, rulesPath string) ([]byte, error) {
	type m = map[string]any
	var inputs, exprs, alerts []m
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		inputs = append(inputs, m{"series": name, "values": strings.Join(seen[name], " ")})
	}
	for minute, names := range sc.want {
		samples := []m{}
		for _, n := range names {
			samples = append(samples, m{"labels": fmt.Sprintf("{alertname=%q}", n), "value": 1})
		}
		exprs = append(exprs, m{"expr": `count by (alertname) (ALERTS{alertstate="firing"})`, "eval_time": fmt.Sprintf("%dm", minute), "exp_samples": samples})
	}
	for minute, of := range sc.annotations {
		for name, annotations := range of {
			labels := m{"severity": "critical", "job": "shop", "function": method, "target": "passthrough:///shop"}
			if name == "AstraPoliciesFaulty" {
				labels = m{"severity": "warning", "job": "shop", "instance": "i"}
			}
			alerts = append(alerts, m{"eval_time": fmt.Sprintf("%dm", minute), "alertname": name,
				"exp_alerts": []m{{"exp_labels": labels, "exp_annotations": annotations}}})
		}
	}
	return yaml.Marshal(m{
		"rule_files": []string{rulesPath}, "evaluation_interval": "30s",
		"tests": []m{{"interval": interval.String(), "input_series": inputs, "promql_expr_test": exprs, "alert_rule_test": alerts}},
	})
}

// TestAlertsFire: on what the real collector shows of a client in trouble each alert
// fires in time, no other does, and it ends with the trouble.
func TestAlertsFire(t *testing.T) {
	program(t, "promtool")
	rulesPath, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			text, err := sc.promtoolTest(sc.play(t), rulesPath)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "test.yml")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, "", "promtool", "test", "rules", path)
		})
	}
}

// TestEveryAlertIsTested: each fires in some scenario.
func TestEveryAlertIsTested(t *testing.T) {
	fired := map[string]bool{}
	for _, sc := range scenarios {
		for _, names := range sc.want {
			for _, n := range names {
				fired[n] = true
			}
		}
	}
	for _, r := range rules(t) {
		if r.Alert != "" && !fired[r.Alert] {
			t.Errorf("no scenario has %s fire", r.Alert)
		}
	}
}

// TestPromtoolChecksMetrics: names, types and help are as Prometheus' linter wants
// them, in an exposition with all there is.
func TestPromtoolChecksMetrics(t *testing.T) {
	program(t, "promtool")
	w := httptest.NewRecorder()
	synctest.Test(t, func(t *testing.T) {
		m := metrics.New(metrics.WithDurations(metrics.Durations{}))
		reg := prometheus.NewPedanticRegistry()
		reg.MustRegister(m, metrics.NewChaos(injecting{}))
		suite, err := interceptors.New(interceptors.WithObserver(m), interceptors.WithPolicy(interceptors.Policy{
			Retry: asking, Limit: interceptors.Limit{MaxConcurrent: 3, Rate: 8, Burst: 1},
		}))
		if err != nil {
			t.Fatal(err)
		}
		m.Observe(observe.NewEndpoint(&backends{}))
		(&world{t: t, m: m, suite: suite}).calls(20*time.Second, down)
		time.Sleep(2 * time.Second)
		promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
		if n := strings.Count(w.Body.String(), "\n# TYPE "); n < 25 {
			t.Errorf("only %d families: not much of a test", n)
		}
		_ = suite.Close()
	})
	if out := run(t, w.Body.String(), "promtool", "check", "metrics"); out != "" {
		t.Errorf("promtool says\n%s", out)
	}
}
