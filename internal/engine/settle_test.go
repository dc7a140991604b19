package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
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
