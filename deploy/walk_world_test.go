package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/statuspage"
	"github.com/astra-grpc/astra/tracing"
)

// text is a log, and safe for concurrent use.
type text struct {
	wrote chan struct{} // somebody has; nil: nobody waits for that

	mu sync.Mutex // guards what follows
	b  bytes.Buffer
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.wrote <- struct{}{}:
	default:
	}
	return l.b.Write(p)
}

// await returns when the log has this.
func (l *text) await(t *testing.T, part string) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !strings.Contains(l.String(), part) {
		select {
		case <-l.wrote:
		case <-late:
			t.Fatalf("the log has no %s after 30 s:\n%s", part, l)
		}
	}
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// walked is a client of real servers, and what is seen of it.
type walked struct {
	t        *testing.T
	registry *prometheus.Registry
	suite    *interceptors.Suite
	handler  http.Handler
	log      text
	cc       *grpc.ClientConn
	servers  []*flakyserver.Server
	faults   func() // beside the walk's
	mended   func()
	running  sync.WaitGroup

	began time.Time // the fault

	scraping sync.Mutex // guards what follows, until it is over
	seen     series
	at       []time.Time // of scrapes

	looked        int    // how many scrapes there had been
	page, metrics string // what they showed when somebody looked
	cards         []string
	cardsAfter    []string // when it was over
}

func newWalked(t *testing.T) *walked {
	return &walked{t: t, seen: series{}}
}

func (w *walked) start(n int, serve func(...flakyserver.Option) *flakyserver.Server, opts ...interceptors.Option) {
	logger := slog.New(slog.NewJSONHandler(&w.log, nil))
	collector := metrics.New()
	w.registry = prometheus.NewPedanticRegistry()
	w.registry.MustRegister(collector)
	suite, err := interceptors.New(append(opts, interceptors.WithLogger(logger), interceptors.WithObserver(collector, tracing.NewLogger(logger)))...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.suite, w.handler = suite, statuspage.New(suite)
	var st resolver.State
	servers := map[string]*flakyserver.Server{}
	for i := range n {
		s := serve()
		address := fmt.Sprintf("10.0.0.%d:80", i+1)
		servers[address] = s
		w.servers = append(w.servers, s)
		st.Endpoints = append(st.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: address}}})
	}
	names := manual.NewBuilderWithScheme("walk")
	names.InitialState(st)
	w.cc, err = grpc.NewClient(shop, append(suite.DialOptions(), grpc.WithResolvers(names),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) { return servers[address].DialContext(ctx) }))...)
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *walked) call() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.cc.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{})
}

// calls makes five a second, with a deadline of a second each, for a while.
func (w *walked) calls(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		w.running.Go(w.call)
	}
}

func (w *walked) beginFault(f func(*walked)) {
	w.began = time.Now()
	if f != nil {
		f(w)
	}
	if w.faults != nil {
		w.faults()
	}
}

// mend ends the fault.
func (w *walked) mend() {
	for _, s := range w.servers {
		s.SetUp()
		s.Always(flakyserver.Any, flakyserver.OK())
	}
	if w.mended != nil {
		w.mended()
	}
}

func (w *walked) scrape() {
	w.scraping.Lock()
	defer w.scraping.Unlock()
	w.seen.scrape(w.t, w.registry, len(w.at))
	w.at = append(w.at, time.Now())
}

// scrapes has the registry scraped until stop is called.
func (w *walked) scrapes() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			w.scrape()
			select {
			case <-done:
				return
			case <-time.After(interval):
			}
		}
	}()
	return func() { close(done); <-ended }
}

// end closes all there is.
func (w *walked) end() {
	w.running.Wait()
	w.cardsAfter = cardOf.FindAllString(w.get(statuspage.New(w.suite), "/astra/"), -1) // another page, which has nothing kept
	if err := w.suite.Close(); err != nil {
		w.t.Error(err)
	}
	_ = w.cc.Close()
	for _, s := range w.servers {
		s.Close()
	}
}

