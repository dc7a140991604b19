package statuspage

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/astra-grpc/astra/interceptors"
)

const farm = "farm:///orders"

// balanced returns a suite that knows two backends of the farm, to neither of which
// there is a connection.
func balanced(t *testing.T, e interceptors.Eject) *interceptors.Suite {
	t.Helper()
	s := suite(t, interceptors.WithBalancing(interceptors.Balancing{Eject: e}))
	names := manual.NewBuilderWithScheme("farm")
	var endpoints []resolver.Endpoint
	for _, addr := range []string{"127.0.0.1:1", "127.0.0.1:2"} {
		endpoints = append(endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	names.InitialState(resolver.State{Endpoints: endpoints})
	cc, err := grpc.NewClient(farm, append(s.DialOptions(), grpc.WithResolvers(names), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	cc.Connect()
	for len(s.Snapshot().Backends) < 2 {
		runtime.Gosched()
	}
	return s
}

func first(s *interceptors.Suite) interceptors.BackendSnapshot { return s.Snapshot().Backends[0] }

func operator(r *http.Request) error {
	if r.Header.Get("X-User") != "op" {
		return errors.New("you may not")
	}
	return nil
}

func TestBackendActions(t *testing.T) {
	s := balanced(t, interceptors.Eject{})
	base, _ := serve(t, s, WithActions(operator))
	at := base + backendLink(farm, "127.0.0.1:1")
	_, text, _ := get(t, at)
	wants(t, text, "It has always been in.", "It gets its share of the calls.", "no connection")
	if strings.Contains(text, "Drain") {
		t.Error("actions are offered to others")
	}
	_, text, _ = get(t, at, "X-User", "op")
	wants(t, text, ">Drain</button>", ">Return, judge it anew</button>", "Undo it after")
	token := tokens.FindStringSubmatch(text)
	if token == nil {
		t.Fatalf("no token in %s", text)
	}
	form := func(change ...string) url.Values {
		f := url.Values{"token": {token[1]}, "action": {"drain"}, "target": {farm}, "backend": {"127.0.0.1:1"}, "for": {"5m"}}
		for i := 0; i < len(change); i += 2 {
			f.Set(change[i], change[i+1])
		}
		return f
	}
	op := []string{"X-User", "op", "Sec-Fetch-Site", "same-origin"}
	for _, tc := range []struct {
		form   url.Values
		header []string
		code   int
		want   string
	}{
		{form(), nil, 403, "you may not"},
		{form("action", "return"), nil, 403, "you may not"},
		{form(), []string{"X-User", "op", "Sec-Fetch-Site", "cross-site"}, 403, "another site"},
		{form(), []string{"X-User", "op", "Origin", "https://evil.example"}, 403, "another origin"},
		{form("token", ""), op, 403, "token"},
		{form("token", strings.Repeat("0", 64)), op, 403, "token"},
		{form("for", ""), op, 400, "want the time"},
		{form("for", "48h"), op, 400, "out of range"},
		{form("for", "-1m"), op, 400, "out of range"},
		{form("backend", "127.0.0.1:9"), op, 400, "is not known"},
		{form("target", "farm:///other"), op, 400, "is not known"},
		{form("action", "return", "backend", ""), op, 400, "is not known"},
	} {
		if code, text := post(t, base+"steer", tc.form, tc.header...); code != tc.code || !strings.Contains(text, tc.want) {
			t.Errorf("%v %v: %d %s, want %d %s", tc.form, tc.header, code, text, tc.code, tc.want)
		}
	}
	if b := first(s); b.State != "in" {
		t.Fatalf("%+v after refusals", b)
	}
	code, text := post(t, base+"steer", form(), op...)
	if b := first(s); code != 200 || b.Forced != "out" || time.Until(b.ForcedUntil) > 5*time.Minute || b.Address != "127.0.0.1:1" {
		t.Errorf("%d %+v", code, b)
	}
	// There is no connection to the other: it would be used.
	wants(t, text, "The backend is drained for 5 min", "Drained by hand, but no other is in", "somebody did it by hand", ">Drain</button>")
	_, text, _ = get(t, base)
	wants(t, text, "Backend drained", "drain 127.0.0.1:1 on "+farm+" for 5m0s", `href="backend?backend=127.0.0.1%3A1&amp;target=farm%3A%2F%2F%2Forders"`, "by hand")
	code, text = post(t, base+"steer", form("action", "return", "for", ""), op...)
	if b := first(s); code != 200 || b.State != "in" || b.Forced != "" {
		t.Errorf("%d: not returned: %+v", code, b)
	}
	wants(t, text, "The backend is back", "It gets its share of the calls.")
}

func TestNoBackendActionsWithoutAuthorisation(t *testing.T) {
	s := balanced(t, interceptors.Eject{})
	base, p := serve(t, s)
	code, text := post(t, base+"steer", url.Values{"token": {p.token(time.Now())}, "action": {"drain"}, "target": {farm}, "backend": {"127.0.0.1:1"}, "for": {"5m"}}, "Sec-Fetch-Site", "same-origin")
	if code != 403 || !strings.Contains(text, "offers no actions") || first(s).State != "in" {
		t.Errorf("%d %s", code, text)
	}
}

func TestBackendPages(t *testing.T) {
	s := balanced(t, interceptors.Eject{Mode: interceptors.ModeObserve})
	base, _ := serve(t, s)
	_, text, _ := get(t, base+backendLink(farm, "127.0.0.1:2")+"&format=json")
	var b interceptors.BackendSnapshot
	if err := json.Unmarshal([]byte(text), &b); err != nil || b.Address != "127.0.0.1:2" || b.Mode != "observe" {
		t.Errorf("%v: %s", err, text)
	}
	_, text, _ = get(t, base+backendLink(farm, "127.0.0.1:2"))
	wants(t, text, "observes only", `data-live="live?backend=127.0.0.1%3A2&amp;method=&amp;page=backend`)
	for _, address := range []string{backendLink(farm, "127.0.0.1:9"), backendLink("farm:///x", "127.0.0.1:2"), "backend"} {
		if code, text, _ := get(t, base+address); code != 404 || !strings.Contains(text, "backend not found") {
			t.Errorf("%s: %d %s", address, code, text)
		}
	}
}

// TestBackendsSayWhatIsNext, in each of their states.
func TestBackendsSayWhatIsNext(t *testing.T) {
	soon := time.Now().Add(time.Minute)
	for _, tc := range []struct {
		b                 interceptors.BackendSnapshot
		tone, words, want string
		until             bool
	}{
		{interceptors.BackendSnapshot{State: "in", Believed: true, Mode: "enforce"}, "ok", "in", "It gets its share", false},
		{interceptors.BackendSnapshot{State: "in", Believed: true, Mode: "observe"}, "ok", "in", "It gets its share", false},
		{interceptors.BackendSnapshot{State: "out", Believed: true, Mode: "enforce", NextProbe: soon}, "bad", "out", "Others get its calls. It is tried", true},
		{interceptors.BackendSnapshot{State: "out", Mode: "enforce", NextProbe: soon}, "bad", "out", "none is believed to be", false},
		{interceptors.BackendSnapshot{State: "out", Believed: true, Mode: "observe", NextProbe: soon}, "warn", "out", "only observe", false},
		{interceptors.BackendSnapshot{State: "on_trial", Believed: true, Mode: "enforce"}, "warn", "on trial", "It is being tried", false},
		{interceptors.BackendSnapshot{State: "out", Believed: true, Mode: "enforce", NextProbe: soon, Forced: "out", ForcedUntil: soon}, "warn", "drained", "no new attempts", true},
		{interceptors.BackendSnapshot{State: "out", Mode: "enforce", NextProbe: soon, Forced: "out", ForcedUntil: soon}, "warn", "drained", "no other is in", true},
	} {
		v := &view{}
		v.Snap.Backends = []interceptors.BackendSnapshot{tc.b}
		v.backends()
		if r := v.Backends[0]; r.Tone != tc.tone || r.Words != tc.words || !strings.Contains(r.Now, tc.want) || r.Until.IsZero() == tc.until {
			t.Errorf("%+v: %s, %s, %q, %v", tc.b, r.Tone, r.Words, r.Now, r.Until)
		}
	}
}
