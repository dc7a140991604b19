package interceptors_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// theMethod returns what the snapshot has of the tests' pair.
func theMethod(t *testing.T, s *interceptors.Suite) interceptors.MethodSnapshot {
	t.Helper()
	snap := s.Snapshot()
	if len(snap.Methods) != 1 || snap.Methods[0].Method != method {
		t.Fatalf("methods %+v, want %s alone", snap.Methods, method)
	}
	return snap.Methods[0]
}

// TestSnapshotOfAnOutage: since when, why, what now.
func TestSnapshotOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicySource("policy.yaml:3", interceptors.WithMethodPolicy("/helloworld.Greeter/*", interceptors.Policy{
			Retry:   interceptors.Retry{MaxAttempts: 2, Backoff: jitter.Backoff{Base: 100 * time.Millisecond, Jitter: jitter.None}},
			Breaker: interceptors.Breaker{Consecutive: 3},
			Limit:   interceptors.Limit{MaxConcurrent: 5},
		})))
		start := time.Now()
		if err := call(s, play(step{})); err != nil {
			t.Fatal(err)
		}
		if got := s.Snapshot().Calls; len(got) != 0 {
			t.Fatalf("%+v noted of a call that succeeded at once", got)
		}
		if err := call(s, play(fails(codes.Unavailable), step{})); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_ = call(s, play(fails(codes.Unavailable)))
		}
		opened := time.Now()
		for range 5 {
			if err := call(s, play(step{})); err == nil {
				t.Fatal("not refused")
			}
			time.Sleep(10 * time.Millisecond)
		}
		snap := s.Snapshot()
		m := theMethod(t, s)
		b := m.Breaker
		if b.State != "open" || b.Why != "consecutive" || !b.Since.Equal(opened) || !b.NotClosedSince.Equal(opened) || b.Refused != 5 || b.WouldRefuse != 0 || b.Forced != "" || b.Openings != 1 {
			t.Errorf("breaker %+v, want it open since %v after 3 in a row, 5 refused", b, opened)
		}
		if wait := b.NextProbe.Sub(opened); wait < 800*time.Millisecond || wait > 1200*time.Millisecond {
			t.Errorf("next probe after %v, want about a second", wait)
		}
		if m.Budget.Capacity != 50 || m.Budget.Tokens > 47 || m.Limit.Max != 5 || m.Limit.InFlight != 0 {
			t.Errorf("budget %+v, limit %+v; want some of 50 spent, 5 allowed", m.Budget, m.Limit)
		}
		i := slices.IndexFunc(snap.Policies, func(p interceptors.PolicySnapshot) bool { return p.ID == m.Policy })
		if p := snap.Policies[i]; p.Pattern != "/helloworld.Greeter/*" || p.Source != "policy.yaml:3" || p.Revision != 1 || p.Policy.Breaker.Consecutive != 3 || p.Policy.Breaker.MinCalls != 20 {
			t.Errorf("policy %+v, want line 3's with defaults", p)
		}
		if len(snap.Policies) != 2 || snap.Policies[0].Source != "default" {
			t.Errorf("policies %+v, want the default's too", snap.Policies)
		}
		if len(snap.Targets) != 1 || snap.Targets[0].Methods != 1 || snap.Targets[0].NotClosed != 1 || len(snap.Targets[0].Budgets) != 1 {
			t.Errorf("targets %+v", snap.Targets)
		}
		if !snap.Started.Equal(start) || len(snap.Reloads) != 1 || snap.Revision.Generation != 1 {
			t.Errorf("started %v, reloads %+v, revision %+v", snap.Started, snap.Reloads, snap.Revision)
		}
		// 5 refusals are one note, before it three failures and a rescued one.
		if len(snap.Calls) != 5 {
			t.Fatalf("%d notes, want 5: %+v", len(snap.Calls), snap.Calls)
		}
		if r := snap.Calls[0]; r.Count != 5 || r.Outcome != "rejected_breaker" || r.Reason != "breaker_open" || r.Attempts != 0 || r.LastTime.Sub(r.Time) != 40*time.Millisecond {
			t.Errorf("refusals %+v, want 5 in 40 ms", r)
		}
		if f := snap.Calls[1]; f.Outcome != "failed" || f.Code != "UNAVAILABLE" || !f.Exhausted || f.Attempts != 2 || len(f.Trail) != 2 ||
			f.Trail[0].Delay != interceptors.Seconds(100*time.Millisecond) || f.Trail[1].Time.Sub(f.Trail[0].Time) != 100*time.Millisecond || f.Trail[1].Kind != "retry" {
			t.Errorf("failure %+v, want two attempts, 100 ms apart", f)
		}
		if r := snap.Calls[4]; r.Outcome != "success_after_retry" || r.Code != "OK" || len(r.Trail) != 2 || r.Trail[1].Code != "OK" || r.Waited != interceptors.Seconds(100*time.Millisecond) {
			t.Errorf("rescued call %+v, want a failed attempt and a good one", r)
		}
		own, ok := s.MethodCalls("", method)
		if !ok || len(own) != 5 {
			t.Errorf("%d of the method's own, want 5", len(own))
		}
		if _, ok := s.MethodCalls("", "/no.Such/Method"); ok {
			t.Error("calls of a method that nobody called")
		}
		time.Sleep(2 * time.Second)
		if b := theMethod(t, s).Breaker; b.State != "half-open" || !b.Since.Equal(opened) {
			t.Errorf("breaker %+v after its time, want half-open: the next call is a probe", b)
		}
		if err := call(s, play(step{})); err != nil {
			t.Fatal(err)
		}
		if b := theMethod(t, s).Breaker; b.State != "closed" || b.Why != "recovered" || !b.NotClosedSince.IsZero() || !b.NextProbe.IsZero() {
			t.Errorf("breaker %+v after a good probe, want it closed", b)
		}
	})
}

