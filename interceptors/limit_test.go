package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// onlyLimit is a policy in which nothing else gets in the way.
func onlyLimit(l interceptors.Limit) interceptors.Policy {
	return interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}, Limit: l}
}

// limits is a suite whose calls have a limit, with what happened to them.
type limits struct {
	t *testing.T
	*interceptors.Suite
	seen     *events
	endpoint observe.Endpoint

	calls sync.WaitGroup
	mu    sync.Mutex
	ended []string // who, in order
}

func newLimits(t *testing.T, p interceptors.Policy) *limits {
	t.Helper()
	l := &limits{t: t, seen: &events{}}
	l.Suite = newSuite(t, interceptors.WithPolicy(p), interceptors.WithObserver(inline{l.seen}, ask(func(e observe.Endpoint) { l.endpoint = e })))
	t.Cleanup(l.calls.Wait)
	return l
}

// start makes a call in the background, and waits until it does too. The
// result is set when the call has ended.
func (l *limits) start(ctx context.Context, name string, sc *script) *error {
	l.t.Helper()
	err := new(error)
	l.calls.Go(func() {
		*err = callWith(ctx, l.Suite, sc)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ended = append(l.ended, name)
	})
	synctest.Wait()
	return err
}

func (l *limits) want(inFlight, queued int) {
	l.t.Helper()
	synctest.Wait()
	s, ok := l.endpoint.LimitState()
	if !ok || s.InFlight != inFlight || s.Queued != queued {
		l.t.Fatalf("%+v, %v; want %d in flight and %d queued", s, ok, inFlight, queued)
	}
}

func (l *limits) reload(p interceptors.Policy) {
	l.t.Helper()
	if err := l.Reload(interceptors.WithPolicy(p)); err != nil {
		l.t.Fatal(err)
	}
}

const anyTime = -1

// wantRefusal checks all that the error of a refused call has.
func wantRefusal(t *testing.T, err error, reason string, after time.Duration) {
	t.Helper()
	if !errors.Is(err, interceptors.ErrLimited) || errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Fatalf("%v, want a refusal by the limit", err)
	}
	wantCode(t, err, codes.ResourceExhausted)
	wantCode(t, fmt.Errorf("wrapped: %w", err), codes.ResourceExhausted)
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != "astra" || d.GetReason() != reason || d.GetMetadata()["method"] != method || d.GetMetadata()["target"] != "" {
				t.Errorf("ErrorInfo %v, want %s", d, reason)
			}
			reason = ""
		case *errdetails.RetryInfo:
			if got := d.GetRetryDelay().AsDuration(); got != after && (after != anyTime || got <= 0) {
				t.Errorf("RetryInfo says %v, want %v", got, after)
			}
			after = 0
		}
	}
	if reason != "" || after != 0 {
		t.Errorf("details are missing: %v", status.Convert(err).Details())
	}
}

var second = play(step{after: time.Second})

func TestLimitQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 2}))
		first, _ := l.start(t.Context(), "a", second), l.start(t.Context(), "b", second)
		sc := play(step{})
		wantRefusal(t, call(l.Suite, sc), "QUEUE_FULL", ms)
		wantAttempts(t, sc, 0)
		time.Sleep(time.Second)
		l.want(0, 0)
		if err := call(l.Suite, sc); err != nil || *first != nil {
			t.Errorf("%v, %v after the slots are free", err, *first)
		}
		l.start(t.Context(), "c", second)
		l.start(t.Context(), "d", second)
		wantRefusal(t, call(l.Suite, sc), "QUEUE_FULL", time.Second) // as it took before
		const want = `call rejected_limit 0 ResourceExhausted exhausted false
`
		if !strings.Contains(l.seen.story(), "limited queue_full\n"+want) {
			t.Errorf("got:\n%s", l.seen.story())
		}
	})
}

func TestLimitQueueTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 1, MaxQueue: 2, MaxWait: 300 * ms}))
		l.start(t.Context(), "a", second)
		sc := play(step{})
		began := time.Now()
		b := l.start(t.Context(), "b", sc)
		time.Sleep(100 * ms)
		c := l.start(t.Context(), "c", sc)
		l.want(1, 2)
		wantRefusal(t, call(l.Suite, sc), "QUEUE_FULL", 300*ms) // those two, at a slot in 100 ms
		time.Sleep(200 * ms)
		synctest.Wait()
		wantRefusal(t, *b, "QUEUE_TIMEOUT", 600*ms)
		l.want(1, 1)
		time.Sleep(100 * ms)
		synctest.Wait()
		wantRefusal(t, *c, "QUEUE_TIMEOUT", 400*ms)
		wantAttempts(t, sc, 0)
		if took := time.Since(began); took != 400*ms {
			t.Errorf("refused after %v", took)
		}
		time.Sleep(600 * ms)
		if err := call(l.Suite, sc); err != nil {
			t.Error(err)
		}
		l.want(0, 0)
		for _, line := range []string{"queued\n", "dequeued 300ms\nlimited queue_timeout\ncall rejected_limit 0 ResourceExhausted"} {
			if !strings.Contains(l.seen.story(), line) {
				t.Errorf("no event %q:\n%s", line, l.seen.story())
			}
		}
	})
}

func TestLimitRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{Rate: 10, Burst: 3}))
		sc := play(step{})
		for range 3 {
			if err := call(l.Suite, sc); err != nil {
				t.Fatal(err)
			}
		}
		wantRefusal(t, call(l.Suite, sc), "RATE_LIMITED", 100*ms)
		time.Sleep(100*ms - 1)
		wantRefusal(t, call(l.Suite, sc), "RATE_LIMITED", 1)
		time.Sleep(1)
		if err := call(l.Suite, sc); err != nil {
			t.Error(err)
		}
		wantAttempts(t, sc, 4)

		l.reload(onlyLimit(interceptors.Limit{Rate: 2.5}))
		time.Sleep(time.Hour)
		for i := range 4 { // a second's, rounded up
			if err := call(l.Suite, sc); (err == nil) != (i < 3) {
				t.Errorf("call %d after an hour: %v", i, err)
			}
		}
	})
}

func TestLimitRateWithQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{Rate: 10, Burst: 1, MaxQueue: 5, MaxWait: 250 * ms}))
		sc := play(step{})
		l.start(t.Context(), "a", sc)
		l.start(t.Context(), "b", sc)
		ctx, cancel := context.WithTimeout(t.Context(), 150*ms)
		defer cancel()
		wantRefusal(t, callWith(ctx, l.Suite, sc), "RATE_LIMITED", 200*ms) // its token comes after its deadline
		l.start(t.Context(), "c", sc)
		l.want(0, 2)
		wantRefusal(t, call(l.Suite, sc), "RATE_LIMITED", 300*ms) // after MaxWait
		time.Sleep(time.Second)
		l.want(0, 0)
		if got := sc.gaps(); !slices.Equal(got, []time.Duration{100 * ms, 100 * ms}) {
			t.Errorf("gaps %v, want a tenth of a second each", got)
		}
		if story := l.seen.story(); strings.Count(story, "dequeued 100ms\nattempt 1 OK") != 1 || strings.Count(story, "dequeued 200ms\nattempt 1 OK") != 1 {
			t.Errorf("got:\n%s", story)
		}
	})
}

// A caller whose context ends while it waits leaves at once, with that error.
func TestLimitContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 1, MaxQueue: 3}))
		l.start(t.Context(), "a", second)
		ctx, cancel := context.WithCancel(t.Context())
		short, done := context.WithTimeout(t.Context(), 100*ms)
		defer done()
		sc := play(step{})
		b, c, d := l.start(ctx, "b", sc), l.start(short, "c", sc), l.start(t.Context(), "d", sc)
		l.want(1, 3)
		cancel()
		l.want(1, 2)
		time.Sleep(100 * ms)
		l.want(1, 1)
		for _, tc := range []struct {
			err  error
			want error
			code codes.Code
		}{{*b, context.Canceled, codes.Canceled}, {*c, context.DeadlineExceeded, codes.DeadlineExceeded}} {
			wantCode(t, tc.err, tc.code)
			if !errors.Is(tc.err, tc.want) || errors.Is(tc.err, interceptors.ErrLimited) {
				t.Errorf("%v, want %v and no refusal", tc.err, tc.want)
			}
		}
		time.Sleep(900 * ms)
		l.want(0, 0)
		wantAttempts(t, sc, 1)
		if *d != nil {
			t.Error(*d)
		}
		if got := strings.Count(l.seen.story(), "call failed 0 "); got != 2 {
			t.Errorf("%d calls reported as failed without an attempt, want 2:\n%s", got, l.seen.story())
		}
	})
}

