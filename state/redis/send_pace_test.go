package astraredis

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// TestReportsArePaced: a breaker whose probes fail ten times a second is
// reported at once, then no more often than others need to know that it holds.
func TestReportsArePaced(t *testing.T) {
	for _, tc := range []struct {
		open        time.Duration
		least, most int // reports in ten seconds
	}{
		{time.Millisecond, 30, 41},
		{time.Second, 18, 21},
		{time.Minute, 9, 11},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(nil, settings{instance: "a"})
			reports, holds := 0, time.Now().Add(tc.open)
			send := func() {
				for o, _, ok := s.unsent(false); ok; o, _, ok = s.unsent(false) {
					if tc.open >= time.Second && time.Now().After(holds) {
						t.Errorf("open for %v: others believe that it is over", tc.open)
					}
					reports, holds = reports+1, o.until
					s.settle(o)
				}
			}
			for range 100 {
				s.Changed(interceptors.Change{Method: method, To: observe.BreakerOpen, Left: tc.open})
				send()
				time.Sleep(100 * time.Millisecond)
			}
			if reports < tc.least || reports > tc.most {
				t.Errorf("open for %v: %d reports, want %d to %d", tc.open, reports, tc.least, tc.most)
			}
		})
	}
}

// TestWaitingReports: another breaker's report does not wait, nor does anything
// when the store is closed, or Redis is back.
func TestWaitingReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(nil, settings{instance: "a"})
		opens := func(method string) {
			s.Changed(interceptors.Change{Method: method, To: observe.BreakerOpen, Left: time.Minute})
		}
		opens(method)
		o, _, ok := s.unsent(false)
		if !ok {
			t.Fatal("the first report waits")
		}
		opens(method) // while the first is on its way
		s.settle(o)
		if _, wait, ok := s.unsent(false); ok || wait != maxQuiet {
			t.Errorf("the second waits %v (not: %v), want %v", wait, ok, maxQuiet)
		}
		if o, _, ok := s.unsent(true); !ok || o.Method != method {
			t.Error("Close does not report what waits")
		}
		opens("/x.Y/Other")
		if o, _, ok := s.unsent(false); !ok || o.Method != "/x.Y/Other" {
			t.Error("another breaker's report waits")
		} else {
			s.settle(o)
		}
		s.again()
		for range 2 {
			o, _, ok := s.unsent(false)
			if !ok {
				t.Fatal("what Redis may have lost waits")
			}
			s.settle(o)
		}
		if _, wait, ok := s.unsent(true); ok || wait != 0 {
			t.Errorf("all is reported, and something waits %v", wait)
		}
	})
}
