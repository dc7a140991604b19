package statuspage

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const method = "/shop.Orders/Place"

// suite returns one whose only method was called, and went as codes say.
func suite(t *testing.T, opts ...interceptors.Option) *interceptors.Suite {
	t.Helper()
	s, err := interceptors.New(append(opts, interceptors.WithLogger(quiet))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func ends(s *interceptors.Suite, name string, c codes.Code) error {
	return s.UnaryClientInterceptor()(context.Background(), name, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		return status.Error(c, "a <secret> message")
	}, interceptors.NoRetry())
}

func trip(s *interceptors.Suite) {
	for range 8 {
		_ = ends(s, method, codes.Unavailable)
	}
}

// serve mounts the page somewhere, and returns its address.
func serve(t *testing.T, s *interceptors.Suite, opts ...Option) (string, *page) {
	t.Helper()
	p := New(s, opts...).(*page)
	p.every = 10 * time.Millisecond
	mux := http.NewServeMux()
	mux.Handle("/deep/astra/", p)
	mux.Handle("/stripped/", http.StripPrefix("/stripped", p))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL + "/deep/astra/", p
}

func get(t *testing.T, address string, header ...string) (code int, body string, h http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
}

func TestOverviewSaysSinceWhenWhyAndWhatNow(t *testing.T) {
	s := suite(t)
	base, p := serve(t, s)
	code, text, h := get(t, base)
	if code != 200 || h.Get("Content-Security-Policy") != policy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("%d, %v", code, h)
	}
	wants(t, text, "All is well", "No call has been made yet", "There is none: a restart begins with closed breakers")
	trip(s)
	_ = s.Reload(nil)
	p.forget()
	_, text, _ = get(t, base)
	wants(t, text, "1 breaker is not closed", "Since when", "calls failed one after another", "It refuses calls. One is let through to try <time", "Policies could not be replaced", "option: must not be nil",
		"refused by the breaker", "Its policy makes one attempt", "1 refused", `href="method?method=%2Fshop.Orders%2FPlace&amp;target="`)
	if strings.Contains(text, "secret") {
		t.Errorf("an error's message is on the page:\n%s", text)
	}
	if _, stripped, _ := get(t, strings.Replace(base, "/deep/astra/", "/stripped/", 1)); !strings.Contains(stripped, "1 breaker is not closed") {
		t.Error("not with StripPrefix")
	}
}

// TestOverviewSaysWhetherThereWasAConnection: a target that is away is another's business
// than one that fails its calls.
func TestOverviewSaysWhetherThereWasAConnection(t *testing.T) {
	for _, away := range []bool{true, false} {
		r := rowOf(interceptors.MethodSnapshot{Method: "/a.B/C", Breaker: &interceptors.BreakerSnapshot{State: "open", Why: "consecutive", NoConnection: away}})
		if strings.Contains(r.Why, "There was no connection to the target.") != away {
			t.Errorf("away %v: %s", away, r.Why)
		}
	}
}

func TestMethodPageExplainsCallsAndPolicy(t *testing.T) {
	s := suite(t, interceptors.WithPolicySource("policy.yaml:7", interceptors.WithMethodPolicy("/shop.Orders/*", interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 9}})))
	_ = ends(s, method, codes.NotFound)
	base, _ := serve(t, s)
	code, text, _ := get(t, base+link("", method))
	if code != 200 {
		t.Fatalf("%d: %s", code, text)
	}
	wants(t, text, "NOT_FOUND is not among the codes that its policy retries", "From <code>policy.yaml:7</code>, for <code>/shop.Orders/*</code>", "maxConcurrent: 9", "It has always been closed", `aria-label="attempt 1 (first): NOT_FOUND"`)
	if strings.Contains(text, "Hold open") {
		t.Error("actions are offered to nobody's knowledge")
	}
	code, text, _ = get(t, base+link("", "/no.Such/Method"))
	if code != 404 || !strings.Contains(text, "method not found") {
		t.Errorf("%d: %s", code, text)
	}
	if code, _, _ := get(t, base+"nonsense"); code != 404 {
		t.Errorf("%d for no page", code)
	}
}

func TestFormats(t *testing.T) {
	s := suite(t)
	_ = ends(s, method, codes.NotFound)
	base, _ := serve(t, s)
	_, text, h := get(t, base, "Accept", "application/json")
	var snap interceptors.Snapshot
	if err := json.Unmarshal([]byte(text), &snap); err != nil || h.Get("Content-Type") != "application/json" || len(snap.Calls) != 1 || snap.Calls[0].Code != "NOT_FOUND" {
		t.Errorf("%v: %s", err, text)
	}
	if _, text, _ = get(t, base, "Accept", "text/html,application/json;q=0.9"); !strings.HasPrefix(text, "<!doctype html>") {
		t.Errorf("a browser gets %.40s", text)
	}
	_, text, _ = get(t, base+link("", method)+"&format=json")
	wants(t, text, `"explain": {`, `"calls": [`, `"pattern": "*"`)
	_, text, _ = get(t, base+"policies?format=yaml")
	if _, err := config.Parse([]byte("methodConfig:\n" + text)); err != nil {
		t.Errorf("the YAML is no policy file: %v\n%s", err, text)
	}
	if _, text, _ = get(t, base+"policies"); !strings.Contains(text, "Defaults are filled in") {
		t.Errorf("%s", text)
	}
	for _, name := range []string{"style.css", "page.js", "icon.svg"} {
		if code, _, h := get(t, base+name); code != 200 || h.Get("Content-Type") == "" {
			t.Errorf("%s: %d, %v", name, code, h)
		}
	}
}