// quietContext ends without waking anybody.
type quietContext struct {
	context.Context
	over atomic.Bool
}

func (*quietContext) Done() <-chan struct{} { return nil }
func (c *quietContext) Err() error {
	if c.over.Load() {
		return context.Canceled
	}
	return nil
}

// The context ends as the slot comes: slot and token are the next one's.
func TestLimitContextEndsAsTheSlotComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bounds := interceptors.Limit{MaxConcurrent: 1, MaxQueue: 3, Rate: 1, Burst: 3}
		l := newLimits(t, onlyLimit(bounds))
		l.start(t.Context(), "a", second)
		sc, ctx := play(step{}), &quietContext{Context: context.Background()}
		b, c := l.start(ctx, "b", sc), l.start(t.Context(), "c", sc)
		ctx.over.Store(true)
		time.Sleep(time.Second)
		l.want(0, 0)
		wantCode(t, *b, codes.Canceled)
		wantAttempts(t, sc, 1)
		bounds.MaxQueue = 0
		l.reload(onlyLimit(bounds))
		for i := range 3 { // two calls were made, in a second
			if err := call(l.Suite, sc); (err == nil) != (i < 2) || *c != nil {
				t.Errorf("call %d: %v; %v", i, err, *c)
			}
		}
	})
}

// First come, first served; nobody overtakes, though callers come all the time.
func TestLimitIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 3, MaxQueue: 1000}))
		sc := play(step{after: 10 * ms})
		var want []string
		for i := range 200 {
			name := fmt.Sprint(i)
			want = append(want, name)
			l.start(t.Context(), name, sc)
			time.Sleep(ms)
		}
		l.calls.Wait()
		if !slices.Equal(l.ended, want) {
			t.Errorf("ended in the order %v", l.ended)
		}
	})
}

// Timeout bounds the wait, too; AttemptTimeout does not.
func TestTimeoutIncludesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := onlyLimit(interceptors.Limit{MaxConcurrent: 1, MaxQueue: 2})
		p.Timeout, p.AttemptTimeout = 1500*ms, 800*ms
		l := newLimits(t, p)
		slow := play(step{after: 700 * ms})
		a, b, c := l.start(t.Context(), "a", slow), l.start(t.Context(), "b", slow), l.start(t.Context(), "c", slow)
		time.Sleep(1500 * ms)
		synctest.Wait()
		if *a != nil || *b != nil {
			t.Errorf("%v, %v", *a, *b)
		}
		wantCode(t, *c, codes.DeadlineExceeded)
		wantAttempts(t, slow, 3)
		l.want(0, 0)
	})
}

// A call keeps its slot through its retries and backoffs.
func TestRetriesKeepTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := attemptsOf(3)
		p.Limit = interceptors.Limit{MaxConcurrent: 1}
		l := newLimits(t, p)
		a := l.start(t.Context(), "a", play(fails(codes.Unavailable), fails(codes.Unavailable), step{}))
		for range 2 {
			l.want(1, 0)
			wantRefusal(t, call(l.Suite, play(step{})), "QUEUE_FULL", anyTime)
			time.Sleep(700 * ms)
		}
		time.Sleep(100 * ms)
		l.want(0, 0)
		if *a != nil {
			t.Error(*a)
		}
	})
}

// What the breaker would refuse does not wait, and what it refuses after the
// wait leaves neither slot nor token behind.
func TestLimitAndBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := onlyLimit(interceptors.Limit{MaxConcurrent: 2, MaxQueue: 5, Rate: 1e-3, Burst: 4})
		p.Breaker = interceptors.Breaker{Consecutive: 1, OpenFor: time.Minute, ProbeShare: 1e-9}
		l := newLimits(t, p)
		failing := play(step{after: 500 * ms, err: fails(codes.Unavailable).err})
		a, b := l.start(t.Context(), "a", failing), l.start(t.Context(), "b", second)
		c := l.start(t.Context(), "c", play(step{}))
		l.want(2, 1)
		time.Sleep(500 * ms)
		l.want(1, 0)
		time.Sleep(500 * ms)
		l.want(0, 0)
		wantCode(t, *a, codes.Unavailable)
		if *b != nil || !errors.Is(*c, interceptors.ErrBreakerOpen) {
			t.Errorf("%v, %v; want the third refused by the breaker", *b, *c)
		}
		sc := play(step{})
		for range 10 { // those have no token to wait for, and must not
			if !refused(l.Suite, sc) {
				t.Fatal("not refused by the breaker")
			}
		}
		wantAttempts(t, sc, 0)
		l.want(0, 0)
		time.Sleep(90 * time.Second)
		p.Limit.MaxQueue = 0
		l.reload(p)
		for i := range 3 { // of 4 tokens two are left, as the third call was not made
			if err := call(l.Suite, sc); (err == nil) != (i < 2) {
				t.Errorf("call %d: %v", i, err)
			}
		}
		if got := strings.Count(l.seen.story(), "call rejected_breaker 0"); got != 11 {
			t.Errorf("%d calls reported as refused by the breaker, want 11", got)
		}
	})
}

