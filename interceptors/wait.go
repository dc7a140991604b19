package interceptors

import (
	"context"
	"time"
)

// wait waits for d, or until ctx ends, and returns its error then. What is
// shorter than a timer can keep is not waited for.
func wait(ctx context.Context, d time.Duration) error {
	if d < time.Microsecond {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
