package engine

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/limit"
)

// limited returns a call whose method may have one call at a time, and one in
// the queue.
func limitedCall(t *testing.T) *Call {
	t.Helper()
	c := newCall(t)
	c.Plan.Limit = limit.NewGuard(c.Host.Now(), limit.Config{MaxConcurrent: 1, MaxQueue: 1, MaxWait: time.Hour})
	return c
}

// TestWaitForASlotIsTheDrivers: Admit returns what to wait for, and does not wait.
func TestWaitForASlotIsTheDrivers(t *testing.T) {
	first := limitedCall(t)
	if err := admit(first); err != nil {
		t.Fatal(err)
	}
	second := next(first)
	w, err := second.Admit(nil)
	if err != nil || !w.Needed() {
		t.Fatalf("wait %v, error %v with the slot taken: want a wait", w.Needed(), err)
	}
	if w, err := second.Admit(nil); err != nil || !w.Needed() {
		t.Fatalf("wait %v, error %v when it is woken too early: want a wait", w.Needed(), err)
	}
	if _, err := next(first).Admit(nil); !errors.Is(err, ErrLimited) {
		t.Errorf("%v with the queue full, want ErrLimited", err)
	}
	try(first, nil)
	first.Settle(nil)
	select {
	case <-w.Woken:
	default:
		t.Fatal("the slot is free, and nobody is woken")
	}
	if err := admit(second); err != nil || !second.slot.held {
		t.Errorf("error %v, slot held %v after the wait", err, second.slot.held)
	}
	second.Settle(nil)
	if err := admit(next(first)); err != nil {
		t.Errorf("the slot was not given back: %v", err)
	}
}

// TestQueueIsLeft: by a call whose context ends, and by one that panics, and the
// next in it has its slot.
func TestQueueIsLeft(t *testing.T) {
	for name, leave := range map[string]func(*Call){
		"context ends": func(c *Call) {
			ctx, cancel := context.WithCancel(c.Ctx)
			cancel()
			c.Ctx = ctx
			if w, err := c.Admit(nil); err == nil || w.Needed() {
				t.Errorf("wait %v, error %v for a call that has gone", w.Needed(), err)
			}
		},
		"panic": func(c *Call) { c.Unwind() },
	} {
		first := limitedCall(t)
		_ = admit(first)
		gone := next(first)
		if w, _ := gone.Admit(nil); !w.Needed() {
			t.Fatal("does not wait")
		}
		leave(gone)
		waits := next(first)
		if w, err := waits.Admit(nil); err != nil || !w.Needed() {
			t.Errorf("%s: wait %v, error %v: the queue still has the call that left", name, w.Needed(), err)
		}
		first.Settle(nil)
		if err := admit(waits); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoQueueBeforeAnOpenBreaker: a call that would be refused then does not
// wait for its slot.
func TestNoQueueBeforeAnOpenBreaker(t *testing.T) {
	first := limitedCall(t)
	_ = admit(first)
	for range 2 {
		o := next(first)
		o.Plan.Breaker.Settle(o.Host.Now(), first.token, breaker.Failure, 0)
	}
	if w, err := next(first).Admit(nil); w.Needed() || !errors.Is(err, ErrBreakerOpen) {
		t.Errorf("wait %v, error %v, want ErrBreakerOpen at once", w.Needed(), err)
	}
}
