package retry

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/jitter"
)

// After a server's pushback, and after a message was delivered, the schedule starts
// over as if there had been no delay before: aws-decorrelated, whose delays follow
// from the last, tells.
func TestStartsOverWithoutALastDelay(t *testing.T) {
	p := &Policy{MaxAttempts: 100, Codes: astracodes.Retryable, Backoff: jitter.Backoff{Base: 100 * time.Millisecond, Jitter: jitter.AWSDecorrelated}}
	fails := failure.Failure{Code: codes.Unavailable, Remaining: failure.Forever}
	pushed := fails
	pushed.Pushback = failure.ParsePushback([]string{"7"})
	var l Loop
	next := func(f failure.Failure, want time.Duration) {
		t.Helper()
		l.Attempts++
		if d := l.Next(p, f, 0.5); d.Delay != want || d.Reason != failure.Again {
			t.Fatalf("attempt %d: %+v, want a delay of %v", l.Attempts, d, want)
		}
	}
	const first, second = 200 * time.Millisecond, 350 * time.Millisecond // base + ½ (3 · last − base), the first after base itself
	next(fails, first)
	next(fails, second)
	next(pushed, 7*time.Millisecond)
	next(fails, first)
	next(fails, second)
	l.Delivered()
	next(fails, first)
	next(fails, second)
}