// Of those that come while a probe is out, none waits.
func TestLimitAndProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := onlyLimit(interceptors.Limit{MaxConcurrent: 1, MaxQueue: 5})
		p.Breaker = interceptors.Breaker{Consecutive: 1, OpenFor: time.Second}
		l := newLimits(t, p)
		_ = call(l.Suite, play(fails(codes.Unavailable)))
		time.Sleep(1200 * ms)
		probe := l.start(t.Context(), "probe", second)
		if !refused(l.Suite, play(step{})) {
			t.Error("not refused while the probe is out")
		}
		time.Sleep(time.Second)
		l.want(0, 0)
		if err := call(l.Suite, play(step{})); err != nil || *probe != nil {
			t.Errorf("%v, %v after the probe", err, *probe)
		}
	})
}

// Refusals by the limit are nobody's failure: neither breaker nor budget hears
// of them, and the suite does not retry them.
func TestLimitRefusalsMoveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := attemptsOf(3)
		p.Limit = interceptors.Limit{MaxConcurrent: 1}
		p.Breaker = interceptors.Breaker{Consecutive: 1}
		p.Breaker.Failures = p.Breaker.Failures.With(codes.ResourceExhausted).With(codes.Unavailable)
		l := newLimits(t, p)
		l.start(t.Context(), "a", second)
		before, _ := l.endpoint.BudgetTokens()
		for range 100 {
			if !errors.Is(call(l.Suite, play(step{})), interceptors.ErrLimited) {
				t.Fatal("not refused by the limit")
			}
		}
		after, _ := l.endpoint.BudgetTokens()
		if state, _ := l.endpoint.BreakerState(); state != observe.BreakerClosed || before != after {
			t.Errorf("breaker %v, budget %v then %v", state, before, after)
		}
	})
}

// What panics or exits beneath, and a context that does while the call waits,
// keeps nothing.
func TestLimitSurvivesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 1, MaxQueue: 1}))
		for range 3 {
			ends(func() { _ = call(l.Suite, play(step{do: func(context.Context, any) { panic("beneath") }})) })
			ends(func() { _ = call(l.Suite, play(step{do: func(context.Context, any) { runtime.Goexit() }})) })
		}
		l.want(0, 0)
		l.start(t.Context(), "a", second)
		for range 3 {
			ends(func() { _ = callWith(&faultyContext{Context: t.Context()}, l.Suite, play(step{})) })
		}
		l.want(1, 0)
		time.Sleep(time.Second)
		l.want(0, 0)
		if got := strings.Count(l.seen.story(), "dequeued 0s"); got != 3 {
			t.Errorf("%d ends of waits emitted, want 3:\n%s", got, l.seen.story())
		}
	})
}

// ends runs something that does not return.
func ends(do func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() { _ = recover() }()
		do()
	})
	wg.Wait()
}

// faultyContext panics where it is waited for.
type faultyContext struct{ context.Context }

func (*faultyContext) Done() <-chan struct{} { panic("in the context") }

func TestLimitReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := func(n, queue int) interceptors.Policy {
			return onlyLimit(interceptors.Limit{MaxConcurrent: n, MaxQueue: queue})
		}
		l := newLimits(t, limit(2, 4))
		for i := range 6 {
			l.start(t.Context(), fmt.Sprint(i), play(step{after: 10 * time.Second}))
		}
		l.want(2, 4)
		l.reload(limit(3, 4)) // admits at once
		l.want(3, 3)
		l.reload(limit(1, 0)) // takes nothing from anybody
		l.want(3, 3)
		wantRefusal(t, call(l.Suite, play(step{})), "QUEUE_FULL", anyTime)
		time.Sleep(10 * time.Second) // three end, and one goes
		l.want(1, 2)
		l.reload(limit(2, 2))
		l.want(2, 1)

		l.reload(interceptors.Policy{}) // off: all may go
		if _, ok := l.endpoint.LimitState(); ok {
			t.Error("a limit is shown that is off")
		}
		if err := call(l.Suite, play(step{})); err != nil {
			t.Error(err)
		}
		l.reload(limit(3, 0)) // on again: those three still count
		l.want(3, 0)
		wantRefusal(t, call(l.Suite, play(step{})), "QUEUE_FULL", anyTime)
		time.Sleep(10 * time.Second)
		l.want(0, 0)
	})
}

