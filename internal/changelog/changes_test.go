package changelog

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
)

var (
	opening = observe.Event{Kind: observe.BreakerChange, From: observe.BreakerClosed, To: observe.BreakerOpen, Reason: observe.ReasonConsecutive}
	probing = observe.Event{Kind: observe.BreakerChange, From: observe.BreakerOpen, To: observe.BreakerHalfOpen, Reason: observe.ReasonOpenTimeOver}
)

func debug(to *bytes.Buffer) func() *slog.Logger {
	l := slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return func() *slog.Logger { return l }
}

// Probes, which are many, do not use up what openings need, and what is held back
// is reported.
func TestProbesAreSampledApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := NewChanges(debug(&log), "", 1, 2)
		for range 10 {
			if c.Wants(probing) {
				c.Log(t.Context(), "/s.S/M", "x", probing)
			}
		}
		if !c.Wants(opening) {
			t.Fatal("there is no room for an opening")
		}
		c.Log(t.Context(), "/s.S/M", "x", opening)
		time.Sleep(time.Second)
		if !c.Wants(probing) {
			t.Fatal("there is no room for a probe after a second")
		}
		c.Log(t.Context(), "/s.S/M", "x", probing)
		if n := strings.Count(log.String(), "\n"); n != 4 || !strings.HasSuffix(log.String(), " dropped=8\n") {
			t.Errorf("%d records, want 4, the last with dropped=8:\n%s", n, &log)
		}
	})
}

// Other events are not for this log.
func TestOnlyChanges(t *testing.T) {
	var log bytes.Buffer
	c := NewChanges(debug(&log), "", 1, 20)
	for k := observe.KindUnknown; k.String() != "invalid"; k++ {
		e := observe.Event{Kind: k}
		if want := k == observe.BreakerChange || k == observe.BackendChange || k == observe.BudgetEmpty || k == observe.BudgetRecovered; c.Wants(e) != want {
			t.Errorf("%v: wanted %v", k, !want)
		} else if !want {
			c.Log(t.Context(), "", "", e)
		}
	}
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
}

// A budget's records have the code that is not retried, and how long it was empty.
func TestBudgets(t *testing.T) {
	var log bytes.Buffer
	c := NewChanges(debug(&log), "", 1, 20)
	c.Log(t.Context(), "/s.S/M", "dns:///x", observe.Event{Kind: observe.BudgetEmpty, Code: codes.Unavailable})
	c.Log(t.Context(), "/s.S/M", "dns:///x", observe.Event{Kind: observe.BudgetRecovered, Delay: time.Minute})
	for _, want := range []string{
		`level=WARN msg="retry budget empty: failed calls are not retried" method=/s.S/M target=dns:///x code=UNAVAILABLE` + "\n",
		`level=INFO msg="retry budget recovered" method=/s.S/M target=dns:///x empty_for=1m0s` + "\n",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("logged %s, want %s", &log, want)
		}
	}
}

// A backend's records name it.
func TestBackends(t *testing.T) {
	var log bytes.Buffer
	c := NewChanges(debug(&log), "", 1, 20)
	c.Log(t.Context(), "/s.S/M", "dns:///x", observe.Event{Kind: observe.BackendChange, Backend: "10.0.0.1:80", To: observe.BreakerOpen, Reason: observe.ReasonFailureRate})
	if want := `level=WARN msg="backend ejected" method=/s.S/M target=dns:///x backend=10.0.0.1:80 from=closed to=open reason=failure_rate` + "\n"; !strings.HasSuffix(log.String(), want) {
		t.Errorf("logged %s, want %s", &log, want)
	}
}

// Names come from outside.
func TestNamesAreFit(t *testing.T) {
	var log bytes.Buffer
	c := NewChanges(debug(&log), "", 1, 2)
	c.Log(t.Context(), "/s.S/\xff"+strings.Repeat("x", 4096), "\xfe", opening)
	if !utf8.Valid(log.Bytes()) || log.Len() > 1024 {
		t.Errorf("logged %d bytes: %q", log.Len(), log.String())
	}
}

// panicking is a handler with a bug.
type panicking struct{ slog.Handler }

func (panicking) Enabled(context.Context, slog.Level) bool { return true }
func (panicking) Handle(context.Context, slog.Record) error {
	panic("a bug")
}

func TestQueueSurvivesItsHandler(*testing.T) {
	to := slog.New(panicking{})
	q := NewQueue(NewChanges(func() *slog.Logger { return to }, "", 0, 0))
	q.Add("/s.S/M", "x", opening)
	q.Add("/s.S/M", "x", opening)
	q.Wait(time.Minute)
}

// blocking is a handler that waits.
type blocking struct {
	slog.Handler
	free chan struct{}
}

func (blocking) Enabled(context.Context, slog.Level) bool { return true }
func (b blocking) Handle(context.Context, slog.Record) error {
	<-b.free
	return nil
}

// left returns how many records wait, and whether the goroutine runs.
func (q *Queue) left() (n int, runs bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting), q.idle != nil
}

// A handler that is stuck holds up neither who adds nor, for long, who waits; and
// what waits for it is bounded.
func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		to := slog.New(blocking{free: free})
		q := NewQueue(NewChanges(func() *slog.Logger { return to }, "", 1e6, 1e6))
		var adding sync.WaitGroup
		for range 4 {
			adding.Go(func() {
				for range 1000 {
					q.Add("/s.S/M", "x", opening)
				}
			})
		}
		adding.Wait()
		if n, _ := q.left(); n > queueLength {
			t.Errorf("%d records wait, want %d at most", n, queueLength)
		}
		began := time.Now()
		q.Wait(3 * time.Second)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("waited for %v, want 3 s", took)
		}
		close(free)
		q.Wait(time.Hour)
		if n, runs := q.left(); runs || n > 0 {
			t.Error("records are left")
		}
	})
}

// A hedge takes the last token before anything has failed.
func TestBudgetEmptiedByAHedge(t *testing.T) {
	var log bytes.Buffer
	c := NewChanges(debug(&log), "", 1, 20)
	c.Log(t.Context(), "/s.S/M", "dns:///x", observe.Event{Kind: observe.BudgetEmpty})
	if !strings.Contains(log.String(), "retry budget empty") || strings.Contains(log.String(), "code=") {
		t.Errorf("logged %s; want no code", &log)
	}
}
