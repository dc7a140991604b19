package interceptors_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// memory is a store that restores what it is given, and remembers what it is
// reported.
type memory struct {
	restores interceptors.State
	refuses  error
	fails    error // of Close

	mu      sync.Mutex
	live    interceptors.StoreHandle
	changes []interceptors.Change
	closed  int
	last    interceptors.State // at Close
}

func (m *memory) Attach(l interceptors.StoreHandle) error {
	if m.refuses != nil {
		return m.refuses
	}
	m.live = l
	l.Restore(m.restores)
	return nil
}

func (m *memory) Changed(c interceptors.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes = append(m.changes, c)
}

func (m *memory) Close() error {
	m.closed++
	if m.closed == 1 {
		m.last = m.live.State()
	}
	return m.fails
}

// withMemory returns a suite that begins with a state.
func withMemory(t testing.TB, st interceptors.State, opts ...interceptors.Option) (*interceptors.Suite, *memory) {
	m := &memory{restores: st}
	return newSuite(t, append(opts, interceptors.WithStore(m))...), m
}

// later passes state on to a process that begins after a while.
func later(st interceptors.State, after time.Duration) interceptors.State {
	next := interceptors.State{Breakers: slices.Clone(st.Breakers), Budgets: slices.Clone(st.Budgets)}
	for i := range next.Breakers {
		next.Breakers[i].Left = max(0, next.Breakers[i].Left-after)
		next.Breakers[i].Age += after
	}
	for i := range next.Budgets {
		next.Budgets[i].Age += after
	}
	return next
}

func opened(left time.Duration, openings int) interceptors.State {
	return interceptors.State{Breakers: []interceptors.BreakerRecord{{Method: method, Left: left, Openings: openings}}}
}

// rest calls once, which must be refused, and returns for how long it will be.
func rest(t *testing.T, s *interceptors.Suite) time.Duration {
	t.Helper()
	err := call(s, play(step{}))
	if !errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Fatalf("%v, want a refusal", err)
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	t.Fatal("no RetryInfo")
	return 0
}

func TestOpenBreakerOutlivesItsSuite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{OpenFor: 10 * time.Second}))
		first, m := withMemory(t, interceptors.State{}, policy)
		trip(t, first, 8)
		left := rest(t, first)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if want := (interceptors.State{Breakers: []interceptors.BreakerRecord{{Method: method, Left: left, Openings: 1}}}); fmt.Sprint(m.last) != fmt.Sprint(want) {
			t.Fatalf("kept %+v, want %+v", m.last, want)
		}

		const down = 3 * time.Second
		time.Sleep(down)
		second, m := withMemory(t, later(m.last, down), policy)
		time.Sleep(time.Second) // before the first call
		if got := rest(t, second); got != left-down-time.Second {
			t.Fatalf("open for %v, want %v", got, left-down-time.Second)
		}
		time.Sleep(rest(t, second) - 1)
		rest(t, second)
		time.Sleep(1)
		wantCode(t, call(second, play(fails(codes.Unavailable))), codes.Unavailable)
		if got := rest(t, second); got < 16*time.Second || got > 24*time.Second {
			t.Fatalf("open for %v after the second failure in a row, want 20 s ± 20 %%", got)
		}
		time.Sleep(rest(t, second))
		if err := call(second, play(step{})); err != nil {
			t.Fatalf("no probe: %v", err)
		}
		if st := m.live.State(); len(st.Breakers) != 0 {
			t.Fatalf("%+v kept of a closed breaker", st)
		}
	})
}

// TestRestoredBounds: no clock, and no other suite's policy, keeps a breaker
// open for longer than this one's allows.
func TestRestoredBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{MaxOpenFor: 30 * time.Second}))
		for _, tc := range []struct{ left, want time.Duration }{
			{time.Minute, 30 * time.Second},
			{math.MaxInt64, 30 * time.Second},
			{30 * time.Second, 30 * time.Second},
			{1, 1},
		} {
			s, _ := withMemory(t, opened(tc.left, math.MaxInt), policy)
			if got := rest(t, s); got != tc.want {
				t.Errorf("restored with %v it is open for %v, want %v", tc.left, got, tc.want)
			}
		}
		for _, left := range []time.Duration{0, -1, math.MinInt64} {
			s, _ := withMemory(t, opened(left, -7), policy)
			if err := call(s, play(step{})); err != nil {
				t.Errorf("restored with %v left: %v, want a probe", left, err)
			}
		}
	})
}

func TestRestoredHalfOpenLetsOneProbePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := withMemory(t, opened(0, 3), interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		ctx, cancel := context.WithCancel(context.Background())
		hung := play(step{hang: true})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { _ = callWith(ctx, s, hung) })
		}
		synctest.Wait()
		wantAttempts(t, hung, 1)
		cancel()
		wg.Wait()
	})
}

// TestUnclaimedStateIsPassedOn, until it is too old.
func TestUnclaimedStateIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := interceptors.BudgetRecord{Target: "b", Ratio: 0.2, MinPerSecond: 1e-6, Burst: 50, Tokens: 3}
		st := opened(time.Minute, 2)
		st.Budgets = []interceptors.BudgetRecord{budget}
		_, m := withMemory(t, st)
		time.Sleep(40 * time.Second)
		want := later(st, 40*time.Second)
		if got := m.live.State(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("passed on %+v, want %+v", got, want)
		}
		s, m := withMemory(t, m.live.State())
		time.Sleep(interceptors.MaxStateAge - 40*time.Second)
		if got := m.live.State(); len(got.Breakers) != 1 || len(got.Budgets) != 1 || got.Breakers[0].Left != 0 {
			t.Fatalf("%+v at the age limit", got)
		}
		time.Sleep(1)
		if got := m.live.State(); len(got.Breakers) != 0 || len(got.Budgets) != 0 {
			t.Fatalf("%+v past the age limit", got)
		}
		for range 6 {
			wantCode(t, call(s, play(fails(codes.NotFound))), codes.NotFound) // closed: no probe
		}
		g := interceptors.Budget{Ratio: 0.2, MinPerSecond: 1e-6, Burst: 50}
		if err := s.Reload(interceptors.WithPolicy(onlyBudget(g))); err != nil {
			t.Fatal(err)
		}
		sc := play(fails(codes.Unavailable).instead("0"))
		for range 3 {
			_ = s.UnaryClientInterceptor()(context.Background(), method, nil, nil, dial(t, "b"), sc.invoke)
		}
		wantAttempts(t, sc, 3+6) // full
		_, m = withMemory(t, later(st, interceptors.MaxStateAge+1))
		if got := m.live.State(); len(got.Breakers) != 0 || len(got.Budgets) != 0 {
			t.Fatalf("%+v restored past the age limit", got)
		}
	})
}

// TestLongestOpenTimeIsWithinTheAge: else an open breaker could be forgotten.
func TestLongestOpenTimeIsWithinTheAge(t *testing.T) {
	p := onlyBreaker(interceptors.Breaker{MaxOpenFor: interceptors.MaxStateAge})
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	p.Breaker.MaxOpenFor++
	if err := p.Validate(); err == nil {
		t.Error("an open time may be longer than state is kept")
	}
}

func TestRestoredWhenTurnedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := withMemory(t, opened(time.Minute, 1), interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Disabled: true})))
		if refused(s, play(step{})) {
			t.Fatal("refused by a breaker that is off")
		}
		if len(m.live.State().Breakers) != 1 {
			t.Fatal("forgotten while it is off")
		}
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := rest(t, s); got != time.Minute {
			t.Fatalf("open for %v, want 1 min", got)
		}
	})
}