// While the limit is off, calls that hold slots end without harm to those that
// do not.
func TestLimitOffWhileSlotsAreHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 1}))
		l.start(t.Context(), "counted", second)
		l.reload(interceptors.Policy{})
		l.start(t.Context(), "not counted", play(step{after: 2 * time.Second}))
		time.Sleep(1500 * ms)
		l.reload(onlyLimit(interceptors.Limit{MaxConcurrent: 1}))
		l.want(0, 0)
		l.start(t.Context(), "counted again", second)
		time.Sleep(600 * ms)
		l.want(1, 0)
		time.Sleep(time.Second)
		l.want(0, 0)
	})
}

// Close lets go all that wait; after it nobody is limited.
func TestLimitClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 1, MaxQueue: 5, Rate: 1e-6, Burst: 1}))
		sc := play(step{after: time.Second})
		var errs []*error
		for i := range 5 {
			errs = append(errs, l.start(t.Context(), fmt.Sprint(i), sc))
		}
		l.want(1, 4)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			l.start(t.Context(), "after", sc)
		}
		wantAttempts(t, sc, 10)
		if _, ok := l.endpoint.LimitState(); ok {
			t.Error("a limit is shown after Close")
		}
		l.calls.Wait()
		for _, err := range errs {
			if *err != nil {
				t.Error(*err)
			}
		}
	})
}

// A call's own policy does not change its method's limit.
func TestCallPolicyKeepsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 1}))
		l.start(t.Context(), "a", second)
		for _, p := range []interceptors.Policy{{}, onlyLimit(interceptors.Limit{MaxConcurrent: 5, MaxQueue: 5})} {
			if err := call(l.Suite, play(step{}), interceptors.WithCallPolicy(p)); !errors.Is(err, interceptors.ErrLimited) {
				t.Errorf("%+v: %v", p.Limit, err)
			}
		}
		l.reload(interceptors.Policy{})
		b := new(error)
		l.calls.Go(func() {
			*b = call(l.Suite, second, interceptors.WithCallPolicy(onlyLimit(interceptors.Limit{MaxConcurrent: 1})))
		})
		l.start(t.Context(), "c", second)
		l.calls.Wait()
		if *b != nil {
			t.Error(*b)
		}
	})
}

// A method is not forgotten while its slots are held, or its rate remembers.
func TestLimitIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 1}))
		slow := newLimits(t, onlyLimit(interceptors.Limit{Rate: 1e-5, Burst: 1}))
		l.start(t.Context(), "a", play(step{after: 2 * time.Hour}))
		_ = call(slow.Suite, play(step{}))
		for i := range 6 {
			time.Sleep(11 * time.Minute)
			for _, s := range []*limits{l, slow} { // a look for idle methods
				_ = s.UnaryClientInterceptor()(t.Context(), fmt.Sprint("/a.B/", i), nil, nil, nil, play(step{}).invoke)
			}
		}
		for _, s := range []*limits{l, slow} {
			if err := call(s.Suite, play(step{})); !errors.Is(err, interceptors.ErrLimited) {
				t.Errorf("%v: the limit was forgotten", err)
			}
		}
	})
}