// TestSnapshotJSON: names are stable, and nothing of a message leaves.
func TestSnapshotJSON(t *testing.T) {
	s := newSuite(t)
	_ = call(s, play(step{err: fmt.Errorf("secret of the server")}))
	_ = s.Reload(nil)
	text, err := json.Marshal(s.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "secret") {
		t.Errorf("an error's message is in it: %s", text)
	}
	for _, name := range []string{
		`"time":`, `"revision":{"generation":1,`, `"error":"option: must not be nil"`, `"policies":[{"id":"p1","pattern":"*","variant":"idempotent","source":"default","revision":1,"policy":{`,
		`"max_attempts":3`, `"open_for_seconds":1`, `"codes":["DEADLINE_EXCEEDED","UNAVAILABLE"]`, `"mode":"enforce"`, `"disabled":false`, `"jitter":"full"`,
		`"targets":[{"target":"","canonical":"","methods":1,"not_closed":0,"budgets":[{"tokens":50,"capacity":50,"ratio":0.2,"min_per_second":0.1}]}]`,
		`"breaker":{"state":"closed","mode":"enforce","openings":0,"refused":0,"would_refuse":0}`,
		`"backends":[]`, `"stores":[]`, `"steered":[]`, `"overflow":false`, `"outcome":"failed","code":"UNKNOWN","reason":"not_retryable","exhausted":false,"attempts":1,"hedges":0,"waited_seconds":0,"trail":[{"number":1,"kind":"first","code":"UNKNOWN","time":`,
		`"reloads":[{"time":`, `"result":"failed"`,
	} {
		if !strings.Contains(string(text), name) {
			t.Errorf("no %s in %s", name, text)
		}
	}
	var back interceptors.Snapshot
	if err := json.Unmarshal(text, &back); err != nil || back.Calls[0].Code != "UNKNOWN" {
		t.Errorf("it cannot be read back: %v", err)
	}
}

// TestSnapshotWaitsForNobody: neither a first call, which makes plans, nor a
// snapshot waits for the other.
func TestSnapshotWaitsForNobody(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(quick))
	_ = call(s, play(fails(codes.Unavailable)))
	s.WithLockHeld(func() {
		if got := s.Snapshot(); len(got.Methods) != 1 {
			t.Errorf("%+v", got)
		}
		if _, ok := s.MethodCalls("", method); !ok {
			t.Error("no calls")
		}
	})
}

// TestNotesAreOfTheLast: in a storm too, and each method keeps its own.
func TestNotesAreOfTheLast(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}}))
	quiet := s.UnaryClientInterceptor()
	_ = quiet(t.Context(), "/s.Quiet/Get", nil, nil, nil, play(fails(codes.Internal)).invoke)
	for range 300 {
		_ = call(s, play(fails(codes.NotFound)))
	}
	if got := s.Snapshot().Calls; len(got) != 100 || got[99].Code != "NOT_FOUND" {
		t.Errorf("%d notes, the first %+v; want 100 NOT_FOUND", len(got), got[len(got)-1])
	}
	if got, _ := s.MethodCalls("", "/s.Quiet/Get"); len(got) != 1 || got[0].Code != "INTERNAL" {
		t.Errorf("the quiet method has %+v, want its failure", got)
	}
}

// TestSnapshotCostsSuccessNothing: calls that succeed at once allocate as before.
func TestSnapshotCostsSuccessNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations differ")
	}
	s := newSuite(t)
	invoke := s.UnaryClientInterceptor()
	good := func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		return nil
	}
	ctx := t.Context()
	_ = invoke(ctx, method, nil, nil, nil, good)
	if n := testing.AllocsPerRun(200, func() { _ = invoke(ctx, method, nil, nil, nil, good) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestExplain(t *testing.T) {
	s := newSuite(t,
		interceptors.WithMethodPolicy("/s.S/*", interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 3, MaxQueue: 2}}),
		interceptors.WithPolicySource("p.yaml:9", interceptors.WithMethodPolicy("/s.S/Get", interceptors.Policy{Timeout: time.Second})))
	e := s.Explain("dns:///a", "/s.S/Get")
	if e.Policy.Pattern != "/s.S/Get" || e.Policy.Source != "p.yaml:9" || e.Policy.Policy.Timeout != time.Second || e.Used || e.Descriptor ||
		!slices.Equal(e.Patterns, []string{"/s.S/Get", "/s.S/*", "*"}) {
		t.Errorf("%+v, want line 9's", e)
	}
	if e := s.Explain("dns:///a", "/s.S/Other"); e.Policy.Pattern != "/s.S/*" || e.Policy.Source != "code" || len(e.Warnings) != 1 || !strings.Contains(e.Warnings[0], "MaxWait") {
		t.Errorf("%+v, want the service's, with a warning of its queue", e)
	}
	if e := s.Explain("", "nonsense"); e.Policy.Pattern != "*" || e.Policy.Source != "default" {
		t.Errorf("%+v, want the default", e)
	}
	_ = call(s, play(step{}))
	if e := s.Explain("", method); !e.Used {
		t.Errorf("%+v after a call", e)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := newSuite(b)
	invoke := s.UnaryClientInterceptor()
	sc := play(fails(codes.Unavailable))
	for i := range 4096 {
		_ = invoke(b.Context(), fmt.Sprintf("/pkg.Service%d/Method%d", i/16, i), nil, nil, nil, sc.invoke, interceptors.NoRetry())
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := s.Snapshot(); len(got.Methods) != 4096 {
			b.Fatal(len(got.Methods))
		}
	}
}
