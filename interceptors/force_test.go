package interceptors_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// note is an observer and a store that remember.
type steeringLog struct {
	mu      sync.Mutex
	events  []observe.SuiteEvent
	changes []observe.Event
	stored  []interceptors.Change
	live    interceptors.StoreHandle
}

func (l *steeringLog) SuiteEvent(e observe.SuiteEvent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *steeringLog) Attach(live interceptors.StoreHandle) error { l.live = live; return nil }
func (l *steeringLog) Close() error                               { return nil }
func (l *steeringLog) Changed(c interceptors.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stored = append(l.stored, c)
}

type steeringObserver struct{ *steeringLog }

func (o steeringObserver) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: func(_ context.Context, e observe.Event) {
		if e.Kind == observe.BreakerChange {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.changes = append(o.changes, e)
		}
	}}
}

func TestForceOpenAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log steeringLog
		var lines logBuffer
		s := newSuite(t, interceptors.WithObserver(steeringObserver{&log}), interceptors.WithStore(&log),
			interceptors.WithLogger(slog.New(slog.NewTextHandler(&lines, nil))))
		good := play(step{})
		if err := call(s, good); err != nil {
			t.Fatal(err)
		}
		if err := s.ForceOpen("", method, time.Minute); err != nil {
			t.Fatal(err)
		}
		for range 1000 { // which would earn a probe
			if !refused(s, good) {
				t.Fatal("a call passed")
			}
			time.Sleep(10 * time.Millisecond)
		}
		synctest.Wait() // goroutines of the suite log and store
		b := theMethod(t, s).Breaker
		if b.State != "open" || b.Forced != "open" || b.Why != "by_hand" || !b.ForcedUntil.Equal(b.NextProbe) || b.Refused != 1000 {
			t.Errorf("%+v, want it forced open", b)
		}
		if len(log.changes) != 1 || log.changes[0].Reason != observe.ReasonByHand || log.changes[0].To != observe.BreakerOpen {
			t.Errorf("observers got %+v", log.changes)
		}
		if len(log.stored) != 1 || !log.stored[0].ByHand || log.stored[0].Forced != "open" || log.stored[0].Left != time.Minute {
			t.Errorf("stores got %+v", log.stored)
		}
		if len(log.events) != 1 || log.events[0].Kind != observe.Steered || log.events[0].Result != observe.ResultSuccess {
			t.Errorf("observers got %+v", log.events)
		}
		if !strings.Contains(lines.String(), "action=force_open") {
			t.Errorf("logged %q", &lines)
		}
		if st := s.Snapshot().Steered; len(st) != 1 || st[0].Action != "force_open" || st[0].For != interceptors.Seconds(time.Minute) {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Minute)
		if err := call(s, good); err != nil { // the probe
			t.Fatalf("after its time: %v", err)
		}
		if b := theMethod(t, s).Breaker; b.State != "closed" || b.Forced != "" {
			t.Errorf("%+v after a good probe", b)
		}
	})
}

func TestForceCloseAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		_ = trip(t, s, 8)
		if err := s.ForceClose("", method, time.Minute); err != nil {
			t.Fatal(err)
		}
		down := play(fails(codes.Unavailable))
		for range 100 {
			if refused(s, down) {
				t.Fatal("refused while held closed")
			}
		}
		if b := theMethod(t, s).Breaker; b.State != "closed" || b.Forced != "closed" || time.Until(b.ForcedUntil) != time.Minute {
			t.Errorf("%+v, want it forced closed", b)
		}
		time.Sleep(time.Minute)
		for i := range 7 { // it counts anew
			if refused(s, down) {
				t.Fatalf("refused after %d failures", i)
			}
		}
		if !refused(s, down) {
			t.Error("it does not open any more")
		}
	})
}

func TestRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{})))
		_ = trip(t, s, 8)
		down, good := play(fails(codes.Unavailable)), play(step{})
		if err := s.Release("", method); err != nil { // lets one probe pass
			t.Fatal(err)
		}
		if refused(s, down) || !refused(s, good) {
			t.Error("want one probe")
		}
		for _, force := range []func(string, string, time.Duration) error{s.ForceClose, s.ForceOpen} {
			if err := force("", method, time.Hour); err != nil {
				t.Fatal(err)
			}
			if err := s.Release("", method); err != nil {
				t.Fatal(err)
			}
			if b := theMethod(t, s).Breaker; b.Forced != "" || b.State == "open" {
				t.Errorf("%+v after Release", b)
			}
			if refused(s, good) {
				t.Error("refused after Release")
			}
		}
	})
}

func TestForceErrors(t *testing.T) {
	s := newSuite(t, interceptors.WithMethodPolicy("/s.S/Off", interceptors.Policy{Breaker: interceptors.Breaker{Disabled: true}}))
	_ = call(s, play(step{}))
	_ = s.UnaryClientInterceptor()(t.Context(), "/s.S/Off", nil, nil, nil, play(step{}).invoke)
	for want, err := range map[string]error{
		"duration 0s is out of range: want from 1ms to 24h0m0s":            s.ForceOpen("", method, 0),
		"duration 25h0m0s is out of range":                                 s.ForceClose("", method, 25*time.Hour),
		"is not in use: want a target and method listed by Suite.Snapshot": s.ForceOpen("", "/s.S/Typo", time.Minute),
		"release of /s.S/Off on : its policy (/s.S/Off) ha":                s.Release("", "/s.S/Off"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if st := s.Snapshot().Steered; len(st) != 4 || st[0].Error == "" {
		t.Errorf("%+v, want four that failed", st)
	}
	_ = s.Close()
	if err := s.ForceOpen("", method, time.Minute); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("%v after Close", err)
	}
}

// TestForceOutlivesTheSuite, by what a store keeps, and no longer than it was to
// last.
func TestForceOutlivesTheSuite(t *testing.T) {
	for _, forced := range []string{"open", "closed"} {
		synctest.Test(t, func(t *testing.T) {
			var log steeringLog
			s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{MaxOpenFor: time.Second})), interceptors.WithStore(&log))
			_ = call(s, play(step{}))
			force := s.ForceOpen
			if forced == "closed" {
				force = s.ForceClose
			}
			if err := force("", method, time.Hour); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			st := log.live.State()
			if len(st.Breakers) != 1 || st.Breakers[0].Forced != forced || st.Breakers[0].Left != 50*time.Minute {
				t.Fatalf("%+v to be kept, want it forced %s for 50 minutes", st.Breakers, forced)
			}
			var next steeringLog
			again := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{MaxOpenFor: time.Second})), interceptors.WithStore(&next))
			next.live.Restore(st)
			if kept := next.live.State(); len(kept.Breakers) != 1 || kept.Breakers[0].Forced != forced {
				t.Errorf("%+v before the first call", kept)
			}
			down := play(fails(codes.Unavailable))
			for range 10 {
				if got := refused(again, down); got != (forced == "open") {
					t.Fatalf("refused %v", got)
				}
			}
			if b := theMethod(t, again).Breaker; b.Forced != forced || time.Until(b.ForcedUntil) != 50*time.Minute {
				t.Errorf("%+v", b)
			}
			time.Sleep(50 * time.Minute)
			if b := theMethod(t, again).Breaker; b.Forced != "" {
				t.Errorf("%+v after its time", b)
			}
			if refused(again, play(step{})) {
				t.Error("refused after its time")
			}
		})
	}
}

// TestObserveModeRefusesNobody, and shows what it would have done.
func TestObserveModeRefusesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{
			Retry:   interceptors.Retry{MaxAttempts: 2},
			Breaker: interceptors.Breaker{Mode: interceptors.ModeObserve},
		}))
		down := play(fails(codes.Unavailable))
		for range 20 {
			before := down.attempts()
			if err := call(s, down); errors.Is(err, interceptors.ErrBreakerOpen) {
				t.Fatal("refused")
			}
			if got := down.attempts() - before; got != 2 {
				t.Fatalf("%d attempts while it is observed, want 2", got)
			}
		}
		b := theMethod(t, s).Breaker
		if b.Mode != "observe" || b.State == "closed" || b.WouldRefuse == 0 || b.Refused != 0 {
			t.Errorf("%+v, want it not closed, and some that it would have refused", b)
		}
		if err := s.ForceOpen("", method, time.Second); err != nil {
			t.Fatal(err)
		}
		if !refused(s, down) {
			t.Error("what somebody forced open does not refuse")
		}
		time.Sleep(time.Minute)
		for range 3 {
			if err := call(s, play(step{})); err != nil {
				t.Fatal(err)
			}
		}
		if b := theMethod(t, s).Breaker; b.State != "closed" {
			t.Errorf("%+v after the server is back", b)
		}
	})
}

func TestObserveModeOfALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kinds []observe.Event
		var mu sync.Mutex
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Limit: interceptors.Limit{Mode: interceptors.ModeObserve, MaxConcurrent: 1, MaxQueue: 1, MaxWait: time.Hour}}),
			interceptors.WithObserver(eventsOf(func(e observe.Event) {
				mu.Lock()
				defer mu.Unlock()
				if e.Kind == observe.WouldRefuse {
					kinds = append(kinds, e)
				}
			})))
		var wg sync.WaitGroup
		start := time.Now()
		for range 4 {
			wg.Go(func() {
				if err := call(s, play(step{after: time.Second})); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != time.Second {
			t.Errorf("calls took %v, want none to wait", took)
		}
		l := theMethod(t, s).Limit
		if l.Mode != "observe" || l.WouldRefuse != 3 || l.Refused != 0 || l.InFlight != 0 || l.Queued != 0 {
			t.Errorf("%+v, want 3 of 4 that would have waited", l)
		}
		if len(kinds) != 3 || kinds[0].Outcome != observe.RejectedLimit || kinds[0].Reason != observe.ReasonMustWait {
			t.Errorf("%+v", kinds)
		}
		if err := call(s, play(step{})); err != nil {
			t.Fatal(err)
		}
		if l := theMethod(t, s).Limit; l.WouldRefuse != 3 {
			t.Errorf("%+v with the slot free", l)
		}
	})
}

type eventsOf func(observe.Event)

func (f eventsOf) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: func(_ context.Context, e observe.Event) { f(e) }}
}

func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithFallback("/s.S/Saved", func(context.Context, string, any, any, error) error { return nil }))
		var r interceptors.CallReport
		with := interceptors.Attempts(&r)
		if err := call(s, play(step{}), with); err != nil || r != (interceptors.CallReport{Attempts: 1, Outcome: observe.SuccessFirst}) {
			t.Errorf("%v: %+v", err, r)
		}
		if err := call(s, play(fails(codes.Unavailable), step{}), with); err != nil || r.Attempts != 2 || r.Outcome != observe.SuccessAfterRetry || r.Waited == 0 || r.Code != codes.OK {
			t.Errorf("%v: %+v", err, r)
		}
		_ = call(s, play(fails(codes.NotFound)), with)
		if r != (interceptors.CallReport{Attempts: 1, Outcome: observe.Failed, Code: codes.NotFound, Reason: observe.ReasonNotRetryable}) {
			t.Errorf("%+v of one not to be retried", r)
		}
		_ = call(s, play(fails(codes.Unavailable)), with, interceptors.NoRetry())
		if !r.Exhausted || r.Attempts != 1 || r.Reason != observe.ReasonNone {
			t.Errorf("%+v of one whose attempts are used up", r)
		}
		_ = s.UnaryClientInterceptor()(t.Context(), "/s.S/Saved", nil, nil, nil, play(fails(codes.Internal)).invoke, with)
		if r.Outcome != observe.Rescued || r.Code != codes.Internal || r.Attempts != 1 {
			t.Errorf("%+v of one that its fallback saved", r)
		}
		if err := s.ForceOpen("", method, time.Minute); err != nil {
			t.Fatal(err)
		}
		_ = call(s, play(step{}), with)
		if r != (interceptors.CallReport{Outcome: observe.RejectedBreaker, Code: codes.Unavailable, Reason: observe.ReasonBreakerOpen}) {
			t.Errorf("%+v of one refused", r)
		}
	})
}