// What an adaptive limit is taught, and what it is not.
func TestLimitAdaptive(t *testing.T) {
	for _, tc := range []struct {
		name    string
		outcome step
		cancel  bool
		timeout time.Duration
		shrinks bool
	}{
		{"as ever", step{after: 10 * ms}, false, time.Second, false},
		{"slow", step{after: 50 * ms}, false, time.Second, true},
		{"not found", step{after: 10 * ms, err: fails(codes.NotFound).err}, false, time.Second, false},
		{"not found, slowly", step{after: 50 * ms, err: fails(codes.NotFound).err}, false, time.Second, true},
		{"unavailable", step{after: 10 * ms, err: fails(codes.Unavailable).err}, false, time.Second, true},
		{"exhausted", step{after: 10 * ms, err: fails(codes.ResourceExhausted).err}, false, time.Second, true},
		{"too late", step{hang: true}, false, time.Second, true},
		{"cancelled", step{hang: true}, true, time.Second, false},
		{"with hardly any time left", step{hang: true}, false, 5 * ms, false},
		{"panicked", step{do: func(context.Context, any) {
			time.Sleep(50 * ms)
			panic("beneath")
		}}, false, time.Second, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := attemptsOf(2)
				p.Budget.Burst, p.Breaker.Disabled = 1, true // of the failures one is retried
				p.Limit = interceptors.Limit{MaxConcurrent: 10, Adaptive: true}
				l := newLimits(t, p)
				many := func(n int, timeout time.Duration, o step) {
					var wg sync.WaitGroup
					for range 10 {
						wg.Go(func() {
							for range n {
								ctx, cancel := context.WithTimeout(t.Context(), timeout)
								if tc.cancel {
									time.AfterFunc(900*ms, cancel)
								}
								ends(func() { _ = callWith(ctx, l.Suite, play(o)) })
								cancel()
							}
						})
					}
					wg.Wait()
				}
				many(100, time.Second, step{after: 10 * ms})
				many(50, tc.timeout, tc.outcome)
				if s, ok := l.endpoint.LimitState(); !ok || (s.Max < 10) != tc.shrinks || s.Max < 2 || s.InFlight != 0 {
					t.Errorf("%+v, want it to shrink: %v", s, tc.shrinks)
				}
			})
		})
	}
}

// Calls that began under a fixed limit do not know how long they took.
func TestLimitBecomesAdaptive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimits(t, onlyLimit(interceptors.Limit{MaxConcurrent: 100}))
		many := func(n int, step step) {
			for range n {
				l.calls.Go(func() { _ = call(l.Suite, play(step)) })
			}
		}
		time.Sleep(time.Hour)
		many(100, step{after: 10 * ms})
		l.want(100, 0)
		l.reload(onlyLimit(interceptors.Limit{MaxConcurrent: 10, Adaptive: true}))
		l.calls.Wait()
		for range 20 {
			many(10, step{after: 10 * ms})
			l.calls.Wait()
		}
		for range 20 {
			many(10, step{after: 50 * ms})
			l.calls.Wait()
		}
		if s, _ := l.endpoint.LimitState(); s.Max == 10 {
			t.Errorf("%+v: it does not see that calls take five times as long", s)
		}
	})
}

// Of a call that is retried, the failed attempts count, its backoff does not.
func TestLimitAdaptiveAndRetries(t *testing.T) {
	for code, shrinks := range map[codes.Code]bool{codes.Unavailable: true, codes.Aborted: false} {
		synctest.Test(t, func(t *testing.T) {
			p := attemptsOf(2)
			p.Retry.Codes = p.Retry.Codes.With(codes.Aborted).With(codes.Unavailable)
			p.Budget.Disabled = true
			p.Limit = interceptors.Limit{MaxConcurrent: 4, Adaptive: true}
			l := newLimits(t, p)
			for range 100 {
				_ = call(l.Suite, play(step{after: 10 * ms}))
			}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 50 {
						_ = call(l.Suite, play(fails(code), step{after: 10 * ms}))
					}
				})
			}
			wg.Wait()
			if s, _ := l.endpoint.LimitState(); (s.Max < 4) != shrinks {
				t.Errorf("%v: limit %d, want it to shrink: %v", code, s.Max, shrinks)
			}
		})
	}
}

