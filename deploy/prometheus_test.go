package deploy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start starts a program that ends with the test, and returns what it writes.
func start(t *testing.T, name string, args ...string) io.Reader {
	t.Helper()
	cmd := exec.Command(name, args...)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = out.Close()
	})
	return out
}

// greeter runs the example, and returns where its metrics are.
func greeter(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "greeter")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../examples/greeter").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := bufio.NewScanner(start(t, binary, "-pace", "2"))
	address := regexp.MustCompile(`metrics\s+http://(127\.0\.0\.1:\d+)/metrics`)
	for lines.Scan() {
		if m := address.FindStringSubmatch(lines.Text()); m != nil {
			go func() {
				for lines.Scan() { // or it would stop
				}
			}()
			return m[1]
		}
	}
	t.Fatal("the greeter does not say where its metrics are")
	return ""
}

// promServer is a running Prometheus.
type promServer struct {
	t    *testing.T
	base string
}

// startPrometheus runs one that scrapes an address each second and evaluates the
// rules.
func startPrometheus(t *testing.T, target string) *promServer {
	t.Helper()
	binary := program(t, "prometheus")
	rulesPath, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs: [{job_name: greeter, static_configs: [{targets: [%q]}]}]
`, rulesPath, target)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	log := start(t, binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	go func() { _, _ = io.Copy(io.Discard, log) }()
	return &promServer{t, "http://" + address}
}

// sample is one of a query's results.
type sample struct {
	Metric map[string]string
	Value  [2]any
}

// query asks for the samples of an expression now.
func (s *promServer) query(ctx context.Context, expr string) ([]sample, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/api/v1/query?query="+url.QueryEscape(expr), nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct{ Result []sample }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, errors.New(answer.Error)
	}
	return answer.Data.Result, nil
}

// await waits until an expression has a sample.
func (s *promServer) await(expr string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for {
		if got, err := s.query(ctx, expr); err == nil && len(got) > 0 {
			return
		} else if ctx.Err() != nil {
			s.t.Fatalf("%s: still %v, %v", expr, got, err)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
		}
	}
}

// inGrafana puts in what Grafana would.
var inGrafana = strings.NewReplacer("$__rate_interval", "20s", "$__interval", "20s", "$job", ".*", "$function", ".*", "$target", ".*")

// TestQueriesAreAnswered asks the dashboard's queries and the rules' of a real
// Prometheus that scrapes the greeter: each is understood, and answered with series
// unless what it is about is not there, or filtered away.
func TestQueriesAreAnswered(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the greeter and a Prometheus for some seconds")
	}
	program(t, "prometheus")
	prometheus := startPrometheus(t, greeter(t))
	prometheus.await(`astra_breaker_refused_total > 0`) // the outage
	prometheus.await(`count_over_time(astra_retry_calls_total[30s]) > 8`)

	there, err := prometheus.query(t.Context(), `count by (__name__) ({__name__=~"astra_.+"})`)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range there {
		names[s.Metric["__name__"]] = true
	}
	answered, asked := 0, 0
	ask := func(where, expr string) {
		asked++
		got, err := prometheus.query(t.Context(), inGrafana.Replace(expr))
		if err != nil {
			t.Errorf("%s: %s: %v", where, expr, err)
			return
		}
		if len(got) > 0 {
			answered++
			return
		}
		missing := slices.ContainsFunc(seriesName.FindAllString(expr, -1), func(name string) bool { return !names[name] })
		if !missing && !strings.Contains(expr, "> 0") {
			t.Errorf("%s: %s has no answer, though all it asks for is there", where, expr)
		}
	}
	panels, _ := dashboard(t)
	for _, p := range panels {
		for _, target := range p.Targets {
			ask("panel "+p.Title, target.Expr)
		}
	}
	for _, r := range rules(t) {
		if r.Record != "" {
			ask(r.Record, r.Expr)
		} else if _, err := prometheus.query(t.Context(), r.Expr); err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
	}
	t.Logf("%d of %d queries were answered with series, of %d metrics", answered, asked, len(names))
	if answered < asked/2 {
		t.Errorf("only %d of %d queries were answered with series", answered, asked)
	}
}
