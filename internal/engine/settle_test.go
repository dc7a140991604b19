package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/limit"
)

// late is a context whose deadline has passed, and whose timer has not run yet.
type late struct {
	context.Context
	deadline time.Time
}

func (l late) Deadline() (time.Time, bool) { return l.deadline, true }

func TestOwnTimeOfAContextThatIsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := func(d time.Duration) context.Context { return late{context.Background(), time.Now().Add(d)} }
		for name, tc := range map[string]struct {
			ctx     context.Context
			attempt time.Duration
			want    time.Duration
		}{
			"nobody has said":       {context.Background(), 0, 0},
			"the attempt's":         {context.Background(), time.Second, time.Second},
			"the caller's":          {ctx(time.Second), 0, time.Second},
			"the caller's is less":  {ctx(time.Second), time.Minute, time.Second},
			"the attempt's is less": {ctx(time.Minute), time.Second, time.Second},
			"none is left":          {ctx(0), time.Second, 0},
			"it has passed":         {ctx(-time.Second), time.Second, 0},
		} {
			c := Call{Host: &Host{}, Policy: &Policy{AttemptTimeout: tc.attempt}, Ctx: tc.ctx}
			if got := c.ownTime(); got != tc.want {
				t.Errorf("%s: %v, want %v", name, got, tc.want)
			}
		}
	})
}

// TestBreakerHearsBeforeTheSlotIsFree: else the call that waits for the slot could
// pass a breaker that this one opens.
func TestBreakerHearsBeforeTheSlotIsFree(t *testing.T) {
	k := newClocked(t)
	k.Plan.Limit = limit.NewGuard(k.now, limit.Config{MaxConcurrent: 1})
	inFlight := -1
	k.Plan.Changed = func(*breaker.Guard, breaker.Transition) { inFlight, _, _, _ = k.Plan.Limit.Level() }
	for k.Plan.Breaker.At(k.now) == breaker.Closed {
		c := k.again(t, 0)
		if err := admit(c); err != nil {
			t.Fatal(err)
		}
		c.Begin(nil)
		c.End(unavailable, Evidence{})
		c.Settle(unavailable)
	}
	if inFlight != 1 {
		t.Errorf("%d slots taken when the breaker opened, want that of the call", inFlight)
	}
	if n, _, _, _ := k.Plan.Limit.Level(); n != 0 {
		t.Errorf("%d slots taken in the end", n)
	}
}
