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
// over as if there had been no delay before, as aws-decorrelated shows, whose delays
// follow from the last.
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

// Another backend that is well is asked at once, unless the server or its hint says
// when; and that costs the schedule nothing.
func TestElsewhereAtOnce(t *testing.T) {
	p := &Policy{MaxAttempts: 100, Codes: astracodes.Retryable, Backoff: jitter.Backoff{Base: 100 * time.Millisecond, Jitter: jitter.None}}
	for _, c := range []struct {
		name  string
		f     failure.Failure
		delay time.Duration
		after time.Duration // the delay of the retry that follows, without another backend
	}{
		{"elsewhere", failure.Failure{Elsewhere: true}, 0, 100 * time.Millisecond},
		{"a hint, the least", failure.Failure{Elsewhere: true, RetryInfo: 1}, 100 * time.Millisecond, 200 * time.Millisecond},
		{"a hint", failure.Failure{Elsewhere: true, RetryInfo: time.Second}, time.Second, 200 * time.Millisecond},
		{"a word", failure.Failure{Elsewhere: true, Pushback: failure.ParsePushback([]string{"7"})}, 7 * time.Millisecond, 100 * time.Millisecond},
		{"nowhere else", failure.Failure{}, 100 * time.Millisecond, 200 * time.Millisecond},
	} {
		c.f.Code, c.f.Remaining = codes.Unavailable, failure.Forever
		l := Loop{Attempts: 1}
		if d := l.Next(p, c.f, 0.5); d.Delay != c.delay || d.Reason != failure.Again {
			t.Errorf("%s: %+v, want a delay of %v", c.name, d, c.delay)
		}
		l.Attempts++
		if d := l.Next(p, failure.Failure{Code: codes.Unavailable, Remaining: failure.Forever}, 0.5); d.Delay != c.after {
			t.Errorf("after %s: %+v, want a delay of %v", c.name, d, c.after)
		}
	}
}