var (
	tags   = regexp.MustCompile(`<[^>]*>`)
	spaces = regexp.MustCompile(`\s+`)
	cardOf = regexp.MustCompile(`(?s)<li class="card.*?</li>`)
)

// flat is what is to be read of HTML.
func flat(text string) string {
	text = html.UnescapeString(tags.ReplaceAllString(text, " "))
	return strings.TrimSpace(spaces.ReplaceAllString(text, " "))
}

func (w *walked) get(h http.Handler, address string) string {
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, httptest.NewRequestWithContext(context.Background(), http.MethodGet, address, nil))
	if answer.Code != http.StatusOK {
		w.t.Errorf("%s: %d %s", address, answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// look is somebody who opens the page, and asks for the metrics.
func (w *walked) look() {
	overview := w.get(w.handler, "/astra/")
	w.cards = cardOf.FindAllString(overview, -1)
	w.scraping.Lock()
	w.looked = len(w.at)
	w.scraping.Unlock()
	w.page = flat(overview) + "\n" + flat(w.get(w.handler, "/astra/method?"+url.Values{"target": {shop}, "method": {method}}.Encode()))
	w.metrics = w.get(promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}), "/metrics")
}

var (
	cardSince = regexp.MustCompile(`Since when</dt><dd>[^<]*<time datetime="([^"]+)"`)
	cardTitle = regexp.MustCompile(`(?s)<h3>(.*?)</h3>`)
)

// sinceByPage is the time that the card has whose title begins so.
func (w *walked) sinceByPage(title string) time.Time {
	w.t.Helper()
	var titles []string
	for _, c := range w.cards {
		head := flat(cardTitle.FindStringSubmatch(c)[1])
		titles = append(titles, head)
		if !strings.HasPrefix(head, title) {
			continue
		}
		m := cardSince.FindStringSubmatch(c)
		if m == nil {
			w.t.Errorf("the page's card does not say since when: %s", flat(c))
			return time.Time{}
		}
		at, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			w.t.Error(err)
		}
		return at
	}
	w.t.Errorf("the page has no card %q, but %q", title, titles)
	return time.Time{}
}

// gauge is the series whose name and first labels are these, as Prometheus shows
// them.
func (w *walked) gauge(begin string) []string {
	name, labels, _ := strings.Cut(begin, "{")
	var found []string
	for _, s := range slices.Sorted(maps.Keys(w.seen)) {
		if strings.HasPrefix(s, name+`{job="shop",instance="i"`) && strings.Contains(s, labels) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		w.t.Errorf("%s…: %d series, want one: %q", begin, len(found), found)
		return nil
	}
	return w.seen[found[0]]
}

// last is what a series was when somebody looked.
func (w *walked) last(begin string) float64 {
	values := w.gauge(begin)
	if len(values) < w.looked {
		return 0
	}
	f, err := strconv.ParseFloat(values[w.looked-1], 64)
	if err != nil {
		w.t.Error(err)
	}
	return f
}

// sinceByMetrics is the time that a gauge holds, or that of the scrape at which a
// series first was above what it was before the fault.
func (w *walked) sinceByMetrics(begin string) time.Time {
	w.t.Helper()
	if strings.Contains(begin, "_since_seconds{") {
		return time.Unix(0, int64(w.last(begin)*1e9))
	}
	before := 0.0
	for i, v := range w.gauge(begin) {
		f, err := strconv.ParseFloat(v, 64)
		switch {
		case err != nil: // not there yet
		case w.at[i].Before(w.began):
			before = f
		case f > before:
			return w.at[i]
		}
	}
	w.t.Errorf("%s… never rises", begin)
	return time.Time{}
}

// stampOf is the time that a gauge holds, as an alert's text has it.
func (w *walked) stampOf(begin string) string {
	ms := int64(w.last(begin) * 1000)
	return fmt.Sprint(time.UnixMilli(ms).UTC())
}

