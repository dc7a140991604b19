package interceptors_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
)

// TestMisspeltMethods: what is given for a method that its service has not is
// warned of once, at New or the Reload that brings it; what may well exist is not.
func TestMisspeltMethods(t *testing.T) {
	if err := describeStore(); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	wantLogged := func(when string, methods ...string) {
		t.Helper()
		lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
		if len(log.String()) == 0 {
			lines = nil
		}
		log.Reset()
		if len(lines) != len(methods) {
			t.Fatalf("%s: %d lines, want %d:\n%s", when, len(lines), len(methods), strings.Join(lines, "\n"))
		}
		for i, m := range methods {
			if !strings.Contains(lines[i], "level=WARN") || !strings.Contains(lines[i], m) || !strings.Contains(lines[i], `has="[Get Put Edit]"`) {
				t.Errorf("%s: line %d does not warn of %s, or not of what there is: %s", when, i, m, lines[i])
			}
		}
	}
	policy := func(pattern string) interceptors.Option {
		return interceptors.WithMethodPolicy(pattern, interceptors.Policy{})
	}
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, warnings))),
		policy("/astra.test.Store/Got"), policy("/astra.test.Store/get"),
		policy(pureGet), policy(sideEdit), policy(unknown), policy("/astra.test.Store/*"), policy("/astra.test/Store"), policy("/a/b"),
		interceptors.WithPolicy(interceptors.Policy{}),
		interceptors.WithFallback("/astra.test.Store/Gut", func(context.Context, string, any, any, error) error { return nil }),
		interceptors.WithResume("/astra.test.Store/Pat", func(context.Context, any, any) (any, bool) { return nil, false }))
	wantLogged("New", "what=policy method=/astra.test.Store/Got", "what=policy method=/astra.test.Store/get",
		"what=fallback method=/astra.test.Store/Gut", "what=resume method=/astra.test.Store/Pat")

	reload := func(patterns ...string) {
		t.Helper()
		var opts []interceptors.Option
		for _, p := range patterns {
			opts = append(opts, policy(p))
		}
		if err := s.Reload(opts...); err != nil {
			t.Fatal(err)
		}
	}
	reload("/astra.test.Store/Got", "/astra.test.Store/Pit", purePut)
	wantLogged("a reload with one more", "/astra.test.Store/Pit")
	reload("/astra.test.Store/Got", "/astra.test.Store/Pit")
	wantLogged("the same again")
	reload(pureGet)
	wantLogged("no typo left")
	reload("/astra.test.Store/Got")
	wantLogged("one that comes back", "/astra.test.Store/Got")
	if err := s.Reload(policy("/astra.test.Store/Pot"), nil); err == nil {
		t.Fatal("want a fault")
	}
	wantLogged("a reload that fails")
}

// TestMisspeltMethodsLoggerCallsBack: the logger may use the suite.
func TestMisspeltMethodsLoggerCallsBack(t *testing.T) {
	if err := describeStore(); err != nil {
		t.Fatal(err)
	}
	h := &callingHandler{}
	h.call = func() {}
	s := newSuite(t, interceptors.WithLogger(slog.New(h)))
	h.call = func() {
		_ = s.UnaryClientInterceptor()(t.Context(), "/a.B/C", nil, nil, nil,
			func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { return nil })
		s.Revision()
	}
	if err := s.Reload(interceptors.WithMethodPolicy("/astra.test.Store/Got", interceptors.Policy{})); err != nil {
		t.Fatal(err)
	}
	if h.n != 2 {
		t.Errorf("%d records logged, want one of the reload and one of the method", h.n)
	}
}
