package interceptors_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// bound is how many pairs of strange methods a suite keeps.
const bound = 16384

// one makes a call of a method.
func one(s *interceptors.Suite, method string, sc *script) error {
	return s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil, sc.invoke)
}

// strangers calls as many made-up methods as the suite keeps.
func strangers(s *interceptors.Suite) {
	in := s.UnaryClientInterceptor()
	for i := range bound {
		_ = in(context.Background(), fmt.Sprintf("/no.Such/Method%d", i), nil, nil, nil, noop)
	}
}

func quiet() interceptors.Option { return interceptors.WithLogger(slog.New(slog.DiscardHandler)) }

// TestStrangeMethodsTakeNothingFromThoseKnown: a proxy forwards what its clients
// make up. Methods that a policy or another option names, or that the program has the
// descriptor of, keep breaker and limit.
func TestStrangeMethodsTakeNothingFromThoseKnown(t *testing.T) {
	const named, wild = "/bank.Ledger/Transfer", "/bank.Ledger/Other"
	described := greeterpb.Greeter_SayHello_FullMethodName
	single := interceptors.Retry{MaxAttempts: 1}
	s := newSuite(t, quiet(), interceptors.WithPolicy(interceptors.Policy{Retry: single}),
		interceptors.WithMethodPolicy(named, interceptors.Policy{Retry: single, Limit: interceptors.Limit{MaxConcurrent: 1}}),
		interceptors.WithFallback("/bank.Ledger/Rescued", func(_ context.Context, _ string, _, _ any, err error) error { return err }),
		interceptors.WithClassifier("/bank.Ledger/Classified", func(interceptors.Attempt) interceptors.Verdict { return 0 }),
		interceptors.WithResume("/bank.Ledger/Resumed", func(context.Context, any, any) (any, bool) { return nil, false }))
	strangers(s)
	for _, tc := range []struct {
		method string
		breaks bool
	}{{named, true}, {described, true}, {wild, false}, {"/bank.Ledger/Rescued", true}, {"/bank.Ledger/Classified", true}, {"/bank.Ledger/Resumed", true}} {
		down := play(fails(codes.Unavailable))
		for range 200 {
			_ = one(s, tc.method, down)
		}
		if broke := down.attempts() < 50; broke != tc.breaks {
			t.Errorf("%s: %d attempts of 200 calls against a server that is down", tc.method, down.attempts())
		}
	}
}

func TestStrangeMethodsLiftNoLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const named = "/bank.Ledger/Transfer"
		s := newSuite(t, quiet(), interceptors.WithMethodPolicy(named, interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 1}}))
		strangers(s)
		slow := play(step{after: time.Second})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { _ = one(s, named, slow) })
		}
		wg.Wait()
		wantAttempts(t, slow, 1)
	})
}

// TestStrangeMethodsAreForgottenSooner where they leave no room.
func TestStrangeMethodsAreForgottenSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, quiet(), interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		strangers(s)
		for range 2 { // one look to mark, one to forget
			time.Sleep(61 * time.Second)
			_ = one(s, "/late.Svc/Other", play(step{}))
		}
		down := play(fails(codes.Unavailable))
		for range 200 {
			_ = one(s, "/late.Svc/Get", down)
		}
		if n := down.attempts(); n > 50 {
			t.Errorf("%d attempts of 200 calls against a server that is down", n)
		}
	})
}

// TestOpenBreakersAreNotForgotten while their open time runs.
func TestOpenBreakersAreNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := &evictions{}
		s, m := withMemory(t, interceptors.State{}, interceptors.WithObserver(gone), interceptors.WithPolicy(interceptors.Policy{
			Retry:   interceptors.Retry{MaxAttempts: 1},
			Breaker: interceptors.Breaker{OpenFor: 2 * time.Hour, MaxOpenFor: 2 * time.Hour, ProbeShare: 1e-9},
		}))
		trip(t, s, 8)
		for i := range 4 {
			time.Sleep(10 * time.Minute)
			_ = one(s, fmt.Sprint("/s.S/Other", i), play(step{}))
		}
		if st := m.live.State(); len(st.Breakers) != 1 || st.Breakers[0].Left < 50*time.Minute {
			t.Errorf("after 40 minutes of two hours: %+v", st.Breakers)
		}
		for i := range 20 { // 240 minutes, and no open time is longer than a fifth over
			time.Sleep(10 * time.Minute)
			_ = one(s, fmt.Sprint("/s.S/Later", i), play(step{}))
		}
		if err := s.Close(); err != nil || gone.n < 20 {
			t.Errorf("%d methods forgotten: the open one is not when its time is over", gone.n)
		}
		if len(m.last.Breakers) != 0 {
			t.Errorf("kept for ever: %+v", m.last.Breakers)
		}
	})
}