// TestNamesAreText, whatever a proxy's clients have called.
func TestNamesAreText(t *testing.T) {
	s := suite(t)
	const evil = "/<script>alert(1)</script>.S/\"onload=x"
	_ = ends(s, evil, codes.Internal)
	base, _ := serve(t, s)
	_, text, _ := get(t, base)
	if strings.Contains(text, "<script>alert") {
		t.Errorf("%s", text)
	}
	if code, text, _ := get(t, base+link("", evil)); code != 200 || strings.Contains(text, "<script>alert") {
		t.Errorf("%d %s", code, text)
	}
}

func TestManyMethodsAreFoundByName(t *testing.T) {
	s := suite(t)
	for i := range 300 {
		_ = ends(s, fmt.Sprintf("/shop.S%03d/Get", i), codes.NotFound)
	}
	base, _ := serve(t, s)
	_, text, _ := get(t, base)
	wants(t, text, "200 more are not shown")
	_, text, _ = get(t, base+"?q=s299")
	wants(t, text, "shop.S299/")
	if strings.Contains(text, "shop.S298/</span><wbr>Get</a>\n    <span class=\"where\">") {
		t.Error("others are shown too")
	}
}

// events reads the live page.
func events(t *testing.T, base string) (next func() string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"live?page=", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r) //nolint:bodyclose // stop closes it
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d, %v", answer.StatusCode, answer.Header)
	}
	lines := bufio.NewReader(answer.Body)
	return func() string {
			var text strings.Builder
			for {
				l, err := lines.ReadString('\n')
				if err != nil {
					return "(end)"
				}
				if l == "\n" && strings.Contains(text.String(), "event: page") {
					return text.String()
				}
				text.WriteString(l)
			}
		}, func() {
			cancel()
			_ = answer.Body.Close()
		}
}

func TestLivePageFollowsABreaker(t *testing.T) {
	s := suite(t)
	base, p := serve(t, s, WithMaxViewers(1))
	next, stop := events(t, base)
	if text := next(); !strings.Contains(text, "All is well") {
		t.Errorf("%s", text)
	}
	trip(s)
	for text := next(); !strings.Contains(text, "1 breaker is not closed"); text = next() {
		if text == "(end)" {
			t.Fatal("it ended")
		}
	}
	if code, _, h := get(t, base+"live"); code != 503 || h.Get("Retry-After") == "" {
		t.Errorf("%d for one viewer too many", code)
	}
	stop()
	for p.viewers.Load() > 0 { // its place is another's
		runtime.Gosched()
	}
	next, stop = events(t, base)
	defer stop()
	_ = next()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for next() != "(end)" {
	}
}

var tokens = regexp.MustCompile(`name="token" value="([0-9a-f]+)"`)

