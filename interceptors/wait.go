package interceptors

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/limit"
)

// wait waits for d, or until ctx ends. What is shorter than a timer can keep is
// not waited for.
func wait(ctx context.Context, d time.Duration) {
	if d < time.Microsecond {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// admit has a call admitted, and waits for its slot.
func admit(c *engine.Call, cc *grpc.ClientConn) error {
	for {
		w, err := c.Admit(channel{cc})
		if err != nil || !w.Needed() {
			return err
		}
		waitForSlot(c, w)
	}
}

func waitForSlot(c *engine.Call, w engine.Wait) {
	var alarm <-chan time.Time
	if w.Until < limit.Forever {
		t := time.NewTimer(w.Until - c.Host.Now())
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-w.Woken:
	case <-alarm:
	case <-c.Ctx.Done():
	}
}
