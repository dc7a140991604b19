package interceptors_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// to returns a connection that never connects.
func to(t testing.TB, target string) *grpc.ClientConn {
	t.Helper()
	cc, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// on makes a call on a connection.
func on(s *interceptors.Suite, cc *grpc.ClientConn, sc *script) error {
	return s.UnaryClientInterceptor()(context.Background(), method, nil, nil, cc, sc.invoke)
}

// host is what of a target stays the same.
func host(target string) string { return target[strings.LastIndexByte(target, '/')+1:] }

// TestTargetNamesKeyState: the state of a process is another's whose target has
// another address and the same name, and whoever reports it reports the name.
func TestTargetNamesKeyState(t *testing.T) {
	policy := interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter},
		Breaker: interceptors.Breaker{OpenFor: time.Hour, MaxOpenFor: time.Hour, ProbeShare: 1e-9}})
	before, after := to(t, "passthrough://0xc000123456/db"), to(t, "passthrough://0xc000987654/db")
	synctest.Test(t, func(t *testing.T) {
		first, m := withMemory(t, interceptors.State{}, policy, interceptors.WithTargetName(host))
		for range 8 {
			_ = on(first, before, play(fails(codes.Unavailable)))
		}
		if err := on(first, after, play(step{})); !errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Errorf("another target of that name: %v, want its breaker", err)
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if len(m.last.Breakers) != 1 || m.last.Breakers[0].Target != "db" {
			t.Fatalf("kept %+v, want one breaker of db", m.last.Breakers)
		}
		for _, b := range m.last.Budgets {
			if b.Target != "db" {
				t.Errorf("kept %+v, want a budget of db", b)
			}
		}
		for _, c := range m.changes {
			if c.Target != "db" {
				t.Errorf("a store heard of %q", c.Target)
			}
		}
		var asked []observe.Endpoint
		second, _ := withMemory(t, later(m.last, time.Minute), policy, interceptors.WithTargetName(host),
			interceptors.WithObserver(inlineAsk{func(e observe.Endpoint) { asked = append(asked, e) }}))
		if err := on(second, after, play(step{})); !errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Errorf("the next process: %v, want the breaker of the last", err)
		}
		if len(asked) != 1 || asked[0].Target() != "db" || asked[0].CanonicalTarget() != "db" {
			t.Errorf("an observer was asked of %d endpoints, want one, of db", len(asked))
		}
	})
}

// inlineAsk is called for each endpoint.
type inlineAsk struct{ of func(observe.Endpoint) }

func (a inlineAsk) Observe(e observe.Endpoint) observe.Hooks {
	a.of(e)
	return observe.Hooks{}
}

// TestTargetNamesShareBudgets, those of one name.
func TestTargetNamesShareBudgets(t *testing.T) {
	a, b, c := to(t, "passthrough://1/db"), to(t, "passthrough://2/db"), to(t, "passthrough://3/other")
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithTargetName(host),
			interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 2, MinPerSecond: 1e-9})))
		down := play(fails(codes.Unavailable))
		for _, cc := range []*grpc.ClientConn{a, b, a, b} {
			_ = on(s, cc, down)
		}
		wantAttempts(t, down, 6) // two tokens for all
		apart := play(fails(codes.Unavailable))
		_ = on(s, c, apart)
		wantAttempts(t, apart, 3)
	})
}

// TestTargetNameIsAskedOnce for a target, however many methods and calls.
func TestTargetNameIsAskedOnce(t *testing.T) {
	targets := []*grpc.ClientConn{to(t, "passthrough:///a"), to(t, "passthrough:///b"), nil}
	var asked atomic.Int64
	s := newSuite(t, interceptors.WithTargetName(func(string) string {
		asked.Add(1)
		return "" // keeps the target
	}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				for _, cc := range targets {
					_ = s.UnaryClientInterceptor()(context.Background(), fmt.Sprint("/s.S/M", i%10), nil, nil, cc, noop)
				}
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times of 3 targets", n)
	}
	seen := ""
	s = newSuite(t, interceptors.WithTargetName(func(string) string { return "" }),
		interceptors.WithObserver(inlineAsk{func(e observe.Endpoint) { seen = e.Target() + " " + e.CanonicalTarget() }}))
	_ = on(s, targets[0], play(step{}))
	if seen != "passthrough:///a passthrough:///a" {
		t.Errorf("an empty name: %q", seen)
	}
}

// TestTargetNamePanics: the call goes on, on a target that is its own name.
func TestTargetNamePanics(t *testing.T) {
	var log logBuffer
	var seen []string
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
		interceptors.WithTargetName(func(string) string { panic("no name") }),
		interceptors.WithObserver(inlineAsk{func(e observe.Endpoint) { seen = append(seen, e.Target()) }}))
	for _, target := range []string{"passthrough:///a", "passthrough:///b"} {
		cc := to(t, target)
		for range 3 {
			if err := on(s, cc, play(step{})); err != nil {
				t.Fatal(err)
			}
		}
		if n := strings.Count(log.String(), "no name"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log.String())
		}
	}
	if got := fmt.Sprint(seen); got != "[passthrough:///a passthrough:///b]" {
		t.Errorf("observers were asked of %s", got)
	}
}