// TestNoSlotIsLost: calls that succeed, fail, panic, exit, are cancelled and
// time out, under policies that come and go. Never more are in flight than any
// of the policies allows, never more wait, and in the end all is free.
func TestNoSlotIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		draw := func() interceptors.Limit {
			return interceptors.Limit{
				MaxConcurrent: rapid.IntRange(1, 4).Draw(rt, "MaxConcurrent"),
				MaxQueue:      rapid.IntRange(1, 6).Draw(rt, "MaxQueue"),
				MaxWait:       time.Duration(rapid.IntRange(0, 30).Draw(rt, "MaxWait")) * ms,
				Rate:          float64(rapid.IntRange(0, 300).Draw(rt, "Rate")),
				Adaptive:      rapid.Bool().Draw(rt, "Adaptive"),
			}
		}
		type move struct {
			wait   time.Duration
			reload *interceptors.Limit // nil: a call
			step   step
			cancel time.Duration
		}
		var moves []move
		outcomes := []step{
			{}, fails(codes.Unavailable), {hang: true},
			{do: func(context.Context, any) { panic("beneath") }},
			{do: func(context.Context, any) { runtime.Goexit() }},
		}
		first := draw()
		for range rapid.IntRange(1, 60).Draw(rt, "moves") {
			m := move{wait: time.Duration(rapid.IntRange(0, 5).Draw(rt, "wait")) * ms}
			if rapid.IntRange(0, 9).Draw(rt, "what") == 0 {
				l := draw()
				m.reload = &l
			} else {
				m.step = rapid.SampledFrom(outcomes).Draw(rt, "outcome")
				m.step.after = time.Duration(rapid.IntRange(0, 20).Draw(rt, "after")) * ms
				m.cancel = time.Duration(rapid.IntRange(0, 40).Draw(rt, "cancel")) * ms
			}
			moves = append(moves, m)
		}
		synctest.Test(t, func(t *testing.T) {
			l := newLimits(t, onlyLimit(first))
			_ = call(l.Suite, play(step{}))
			var most, inFlight atomic.Int64
			most.Store(int64(first.MaxConcurrent))
			longest := first.MaxQueue
			var wg sync.WaitGroup
			for _, m := range moves {
				time.Sleep(m.wait)
				if m.reload != nil {
					most.Store(max(most.Load(), int64(m.reload.MaxConcurrent)))
					longest = max(longest, m.reload.MaxQueue)
					l.reload(onlyLimit(*m.reload))
				} else {
					wg.Go(func() {
						ctx, cancel := context.WithCancel(t.Context())
						time.AfterFunc(m.cancel, cancel)
						defer cancel()
						sc := play(m.step)
						defer func() { _ = recover() }()
						_ = l.UnaryClientInterceptor()(ctx, method, nil, nil, nil, func(ctx context.Context, name string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
							if n := inFlight.Add(1); n > most.Load() {
								t.Errorf("%d in flight, want at most %d", n, most.Load())
							}
							defer inFlight.Add(-1)
							return sc.invoke(ctx, name, req, reply, cc, opts...)
						})
					})
				}
				synctest.Wait()
				if s, _ := l.endpoint.LimitState(); s.Queued > longest || int64(s.InFlight) != inFlight.Load() {
					t.Errorf("%+v with %d in flight; want at most %d to wait", s, inFlight.Load(), longest)
				}
			}
			wg.Wait()
			l.want(0, 0)
			l.reload(onlyLimit(interceptors.Limit{MaxConcurrent: 3}))
			for range 3 {
				l.start(t.Context(), "", second)
			}
			l.want(3, 0)
		})
	})
}

func TestLimitDoesNotAllocate(t *testing.T) {
	for name, l := range map[string]interceptors.Limit{
		"concurrency": {MaxConcurrent: 100, MaxQueue: 10},
		"rate":        {Rate: 1e9, MaxQueue: 10},
		"adaptive":    {MaxConcurrent: 100, MaxQueue: 10, Adaptive: true},
	} {
		interceptor := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Limit: l})).UnaryClientInterceptor()
		if n := testing.AllocsPerRun(1000, func() {
			_ = interceptor(context.Background(), method, nil, nil, nil, noop)
		}); n >= 1 && !raceEnabled {
			t.Errorf("%s: %v allocations a call", name, n)
		}
	}
}

func BenchmarkUnaryLimited(b *testing.B) {
	for _, bm := range []struct {
		name  string
		limit interceptors.Limit
	}{
		{"none", interceptors.Limit{}},
		{"concurrency", interceptors.Limit{MaxConcurrent: 100, MaxQueue: 10}},
		{"rate", interceptors.Limit{Rate: 1e9, MaxQueue: 10}},
		{"adaptive", interceptors.Limit{MaxConcurrent: 100, MaxQueue: 10, Adaptive: true}},
	} {
		call := benchSuite(b, interceptors.WithPolicy(interceptors.Policy{Limit: bm.limit}))
		once := func() { _ = call(context.Background(), benchMethod, nil, nil, nil, noop) }
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
		b.Run(bm.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					once()
				}
			})
		})
	}
}