func TestBudgetOutlivesItsSuite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := interceptors.Budget{Burst: 10, MinPerSecond: 0.5}
		policy := interceptors.WithPolicy(onlyBudget(budget))
		first, m := withMemory(t, interceptors.State{}, policy)
		if st := m.live.State(); len(st.Budgets) != 0 {
			t.Fatalf("%+v of a suite that made no call", st)
		}
		_ = call(first, play(step{}))
		if st := m.live.State(); len(st.Budgets) != 0 {
			t.Fatalf("%+v of a full budget", st)
		}
		for range 5 {
			_ = call(first, play(fails(codes.Unavailable).instead("0")))
		}
		st := m.live.State()
		if len(st.Budgets) != 1 || st.Budgets[0] != (interceptors.BudgetRecord{Ratio: 0.2, MinPerSecond: 0.5, Burst: 10}) {
			t.Fatalf("%+v, want an empty budget", st)
		}
		second, _ := withMemory(t, later(st, 4*time.Second), policy) // 2 tokens
		time.Sleep(2 * time.Second)                                  // 1 more
		sc := play(fails(codes.Unavailable).instead("0"))
		_ = call(second, sc)
		_ = call(second, sc)
		wantAttempts(t, sc, 2+3)

		changed, _ := withMemory(t, later(st, 4*time.Second), interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 100})))
		sc = play(fails(codes.Unavailable).instead("0"))
		_ = call(changed, sc)
		_ = call(changed, sc)
		wantAttempts(t, sc, 2+2) // under another policy it begins with what was left

		full, _ := withMemory(t, later(st, time.Hour), interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 20})))
		sc = play(fails(codes.Unavailable).instead("0"))
		for range 10 {
			_ = call(full, sc)
		}
		wantAttempts(t, sc, 10+20) // one that was full says nothing about another

		long, _ := withMemory(t, later(st, time.Hour), policy)
		sc = play(fails(codes.Unavailable).instead("0"))
		for range 10 {
			_ = call(long, sc)
		}
		wantAttempts(t, sc, 10+10) // its burst
	})
}

// instead gives a step a pushback, so that its retry comes when it says.
func (s step) instead(ms string) step {
	s.trailer = pushback(ms)
	return s
}

// TestFullBudgetBesideAnEmptyOne: of two budgets of a target, the one that was
// full is full again.
func TestFullBudgetBesideAnEmptyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := []interceptors.Option{
			interceptors.WithPolicy(onlyBudget(interceptors.Budget{Burst: 2, MinPerSecond: 1e-9})),
			interceptors.WithMethodPolicy("/own.Budget/*", onlyBudget(interceptors.Budget{Burst: 3, MinPerSecond: 1e-9})),
		}
		attempts := func(s *interceptors.Suite, method string) int {
			sc := play(fails(codes.Unavailable).instead("0"))
			for range 5 {
				_ = s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil, sc.invoke)
			}
			return sc.attempts() - 5
		}
		first, m := withMemory(t, interceptors.State{}, opts...)
		attempts(first, "/x.Y/Z")
		_ = first.UnaryClientInterceptor()(context.Background(), "/own.Budget/M", nil, nil, nil, play(step{}).invoke)
		second, _ := withMemory(t, m.live.State(), opts...)
		if got := attempts(second, "/own.Budget/M"); got != 3 {
			t.Errorf("%d retries of the full budget, want 3", got)
		}
		if got := attempts(second, "/x.Y/Z"); got != 0 {
			t.Errorf("%d retries of the empty one", got)
		}
	})
}

func TestRecordsWithoutSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st interceptors.State
		for _, age := range []time.Duration{-1, math.MinInt64, math.MaxInt64} {
			st.Breakers = append(st.Breakers, interceptors.BreakerRecord{Method: method, Left: time.Minute, Age: age})
			st.Budgets = append(st.Budgets, interceptors.BudgetRecord{Burst: 50, Age: age})
		}
		for _, v := range []float64{math.NaN(), -1, math.Inf(-1)} {
			st.Budgets = append(st.Budgets, interceptors.BudgetRecord{Burst: 50, Tokens: v}, interceptors.BudgetRecord{Burst: v})
		}
		s, m := withMemory(t, st)
		if got := m.live.State(); len(got.Breakers)+len(got.Budgets) != 0 {
			t.Errorf("took %+v", got)
		}
		sc := play(fails(codes.Unavailable), step{})
		if err := call(s, sc); err != nil {
			t.Error(err)
		}
	})
}

func TestRestoredStateIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st interceptors.State
		for i := range 2 * bound {
			st.Breakers = append(st.Breakers, interceptors.BreakerRecord{Target: fmt.Sprint(i), Left: time.Hour})
			st.Budgets = append(st.Budgets, interceptors.BudgetRecord{Target: fmt.Sprint(i), Burst: 50})
		}
		_, m := withMemory(t, st)
		got := m.live.State()
		if len(got.Breakers) != bound || len(got.Budgets) != bound {
			t.Fatalf("%d breakers and %d budgets, want %d", len(got.Breakers), len(got.Budgets), bound)
		}
		time.Sleep(interceptors.MaxStateAge + 1)
		m.live.Open(interceptors.BreakerRecord{Method: method, Left: time.Minute})
		m.live.Restore(opened(time.Minute, 1))
		if got := m.live.State(); len(got.Breakers) != 1 {
			t.Fatalf("%d breakers: what is too old takes up room", len(got.Breakers))
		}
	})
}

func TestChangesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := withMemory(t, interceptors.State{}, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		trip(t, s, 8)
		left := rest(t, s)
		time.Sleep(left)
		_ = call(s, play(step{}))
		const closed, half, open = observe.BreakerClosed, observe.BreakerHalfOpen, observe.BreakerOpen
		want := []interceptors.Change{
			{Method: method, From: closed, To: open, Left: left, Openings: 1},
			{Method: method, From: open, To: half},
			{Method: method, From: half, To: closed},
		}
		if !slices.Equal(m.changes, want) {
			t.Errorf("got %+v, want %+v", m.changes, want)
		}
	})
}

// TestRestorationIsObserved, in line and through a queue, without a call's
// context.
func TestRestorationIsObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick, queued := &events{}, &events{}
		s, m := withMemory(t, opened(time.Minute, 1), interceptors.WithObserver(inline{quick}, queued))
		rest(t, s)
		_ = s.UnaryClientInterceptor()(context.Background(), "/x.Y/Z", nil, nil, nil, play(step{}).invoke)
		m.live.Open(interceptors.BreakerRecord{Method: "/x.Y/Z", Left: time.Minute})
		synctest.Wait()
		for _, o := range []*events{quick, queued} {
			var reasons []string
			for _, e := range o.all {
				if e.Kind == observe.BreakerChange {
					reasons = append(reasons, e.From.String()+" "+e.To.String()+" "+e.Reason.String())
				}
			}
			if !slices.Equal(reasons, []string{"closed open restored", "closed open fleet"}) {
				t.Errorf("got %v", reasons)
			}
		}
	})
}

func TestFleetOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{MaxOpenFor: 20 * time.Second}))
		report := interceptors.BreakerRecord{Method: method, Left: 10 * time.Second, Openings: 3}

		s, m := withMemory(t, interceptors.State{}, policy)
		_ = call(s, play(step{}))
		m.live.Open(report)
		if got := rest(t, s); got != 10*time.Second {
			t.Fatalf("open for %v, want 10 s", got)
		}
		if got := m.live.State().Breakers; len(got) != 1 || got[0].Openings != 3 {
			t.Errorf("keeps %+v", got)
		}
		if c := m.changes; len(c) != 1 || !c[0].Remote || c[0].Left != 10*time.Second || c[0].Openings != 3 {
			t.Errorf("changes %+v, want a remote one", c)
		}
		m.live.Open(interceptors.BreakerRecord{Method: method, Left: time.Hour})
		time.Sleep(10 * time.Second)
		if err := call(s, play(step{})); err != nil {
			t.Fatalf("no probe after what was reported first: %v", err)
		}
		m.live.Open(interceptors.BreakerRecord{Method: method, Left: time.Hour})
		if got := rest(t, s); got != 20*time.Second {
			t.Errorf("open for %v, want the policy's 20 s", got)
		}

		// Of a method not called yet.
		s, m = withMemory(t, interceptors.State{}, policy)
		m.live.Open(report)
		m.live.Hint(report)
		if got := m.live.State(); len(got.Breakers) != 0 {
			t.Errorf("keeps %+v, which others have found", got)
		}
		time.Sleep(4 * time.Second)
		if got := rest(t, s); got != 6*time.Second {
			t.Fatalf("open for %v, want 6 s", got)
		}
		s, m = withMemory(t, interceptors.State{}, policy)
		m.live.Open(report)
		time.Sleep(10 * time.Second)
		for range 6 { // closed, for it is over
			wantCode(t, call(s, play(fails(codes.Unavailable))), codes.Unavailable)
		}

		off, m := withMemory(t, interceptors.State{}, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Disabled: true})))
		_ = call(off, play(step{}))
		m.live.Open(report)
		m.live.Hint(report)
		if refused(off, play(step{})) || len(m.changes) != 0 {
			t.Error("a breaker that is off was opened")
		}
		_ = s.Close()
		m.live.Open(report)
	})
}