// TestTargetNamesAreForgotten when idle, and come back; a target in use stays
// what it is.
func TestTargetNamesAreForgotten(t *testing.T) {
	busy, idle := to(t, "passthrough://1/busy"), to(t, "passthrough://1/idle")
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]int{}
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{OpenFor: 3 * time.Hour, MaxOpenFor: 3 * time.Hour, ProbeShare: 1e-9})),
			interceptors.WithTargetName(func(target string) string {
				asked[host(target)]++
				return host(target)
			}))
		for range 8 {
			_ = on(s, busy, play(fails(codes.Unavailable)))
		}
		_ = on(s, idle, play(step{}))
		for i := range 6 {
			time.Sleep(5 * time.Minute)
			if err := on(s, busy, play(step{})); !errors.Is(err, interceptors.ErrBreakerOpen) {
				t.Fatalf("after %d minutes: %v", 5*i+5, err)
			}
			time.Sleep(6 * time.Minute)
			_ = one(s, fmt.Sprint("/new.Svc/M", i), play(step{})) // makes it look
		}
		_ = on(s, idle, play(step{}))
		if asked["busy"] != 1 || asked["idle"] != 2 {
			t.Errorf("asked %v times, want the busy target's name once, the idle one's twice", asked)
		}
	})
}

func TestTargetNameFaults(t *testing.T) {
	if _, err := interceptors.New(interceptors.WithTargetName(nil)); err == nil || !strings.Contains(err.Error(), "target name: must not be nil") {
		t.Errorf("nil: %v", err)
	}
	s := newSuite(t)
	if err := s.Reload(interceptors.WithTargetName(host)); err == nil || !strings.Contains(err.Error(), "target names") {
		t.Errorf("reload: %v", err)
	}
}

// TestRefusalsOfOddNames keep their details, which must be UTF-8.
func TestRefusalsOfOddNames(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
	var err error
	for range 20 {
		err = one(s, "/s.S/\xff", play(fails(codes.Unavailable)))
	}
	if !errors.Is(err, interceptors.ErrBreakerOpen) || len(status.Convert(err).Details()) != 2 {
		t.Errorf("%v with %d details, want a refusal with two", err, len(status.Convert(err).Details()))
	}
}

// TestLongNamesAreShortenedTheSameInEachProcess, as stores share them: beginning and
// hash, of a method within its service, where that is not too long itself.
func TestLongNamesAreShortenedTheSameInEachProcess(t *testing.T) {
	const most, head = 512, 192
	hash := func(name string) string {
		sum := sha256.Sum256([]byte(name))
		return hex.EncodeToString(sum[:16])
	}
	x, inService, service := strings.Repeat("x", 1000), "/a.B/", "/"+strings.Repeat("s", head-1)
	for _, tc := range []struct{ method, want string }{
		{(inService + x)[:most], (inService + x)[:most]},
		{(inService + x)[:most+1], inService + text.Fit((inService + x)[len(inService):most+1], head) + hash((inService + x)[:most+1])},
		{service + "/" + x, service + "/" + text.Fit(x, head) + hash(service+"/"+x)},
		{service + "s/" + x, text.Fit(service+"s/"+x, head) + hash(service+"s/"+x)},
		{"/" + x, text.Fit("/"+x, head) + hash("/"+x)},
		{"a/" + x, "a/" + text.Fit(x, head) + hash("a/"+x)},
		{x, text.Fit(x, head) + hash(x)},
	} {
		var asked []string
		s := newSuite(t, interceptors.WithObserver(inlineAsk{func(e observe.Endpoint) { asked = append(asked, e.Method()) }}))
		if err := one(s, tc.method, play(step{})); err != nil {
			t.Fatal(err)
		}
		if len(asked) != 1 || asked[0] != tc.want {
			t.Errorf("%d bytes %.20s… are known as %s, want %s", len(tc.method), tc.method, asked, tc.want)
		}
	}
	for _, n := range []int{most, most + 1} {
		target := ("passthrough:///" + x)[:n]
		want := target
		if n > most {
			want = text.Fit(target, head) + hash(target)
		}
		s := newSuite(t)
		if err := on(s, to(t, target), play(step{})); err != nil {
			t.Fatal(err)
		}
		if got := s.Snapshot().Methods; len(got) != 1 || got[0].Target != want {
			t.Errorf("a target of %d bytes is kept as %+v, want %s", n, got, want)
		}
	}
}

// TestTargetNameOfAFunctionThatEndsItsGoroutine is the target's own.
func TestTargetNameOfAFunctionThatEndsItsGoroutine(t *testing.T) {
	s := newSuite(t, interceptors.WithTargetName(func(string) string { runtime.Goexit(); return "" }))
	cc := to(t, "passthrough:///a")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = on(s, cc, play(step{}))
	}()
	<-ended
	if err := on(s, cc, play(step{})); err != nil {
		t.Fatal(err)
	}
	if got := s.Snapshot().Methods; len(got) != 1 || got[0].Target != "passthrough:///a" {
		t.Errorf("%+v, want the target's own name", got)
	}
}