func post(t *testing.T, address string, form url.Values, header ...string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

func TestActions(t *testing.T) {
	s := suite(t)
	_ = ends(s, method, codes.NotFound)
	reloads := 0
	base, _ := serve(t, s,
		WithActions(func(r *http.Request) error {
			if r.Header.Get("X-User") != "op" {
				return errors.New("you may not")
			}
			return nil
		}),
		WithReload(func(context.Context) error { reloads++; return nil }))
	if _, text, _ := get(t, base+link("", method)); strings.Contains(text, "Hold open") {
		t.Error("actions are offered to others")
	}
	_, text, _ := get(t, base+link("", method), "X-User", "op")
	wants(t, text, "Hold open", "Undo it after")
	token := tokens.FindStringSubmatch(text)
	if token == nil {
		t.Fatalf("no token in %s", text)
	}
	form := func(change ...string) url.Values {
		f := url.Values{"token": {token[1]}, "action": {"force_open"}, "target": {""}, "method": {method}, "for": {"5m"}}
		for i := 0; i < len(change); i += 2 {
			f.Set(change[i], change[i+1])
		}
		return f
	}
	for _, tc := range []struct {
		form   url.Values
		header []string
		code   int
		want   string
	}{
		{form(), nil, 403, "you may not"},
		{form(), []string{"X-User", "op", "Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{form(), []string{"X-User", "op", "Sec-Fetch-Site", "same-site"}, 403, "another site"},
		{form(), []string{"X-User", "op", "Origin", "https://evil.example"}, 403, "another origin"},
		{form(), []string{"X-User", "op", "Origin", "null"}, 403, "another origin"},
		{form("token", ""), []string{"X-User", "op"}, 403, "token"},
		{form("token", strings.Repeat("0", 64)), []string{"X-User", "op"}, 403, "token"},
		{form("for", ""), []string{"X-User", "op"}, 400, "want the time"},
		{form("for", "48h"), []string{"X-User", "op"}, 400, "out of range"},
		{form("action", "explode"), []string{"X-User", "op"}, 400, "action is unknown"},
		{form("method", "/no.Such/Method"), []string{"X-User", "op"}, 400, "is not in use"},
	} {
		if code, text := post(t, base+"steer", tc.form, tc.header...); code != tc.code || !strings.Contains(text, tc.want) {
			t.Errorf("%v %v: %d %s, want %d %s", tc.form, tc.header, code, text, tc.code, tc.want)
		}
	}
	if st := s.Snapshot().Methods[0].Breaker.State; st != "closed" {
		t.Fatalf("%s after refusals", st)
	}
	if code, _, _ := get(t, base+"steer?"+form().Encode(), "X-User", "op"); code != 405 {
		t.Errorf("%d for a GET", code)
	}
	ok := []string{"X-User", "op", "Sec-Fetch-Site", "same-origin"}
	code, text := post(t, base+"steer", form(), ok...)
	if b := s.Snapshot().Methods[0].Breaker; code != 200 || !strings.Contains(text, "held open for 5 min") || b.Forced != "open" || time.Until(b.ForcedUntil) > 5*time.Minute {
		t.Errorf("%d %+v\n%s", code, b, text)
	}
	wants(t, text, "Held open by hand")
	if code, _ = post(t, base+"steer", form("action", "release", "for", ""), ok...); code != 200 || s.Snapshot().Methods[0].Breaker.Forced != "" {
		t.Errorf("%d: not released", code)
	}
	if code, _ = post(t, base+"steer", form("action", "force_close"), ok...); code != 200 || s.Snapshot().Methods[0].Breaker.Forced != "closed" {
		t.Errorf("%d: not held closed", code)
	}
	if code, _ = post(t, base+"steer", form("action", "reload"), ok...); code != 200 || reloads != 1 {
		t.Errorf("%d, %d reloads", code, reloads)
	}
	stripped := strings.Replace(base, "/deep/astra/", "/stripped/", 1)
	for _, action := range []string{"release", "reload"} {
		if code, text = post(t, stripped+"steer", form("action", action), ok...); code != 200 {
			t.Errorf("%s under http.StripPrefix leads to %d %s", action, code, text)
		}
	}
}

// TestPageIsUTF8: whatever a program, a proxy's client or a reader calls things.
func TestPageIsUTF8(t *testing.T) {
	s := suite(t)
	_ = ends(s, "/a.B\xff/C\xc3", codes.NotFound)
	base, _ := serve(t, s, WithTitle("t\xfe"))
	for _, query := range []string{"", "?q=%ff&said=%ff", "?format=json", "?format=yaml"} {
		if code, text, _ := get(t, base+query); code != 200 || !utf8.ValidString(text) {
			t.Errorf("%q: %d, no UTF-8: %q", query, code, text)
		}
	}
}

// TestNamesEndNoEvent: a name cannot break out of the line that it is sent in.
func TestNamesEndNoEvent(t *testing.T) {
	if got, want := event("<a>/a.B/C\r\revent: x\rdata: y</a>\n<b>\n"), "event: page\ndata: <a>/a.B/C  event: x data: y</a>\ndata: <b>\n\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNoActionsWithoutAuthorisation: there is no way in by default.
func TestNoActionsWithoutAuthorisation(t *testing.T) {
	s := suite(t)
	_ = ends(s, method, codes.NotFound)
	base, p := serve(t, s, WithReload(func(context.Context) error { t.Error("reloaded"); return nil }))
	code, text := post(t, base+"steer", url.Values{"token": {p.token(time.Now())}, "action": {"force_open"}, "method": {method}, "for": {"5m"}}, "Sec-Fetch-Site", "same-origin")
	if code != 403 || !strings.Contains(text, "offers no actions") || s.Snapshot().Methods[0].Breaker.State != "closed" {
		t.Errorf("%d %s", code, text)
	}
	if code, _ = post(t, base, nil); code != 405 {
		t.Errorf("%d for a POST to a page", code)
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	for _, c := range []struct {
		call interceptors.CallSnapshot
		want string
	}{
		{interceptors.CallSnapshot{Outcome: "success_after_retry"}, "It was, and that saved it."},
		{interceptors.CallSnapshot{Outcome: "failed", Exhausted: true, Attempts: 3}, "all 3 attempts failed"},
		{interceptors.CallSnapshot{Outcome: "failed", Code: "CANCELLED"}, "Its caller had gone."},
		{interceptors.CallSnapshot{Outcome: "failed", Reason: "new_one"}, "Reason: new_one."},
		{interceptors.CallSnapshot{Outcome: "failed"}, "Its time was over."},
	} {
		if got := whyNot(c.call); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.call, got, c.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[any]string{0: "0", 999: "999", uint64(1234567): "1\u202f234\u202f567", 49.5: "49.5", 50.0: "50"} {
		if got := num(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{500 * time.Microsecond: "0.5 ms", 40 * time.Millisecond: "40 ms", 59 * time.Second: "59 s", 90 * time.Minute: "1 h", 72 * time.Hour: "3 days"} {
		if got := span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