func TestFleetAdvises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{}))
		report := interceptors.BreakerRecord{Method: method, Left: 10 * time.Second}
		down := play(fails(codes.Unavailable))

		for _, called := range []bool{true, false} {
			s, m := withMemory(t, interceptors.State{}, policy)
			if called {
				_ = call(s, play(step{}))
			}
			m.live.Hint(report)
			wantCode(t, call(s, down), codes.Unavailable)
			rest(t, s)

			s, m = withMemory(t, interceptors.State{}, policy)
			m.live.Hint(report)
			_ = call(s, play(step{}))
			for range 6 {
				_ = call(s, down)
			}
			if refused(s, down) {
				t.Error("a success did not take the advice back")
			}
		}
		s, m := withMemory(t, interceptors.State{}, policy)
		m.live.Hint(report)
		time.Sleep(10 * time.Second)
		_ = call(s, down)
		if refused(s, down) {
			t.Error("advice holds for longer than it was given")
		}
		s, m = withMemory(t, interceptors.State{}, policy)
		m.live.Hint(report)
		m.live.Restore(opened(time.Minute, 1))
		m.live.Hint(report)
		if got := rest(t, s); got != time.Minute {
			t.Errorf("open for %v: advice hides what was restored", got)
		}
	})
}

// TestRestoredForUseOnly: what is in use is not replaced.
func TestRestoredForUseOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := withMemory(t, interceptors.State{}, interceptors.WithPolicy(interceptors.Policy{Budget: interceptors.Budget{Burst: 10, MinPerSecond: 1}}))
		_ = call(s, play(fails(codes.Unavailable).instead("0"), step{}))
		st := opened(time.Minute, 1)
		st.Budgets = []interceptors.BudgetRecord{{Ratio: 0.2, MinPerSecond: 1, Burst: 10}}
		m.live.Restore(st)
		if err := call(s, play(step{})); err != nil {
			t.Error(err)
		}
		if got := m.live.State(); len(got.Breakers) != 0 || len(got.Budgets) != 1 || got.Budgets[0].Tokens < 9 {
			t.Errorf("%+v, want a budget that holds more than 9", got)
		}
	})
}

func TestStoresAreClosed(t *testing.T) {
	first, second := &memory{fails: errors.New("disk full")}, &memory{}
	s := mustNew(t, interceptors.WithStore(first), interceptors.WithStore(second))
	for range 2 {
		if err := s.Close(); !errors.Is(err, first.fails) {
			t.Errorf("%v, want %v", err, first.fails)
		}
	}
	if second.closed == 0 {
		t.Error("a fault of one store kept the other open")
	}
	second.live.Open(interceptors.BreakerRecord{Method: method, Left: time.Hour})
	if refused(s, play(step{})) {
		t.Error("opened after Close")
	}
}