// live returns the bytes in use.
func live() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestLongNamesAreNotKept: they are as many as pairs are, but of any length.
func TestLongNamesAreNotKept(t *testing.T) {
	var log logBuffer
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
		interceptors.WithMethodPolicy("/a.B/*", interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2}}))
	before := live()
	for i := range 1000 {
		_ = one(s, fmt.Sprintf("/a.B/%s%d", strings.Repeat("x", 64<<10), i), play(step{}))
	}
	if n := live() - before - int64(len(log.String())); n > 8<<20 {
		t.Errorf("%d bytes kept of 1000 names", n)
	}
	if n := strings.Count(log.String(), "\n"); n < 100 || n > 101 || len(log.String()) > 200<<10 {
		t.Errorf("%d lines, %d bytes, logged of 1000 names", n, len(log.String()))
	}
	long := strings.Repeat("x", 64<<10)
	_, m := withMemory(t, interceptors.State{
		Breakers: []interceptors.BreakerRecord{{Target: long, Left: time.Hour}, {Method: "/a.B/" + long, Left: time.Hour}},
		Budgets:  []interceptors.BudgetRecord{{Target: long, Burst: 10}},
	})
	if st := m.live.State(); len(st.Breakers)+len(st.Budgets) > 0 {
		t.Errorf("%d breakers and %d budgets kept of names that no call has", len(st.Breakers), len(st.Budgets))
	}
	runtime.KeepAlive(s)
}

// TestLongNamesKeepTheirBreakers, each its own, and their policies.
func TestLongNamesKeepTheirBreakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 64<<10)
		exact := "/a.B/Exact" + long
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 2}}),
			interceptors.WithMethodPolicy("/a.B/*", onlyBreaker(interceptors.Breaker{})),
			interceptors.WithMethodPolicy(exact, onlyBudget(interceptors.Budget{Disabled: true})))
		for range 2 {
			down := play(fails(codes.Unavailable))
			for range 100 {
				_ = one(s, "/a.B/"+long, down)
			}
			if n := down.attempts(); n > 20 {
				t.Errorf("%d attempts of 100 calls against a server that is down", n)
			}
			well := play(step{})
			if err := one(s, "/a.B/"+long+"y", well); err != nil {
				t.Errorf("another method: %v", err)
			}
			if err := s.Reload(interceptors.WithMethodPolicy("/a.B/*", onlyBreaker(interceptors.Breaker{})),
				interceptors.WithMethodPolicy(exact, onlyBudget(interceptors.Budget{Disabled: true}))); err != nil {
				t.Fatal(err)
			}
		}
		down := play(fails(codes.Unavailable))
		if _ = one(s, exact, down); down.attempts() < 2 {
			t.Error("the policy that names it exactly does not hold")
		}
	})
}

// TestCostOfAPlan does not grow with their number.
func TestCostOfAPlan(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	in := newSuite(t, quiet()).UnaryClientInterceptor()
	names := make([]string, 10000)
	for i := range names {
		names[i] = fmt.Sprintf("/a.B/M%d", i)
	}
	each := func(from, to int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, m := range names[from:to] {
			_ = in(context.Background(), m, nil, nil, nil, noop)
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(to-from)
	}
	few := each(0, 100)
	each(100, 9000)
	if many := each(9000, 10000); many > 2*few {
		t.Errorf("a plan allocates %d bytes among the first hundred, %d among the last thousand", few, many)
	}
}

// TestMemoryOfAPair is at most 2 KiB, with breaker, budget and limit.
func TestMemoryOfAPair(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	names := make([]string, 10000)
	for i := range names {
		names[i] = fmt.Sprintf("/a.B/M%d", i)
	}
	s := newSuite(t, quiet(), interceptors.WithPolicy(interceptors.Policy{Limit: interceptors.Limit{MaxConcurrent: 10}}))
	in := s.UnaryClientInterceptor()
	before := live()
	for _, m := range names {
		_ = in(context.Background(), m, nil, nil, nil, noop)
	}
	n := (live() - before) / int64(len(names))
	if t.Logf("a pair takes %d bytes", n); n > 2048 {
		t.Error("want 2048 at most")
	}
	runtime.KeepAlive(names)
	if got := testing.AllocsPerRun(100, func() { _ = in(context.Background(), names[5000], nil, nil, nil, noop) }); got > 0 {
		t.Errorf("a call allocates %v times", got)
	}
}

// TestReloadForgetsBudgetsPastTheBound that no policy has any more, and the next
// begins with what they held.
func TestReloadForgetsBudgetsPastTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := func(i int) interceptors.Option {
			return interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter},
				Breaker: interceptors.Breaker{Disabled: true}, Budget: interceptors.Budget{Burst: 2, MinPerSecond: 1e-9, Ratio: 0.1 + float64(i)/1e6}})
		}
		s, m := withMemory(t, interceptors.State{}, quiet(), policy(0))
		strangers(s)
		down := play(fails(codes.Unavailable))
		for i := range 20 {
			_ = one(s, "/late.Svc/Get", down)
			if i%5 > 0 {
				continue // it takes a while
			}
			if err := s.Reload(policy(i)); err != nil {
				t.Fatal(err)
			}
		}
		wantAttempts(t, down, 22) // two tokens, whatever the policies
		others := 0
		for _, b := range m.live.State().Budgets {
			if b.Target == "other" {
				others++
			}
		}
		if others != 1 {
			t.Errorf("%d budgets kept of five policies", others)
		}
	})
}