// sinceByLog is the time of the first record that has this.
func (w *walked) sinceByLog(part string) time.Time {
	w.t.Helper()
	for line := range strings.Lines(w.log.String()) {
		if !strings.Contains(line, part) {
			continue
		}
		var record struct{ Time time.Time }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			w.t.Error(err)
		}
		return record.Time
	}
	w.t.Errorf("the log has no %s:\n%.3000s", part, w.log.String())
	return time.Time{}
}

const onCallFile = "../docs/on-call.md"

var span = regexp.MustCompile("`([^`]+)`")

// onCall returns what docs/on-call.md quotes, by cause and source. Each cell of its
// tables must quote something.
func onCall(t *testing.T) map[string]map[string][]string {
	t.Helper()
	all := map[string]map[string][]string{}
	for _, part := range strings.Split(string(read(t, onCallFile)), "\n## ")[1:] {
		cause, body, _ := strings.Cut(part, "\n")
		sources := map[string][]string{}
		for line := range strings.Lines(body) {
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
			source := strings.ToLower(strings.Trim(cells[0], "* "))
			if !strings.HasPrefix(line, "| **") {
				continue
			}
			if len(cells) != 5 {
				t.Errorf("%s, %s, %s: %d cells, want 5", onCallFile, cause, source, len(cells))
			}
			for _, cell := range cells[1:] {
				quoted := span.FindAllStringSubmatch(cell, -1)
				if len(quoted) == 0 {
					t.Errorf("%s, %s, %s: %q quotes nothing", onCallFile, cause, source, cell)
				}
				for _, q := range quoted {
					sources[source] = append(sources[source], q[1])
				}
			}
		}
		if len(sources) > 0 {
			all[cause] = sources
		}
	}
	return all
}

// findAll looks for what is quoted, in which … stands for anything in a line.
func findAll(t *testing.T, source, text string, quoted []string) {
	t.Helper()
	if len(quoted) == 0 {
		t.Errorf("%s has nothing of this cause's %s", onCallFile, source)
	}
	for _, q := range quoted {
		parts := strings.Split(q, "…")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		if !regexp.MustCompile(strings.Join(parts, ".*")).MatchString(text) {
			t.Errorf("%s has no %s:\n%s", source, q, shorten(source, text))
		}
	}
}

// shorten leaves what a failure is worth.
func shorten(source, text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if source == "metrics" && (strings.HasPrefix(line, "#") || strings.HasSuffix(line, " 0\n")) {
			continue
		}
		if len(kept) < 60 {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// alertTexts is what the alerts that fire say, before the values are filled in.
func alertTexts(t *testing.T, fire map[string]annotated) (text string) {
	for _, r := range rules(t) {
		if _, ok := fire[r.Alert]; ok {
			text += fmt.Sprintf("%s: %s %s\n", r.Alert, r.Annotations["summary"], r.Annotations["description"])
		}
	}
	return text
}

// checkAlerts has promtool judge which alerts fire on what was scraped, and what
// they say.
func (c walk) checkAlerts(t *testing.T, w *walked) {
	program(t, "promtool")
	path, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range c.alerts {
		names = append(names, name)
	}
	made, err := scenario{want: map[int][]string{4: nil, firesBy: names, overBy: nil}}.promtoolTest(w.seen, path)
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]any
	if err := yaml.Unmarshal(made, &file); err != nil {
		t.Fatal(err)
	}
	var texts []any
	for name, a := range c.alerts {
		if a.text == nil {
			continue
		}
		texts = append(texts, map[string]any{"eval_time": fmt.Sprintf("%dm", firesBy), "alertname": name, "exp_alerts": []any{map[string]any{
			"exp_labels":      a.labels,
			"exp_annotations": map[string]string{"summary": a.summary, "description": a.text(w), "runbook": "docs/metrics-and-alerts.md#" + strings.ToLower(name)},
		}}})
	}
	file["tests"].([]any)[0].(map[string]any)["alert_rule_test"] = texts
	if made, err = yaml.Marshal(file); err != nil {
		t.Fatal(err)
	}
	test := filepath.Join(t.TempDir(), "test.yml")
	if err := os.WriteFile(test, made, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "", "promtool", "test", "rules", test)
}