func mustNew(t *testing.T, opts ...interceptors.Option) *interceptors.Suite {
	t.Helper()
	s, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStoreFaults(t *testing.T) {
	used, first := &memory{refuses: errors.New("in use")}, &memory{}
	_, err := interceptors.New(interceptors.WithStore(first), interceptors.WithStore(used))
	if !errors.Is(err, used.refuses) || first.closed == 0 || used.closed != 0 {
		t.Errorf("%v, want %v; the first was closed %d times, the one that refuses %d", err, used.refuses, first.closed, used.closed)
	}
	_, err = interceptors.New(interceptors.WithStore(nil), interceptors.WithPolicy(interceptors.Policy{Timeout: -1}))
	wantFault(t, err, "store: must not be nil")
	wantFault(t, err, "Timeout")

	s := newSuite(t)
	wantFault(t, s.Reload(interceptors.WithStore(first)), "reload: an option is not one of policies or balancing")
}

// TestStateUnderLoad is for the race detector.
func TestStateUnderLoad(t *testing.T) {
	s, m := withMemory(t, opened(time.Millisecond, 1), interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Consecutive: 1, OpenFor: time.Millisecond})))
	var wg sync.WaitGroup
	for i := range 4 {
		down := i%2 == 0
		wg.Go(func() {
			for range 2000 {
				if down {
					_ = call(s, play(fails(codes.Unavailable)))
				} else {
					_ = call(s, play(step{}))
				}
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			m.live.Open(interceptors.BreakerRecord{Method: method, Left: time.Millisecond})
			m.live.Hint(interceptors.BreakerRecord{Method: method, Left: time.Millisecond})
			for _, b := range m.live.State().Breakers {
				if b.Method != method || b.Left > 2*time.Minute || b.Openings < 1 {
					t.Errorf("%+v", b)
				}
			}
			if err := s.Reload(interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{Consecutive: 1, OpenFor: time.Millisecond}))); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
}

func TestStoreCostsNothing(t *testing.T) {
	s, _ := withMemory(t, interceptors.State{})
	intercept, sc := s.UnaryClientInterceptor(), noop
	if n := testing.AllocsPerRun(1000, func() {
		_ = intercept(context.Background(), method, nil, nil, nil, sc)
	}); n >= 1 && !raceEnabled {
		t.Errorf("%v allocations a call, want none", n)
	}
}

func BenchmarkUnarySuccessStore(b *testing.B) {
	s, _ := withMemory(b, interceptors.State{})
	call := s.UnaryClientInterceptor()
	b.ReportAllocs()
	for b.Loop() {
		_ = call(context.Background(), benchMethod, nil, nil, nil, noop)
	}
}

// TestBackendsWithoutSense are not restored, and not passed on.
func TestBackendsWithoutSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 513)
		out := func(target, backend string, age time.Duration) interceptors.BackendRecord {
			return interceptors.BackendRecord{Target: target, Backend: backend, Left: time.Hour, Openings: 1, Age: age}
		}
		sound := []interceptors.BackendRecord{
			out("a", "10.0.0.1:1", 0), out(long[:512], "10.0.0.1:2", 0), out("a", long[:512], 0), out("a", "10.0.0.1:3", interceptors.MaxStateAge),
		}
		_, m := withMemory(t, interceptors.State{Backends: append([]interceptors.BackendRecord{
			out("a", "10.0.0.1:4", -1), out("a", "10.0.0.1:5", interceptors.MaxStateAge+1), out(long, "10.0.0.1:6", 0), out("a", long, 0),
		}, sound...)}, interceptors.WithBalancing(interceptors.Balancing{}))
		got := m.live.State().Backends
		byName := func(a, b interceptors.BackendRecord) int {
			return cmp.Or(cmp.Compare(a.Backend, b.Backend), cmp.Compare(a.Target, b.Target))
		}
		slices.SortFunc(got, byName)
		slices.SortFunc(sound, byName)
		if !slices.Equal(got, sound) {
			t.Errorf("%+v, want %+v", got, sound)
		}
	})
}