// TestTooManyMethods: those that nothing is kept for have all but a breaker.
func TestTooManyMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen, asked := &events{}, 0
		var log logBuffer
		off := interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}, Budget: interceptors.Budget{Burst: 2, MinPerSecond: 1e-9}}
		s := newSuite(t, interceptors.WithObserver(inline{seen}), interceptors.WithPolicy(off),
			interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
			interceptors.WithClassifier("/late.Svc/*", func(interceptors.Attempt) interceptors.Verdict { asked++; return 0 }),
			interceptors.WithFallback("/late.Svc/*", func(context.Context, string, any, any, error) error { return nil }))
		one := func(m string, sc *script) error {
			return s.UnaryClientInterceptor()(context.Background(), m, nil, nil, nil, sc.invoke)
		}
		for i := range bound {
			_ = one(fmt.Sprintf("/a.B/M%d", i), play(step{}))
		}
		before := seen.count(observe.CallEnd)
		down := play(fails(codes.Unavailable))
		for i := range 20 {
			if err := one(fmt.Sprintf("/late.Svc/M%d", i), down); err != nil {
				t.Fatalf("not rescued: %v", err)
			}
			if i%5 > 0 {
				continue // it takes a while
			}
			if err := s.Reload(interceptors.WithPolicy(off)); err != nil {
				t.Fatal(err)
			}
		}
		if got := seen.count(observe.CallEnd) - before; got != 20 {
			t.Errorf("%d of 20 calls reported", got)
		}
		wantAttempts(t, down, 22) // one budget of two tokens for them all
		if n := strings.Count(log.String(), "too many methods and targets"); n != 1 || asked != 22 {
			t.Errorf("logged %d times, classifier asked %d times of 22 attempts", n, asked)
		}
	})
}

// TestOneIdleMethodIsForgotten, with its budget, though all others are in use.
func TestOneIdleMethodIsForgotten(t *testing.T) {
	idle, busy := to(t, "passthrough:///idle"), to(t, "passthrough:///busy")
	synctest.Test(t, func(t *testing.T) {
		evicted := &evictions{}
		s, m := withMemory(t, interceptors.State{}, interceptors.WithObserver(evicted), quiet(), interceptors.WithPolicy(interceptors.Policy{
			Retry: interceptors.Retry{Backoff: noJitter}, Breaker: interceptors.Breaker{Disabled: true},
			Budget: interceptors.Budget{Burst: 10, MinPerSecond: 1e-9},
		}))
		budgets := func() (targets []string) {
			for _, b := range m.live.State().Budgets {
				targets = append(targets, b.Target)
			}
			slices.Sort(targets)
			return targets
		}
		_ = on(s, idle, play(fails(codes.Unavailable)))
		for i := range 3 {
			_ = on(s, busy, play(fails(codes.Unavailable)))
			if got, want := fmt.Sprint(budgets()), []string{"[passthrough:///busy passthrough:///idle]", "[passthrough:///busy passthrough:///idle]", "[passthrough:///busy]"}[i]; got != want {
				t.Errorf("look %d: budgets of %s, want %s", i, got, want)
			}
			if i == 1 {
				_ = on(s, busy, play(step{}))
			}
			time.Sleep(10 * time.Minute)
			_ = on(s, busy, play(step{}))
			_ = one(s, fmt.Sprintf("/new.Svc/%d", i), play(step{})) // a new one makes it look
		}
		for _, p := range s.Snapshot().Methods {
			if p.Target == "passthrough:///idle" {
				t.Error("an idle one is shown")
			}
		}
	})
}