// TestRecordsAtTheirBounds: names of 512 bytes are kept, longer ones are not; of a
// target whose budgets are full there is nothing to say.
func TestRecordsAtTheirBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 513)
		_, m := withMemory(t, interceptors.State{
			Breakers: []interceptors.BreakerRecord{
				{Target: long[:512], Left: time.Hour}, {Method: long[:512], Left: time.Hour, Age: interceptors.MaxStateAge},
				{Target: long, Left: time.Hour}, {Method: long, Left: time.Hour}, {Target: "a", Left: time.Hour, Age: interceptors.MaxStateAge + 1},
			},
			Budgets: []interceptors.BudgetRecord{
				{Target: long[:512], Burst: 10}, {Target: "old", Burst: 10, Age: interceptors.MaxStateAge},
				{Target: long, Burst: 10}, {Target: "full", Burst: 10, Tokens: 10}, {Target: "a", Burst: 10, Age: interceptors.MaxStateAge + 1},
			},
		})
		st := m.live.State()
		if len(st.Breakers) != 2 || len(st.Budgets) != 2 {
			t.Errorf("%d breakers and %d budgets kept, want two and two: %.300v", len(st.Breakers), len(st.Budgets), st)
		}
	})
}

// TestBudgetRestoredLate has what it earned since, and no more.
func TestBudgetRestoredLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := interceptors.Budget{Burst: 10, MinPerSecond: 0.1}
		s, m := withMemory(t, interceptors.State{}, quiet(), interceptors.WithPolicy(interceptors.Policy{
			Retry: interceptors.Retry{Backoff: noJitter}, Breaker: interceptors.Breaker{Disabled: true}, Budget: b}))
		_ = one(s, method, play(fails(codes.Unavailable)))
		record := m.live.State().Budgets[0]
		record.Target, record.Tokens = "passthrough:///a", 0
		time.Sleep(time.Hour)
		m.live.Restore(interceptors.State{Budgets: []interceptors.BudgetRecord{record}})
		time.Sleep(10 * time.Second)
		sc := play(fails(codes.Unavailable))
		_ = on(s, to(t, "passthrough:///a"), sc)
		wantAttempts(t, sc, 2) // one token in ten seconds
	})
}

// TestRestorationIsReportedOnce, and by no later reload.
func TestRestorationIsReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := &hedgeEvents{}
		s, _ := withMemory(t, opened(time.Hour, 1), quiet(), interceptors.WithObserver(events))
		rest(t, s)
		for range 2 {
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
		}
		rest(t, s)
		if n := events.count(observe.BreakerChange); n != 1 {
			t.Errorf("%d changes reported of one", n)
		}
	})
}

// TestNoChangeIsNoneReported: another instance may say what is known.
func TestNoChangeIsNoneReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := withMemory(t, interceptors.State{}, quiet())
		_ = call(s, play(step{}))
		for range 3 {
			m.live.Open(interceptors.BreakerRecord{Method: method, Left: time.Minute, Openings: 1})
		}
		if n := len(m.changes); n != 1 {
			t.Errorf("%d changes reported of one: %+v", n, m.changes)
		}
	})
}

// panicking is a store whose methods panic once it is attached.
type panicking struct{}

func (panicking) Attach(interceptors.StoreHandle) error { return nil }
func (panicking) Changed(interceptors.Change)           { panic("no change") }
func (panicking) Close() error                          { panic("no end") }

// TestStoreThatPanics: it harms neither calls nor the stores beside it, and is
// logged once.
func TestStoreThatPanics(t *testing.T) {
	var log logBuffer
	m := &memory{}
	s, err := interceptors.New(interceptors.WithStore(panicking{}), interceptors.WithStore(m), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	if err != nil {
		t.Fatal(err)
	}
	for range 8 {
		_ = s.UnaryClientInterceptor()(t.Context(), "/a.B/C", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			return status.Error(codes.Internal, "down")
		})
	}
	if err := s.ForceClose("", "/a.B/C", time.Minute); err != nil {
		t.Error(err)
	}
	if len(m.changes) != 2 {
		t.Errorf("the store beside it saw %+v, want an opening and that it was forced", m.changes)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "store interceptors_test.panicking panicked in Close: no end") || m.closed != 1 {
		t.Errorf("Close: %v; the store beside it was closed %d times", err, m.closed)
	}
	if got := log.String(); strings.Count(got, "store panicked") != 1 || !strings.Contains(got, "no change") {
		t.Errorf("logged %q", got)
	}
}