// TestMethodsAreNotForgottenSooner than after ten minutes, if there is room.
func TestMethodsAreNotForgottenSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evicted := &evictions{}
		s := newSuite(t, interceptors.WithObserver(evicted))
		for i := range 6 {
			_ = one(s, fmt.Sprintf("/a.B/M%d", i), play(step{}))
			time.Sleep(90 * time.Second)
		}
		if evicted.n != 0 {
			t.Errorf("%d forgotten", evicted.n)
		}
	})
}

// TestReloadForgetsNoUse: a method used before a reload is one that was used.
func TestReloadForgetsNoUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		evicted := &evictions{}
		s := newSuite(t, quiet(), interceptors.WithObserver(evicted))
		time.Sleep(9 * time.Minute)
		_ = one(s, "/a.B/Used", play(step{}))
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		_ = one(s, "/a.B/New", play(step{})) // makes it look
		if evicted.n != 0 {
			t.Error("a method that was used a minute ago is forgotten")
		}
	})
}

// TestReloadsCountStrangeMethodsAnew: there is as much room after them.
func TestReloadsCountStrangeMethodsAnew(t *testing.T) {
	s := newSuite(t, quiet(), interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
	for i := range 200 {
		_ = one(s, fmt.Sprintf("/a.B/M%d", i), play(step{}))
	}
	for range bound / 200 {
		if err := s.Reload(interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{}))); err != nil {
			t.Fatal(err)
		}
	}
	_ = one(s, "/a.B/New", play(step{}))
	if n := len(s.Snapshot().Methods); n != 201 {
		t.Errorf("%d methods kept of 201", n)
	}
}

// TestSnapshotHasAllTargetsOfAMethod.
func TestSnapshotHasAllTargetsOfAMethod(t *testing.T) {
	s := newSuite(t)
	for _, target := range []string{"passthrough:///a", "passthrough:///b", "passthrough:///c"} {
		_ = on(s, to(t, target), play(step{}))
	}
	if got := s.Snapshot().Methods; len(got) != 3 {
		t.Errorf("%d of three targets: %+v", len(got), got)
	}
}

// TestBudgetsThatBecomeOne hold the least of what they held.
func TestBudgetsThatBecomeOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := func(burst float64) interceptors.Policy {
			return interceptors.Policy{Retry: interceptors.Retry{Backoff: noJitter}, Breaker: interceptors.Breaker{Disabled: true},
				Budget: interceptors.Budget{Burst: burst, MinPerSecond: 1e-9}}
		}
		for _, spent := range []string{"/a.B/One", "/a.B/Two"} {
			s := newSuite(t, quiet(), interceptors.WithMethodPolicy("/a.B/One", budget(3)), interceptors.WithMethodPolicy("/a.B/Two", budget(4)))
			_ = one(s, "/a.B/One", play(step{}))
			_ = one(s, "/a.B/Two", play(step{}))
			for range 3 {
				_ = one(s, spent, play(fails(codes.Unavailable)))
			}
			if err := s.Reload(interceptors.WithPolicy(budget(4))); err != nil {
				t.Fatal(err)
			}
			for _, m := range []string{"/a.B/One", "/a.B/Two"} {
				sc := play(fails(codes.Unavailable))
				_ = one(s, m, sc)
				if n := sc.attempts(); n != 1 {
					t.Errorf("%s was spent: %d attempts of %s", spent, n, m)
				}
			}
		}
	})
}

// TestUnhedgedMethodsAreNamedAnewAfterAReload, a hundred of them.
func TestUnhedgedMethodsAreNamedAnewAfterAReload(t *testing.T) {
	var log logBuffer
	policy := interceptors.WithMethodPolicy("/a.B/*", interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2}})
	s := newSuite(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), policy)
	for round := range 2 {
		log.Reset()
		for i := range 120 {
			_ = one(s, fmt.Sprintf("/a.B/M%d-%d", round, i), play(step{}))
		}
		named, stopped := strings.Count(log.String(), "neither hedged nor retried"), strings.Count(log.String(), "too many methods are not hedged")
		if named != 100 || stopped != 1 {
			t.Errorf("round %d: %d methods named, said %d times that no others will be", round, named, stopped)
		}
		if err := s.Reload(policy); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSnapshotBesideFirstCalls: a snapshot holds no lock that first calls wait for,
// and must not read what they write. It is for the race detector.
func TestSnapshotBesideFirstCalls(t *testing.T) {
	s, err := interceptors.New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var calls sync.WaitGroup
	for i := range 4 {
		calls.Go(func() {
			for j := range 100 {
				_ = one(s, fmt.Sprintf("/a.B%d/C%d", i, j), play(step{}))
				_ = s.Snapshot()
			}
		})
	}
	calls.Wait()
	if n := len(s.Snapshot().Methods); n != 400 {
		t.Errorf("%d methods, want 400", n)
	}
}
