package retry

import (
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"pgregory.net/rapid"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/jitter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testPolicy() *Policy {
	return &Policy{
		MaxAttempts: 3,
		Codes:       astracodes.Retryable,
		Backoff:     jitter.Backoff{Jitter: jitter.None},
		PerCode:     map[codes.Code]jitter.Backoff{codes.DeadlineExceeded: {Base: time.Millisecond, Jitter: jitter.None}},
	}
}

func TestNext(t *testing.T) {
	const ms = time.Millisecond
	stop, wait := failure.Pushback{Stop: true}, failure.Pushback{Given: true, Delay: 50 * ms}
	for _, tc := range []struct {
		name     string
		attempts int
		f        failure.Failure
		want     Decision
	}{
		{"retryable", 1, failure.Failure{Code: codes.Unavailable}, Decision{Delay: 500 * ms}},
		{"a code with its own backoff", 1, failure.Failure{Code: codes.DeadlineExceeded}, Decision{Delay: ms}},
		{"not retryable", 1, failure.Failure{Code: codes.NotFound}, Decision{Reason: failure.NotRetryable}},
		{"not retryable with attempts used up", 3, failure.Failure{Code: codes.NotFound}, Decision{Reason: failure.NotRetryable}},
		{"attempts used up", 3, failure.Failure{Code: codes.Unavailable}, Decision{Reason: failure.Exhausted}},
		{"caller cancelled", 1, failure.Failure{Code: codes.Unavailable, Caller: failure.Cancelled}, Decision{Reason: failure.CallerGone}},
		{"caller's deadline passed", 1, failure.Failure{Code: codes.DeadlineExceeded, Caller: failure.Expired}, Decision{Reason: failure.Deadline}},
		{"server's CANCELLED", 1, failure.Failure{Code: codes.Canceled}, Decision{Reason: failure.NotRetryable}},
		{"committed", 1, failure.Failure{Code: codes.Unavailable, Committed: true}, Decision{Reason: failure.Committed}},

		{"pushback", 1, failure.Failure{Code: codes.Unavailable, Pushback: wait}, Decision{Delay: 50 * ms}},
		{"pushback 0", 1, failure.Failure{Code: codes.Unavailable, Pushback: failure.Pushback{Given: true}}, Decision{}},
		{"pushback stop", 1, failure.Failure{Code: codes.Unavailable, Pushback: stop}, Decision{Reason: failure.PushedBack}},
		{"pushback and attempts used up", 3, failure.Failure{Code: codes.Unavailable, Pushback: wait}, Decision{Reason: failure.Exhausted}},
		{"pushback on a code not retried", 1, failure.Failure{Code: codes.Internal, Pushback: wait}, Decision{Reason: failure.NotRetryable}},
		{"pushback before hint", 1, failure.Failure{Code: codes.Unavailable, Pushback: wait, RetryInfo: time.Second}, Decision{Delay: 50 * ms}},

		{"exhausted resource", 1, failure.Failure{Code: codes.ResourceExhausted}, Decision{Reason: failure.NotRetryable}},
		{"exhausted resource, pushback", 1, failure.Failure{Code: codes.ResourceExhausted, Pushback: wait}, Decision{Delay: 50 * ms}},
		{"exhausted resource, hint", 1, failure.Failure{Code: codes.ResourceExhausted, RetryInfo: 2 * time.Second}, Decision{Delay: 2 * time.Second}},
		{"exhausted resource, stop", 1, failure.Failure{Code: codes.ResourceExhausted, Pushback: stop}, Decision{Reason: failure.NotRetryable}},
		{"exhausted resource, stop and hint", 1, failure.Failure{Code: codes.ResourceExhausted, Pushback: stop, RetryInfo: 1}, Decision{Reason: failure.PushedBack}},

		{"hint below the delay", 1, failure.Failure{Code: codes.Unavailable, RetryInfo: ms}, Decision{Delay: 500 * ms}},
		{"hint above the delay", 1, failure.Failure{Code: codes.Unavailable, RetryInfo: 3 * time.Second}, Decision{Delay: 3 * time.Second}},
		{"hint beyond all patience", 1, failure.Failure{Code: codes.Unavailable, RetryInfo: math.MaxInt64}, Decision{Delay: 5500 * ms}},
		{"hint below zero", 1, failure.Failure{Code: codes.Unavailable, RetryInfo: math.MinInt64}, Decision{Delay: 500 * ms}},

		{"backoff to the deadline", 1, failure.Failure{Code: codes.Unavailable, Remaining: 500 * ms}, Decision{Reason: failure.Deadline}},
		{"backoff just before it", 1, failure.Failure{Code: codes.Unavailable, Remaining: 501 * ms}, Decision{Delay: 500 * ms}},
		{"pushback past it", 1, failure.Failure{Code: codes.Unavailable, Pushback: wait, Remaining: 50 * ms}, Decision{Reason: failure.Deadline}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.f.Remaining == 0 {
				tc.f.Remaining = failure.Forever
			}
			l := Loop{Attempts: tc.attempts}
			if got := l.Next(testPolicy(), tc.f, 0.5); got != tc.want {
				t.Errorf("%v %v, want %v %v", got.Reason, got.Delay, tc.want.Reason, tc.want.Delay)
			}
		})
	}
}

func TestScheduleStartsOverAfterPushback(t *testing.T) {
	p := testPolicy()
	p.MaxAttempts = 10
	var l Loop
	plain := failure.Failure{Code: codes.Unavailable, Remaining: failure.Forever}
	pushed := plain
	pushed.Pushback = failure.Pushback{Given: true, Delay: 297 * time.Millisecond}
	for i, step := range []struct {
		f    failure.Failure
		want time.Duration
	}{
		{plain, 500 * time.Millisecond},
		{plain, time.Second},
		{pushed, 297 * time.Millisecond},
		{plain, 500 * time.Millisecond},
		{plain, time.Second},
	} {
		l.Attempts++
		if got := l.Next(p, step.f, 0); got.Reason != failure.Again || got.Delay != step.want {
			t.Fatalf("retry %d: %v after %v, want %v", i+1, got.Reason, got.Delay, step.want)
		}
	}
}

func TestDeliveryStartsOver(t *testing.T) {
	p := testPolicy()
	f := failure.Failure{Code: codes.Unavailable, Remaining: failure.Forever}
	var l Loop
	l.Attempts++
	for range 5 {
		for _, want := range []time.Duration{500 * time.Millisecond, time.Second} {
			if got := l.Next(p, f, 0); got.Reason != failure.Again || got.Delay != want {
				t.Fatalf("attempt %d: %v after %v, want %v", l.Attempts, got.Reason, got.Delay, want)
			}
			l.Attempts++
		}
		l.Delivered() // by the third, which then fails
	}
	l.Attempts += 2
	if got := l.Next(p, f, 0); got.Reason != failure.Exhausted {
		t.Fatalf("%v, want the attempts used up", got.Reason)
	}
}

// TestLoopEnds: whatever the failures say, the loop makes no more attempts than
// it may, never waits past the deadline, and never a negative time.
func TestLoopEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		p.MaxAttempts = rapid.IntRange(1, 10).Draw(t, "max")
		p.Backoff.Jitter = jitter.Strategy(rapid.IntRange(0, 5).Draw(t, "jitter"))
		p.Backoff.Max = time.Duration(rapid.Int64Range(int64(500*time.Millisecond), math.MaxInt64).Draw(t, "cap"))
		var l Loop
		for range p.MaxAttempts + 1 {
			l.Attempts++
			f := failure.Failure{
				Code:      codes.Code(rapid.IntRange(1, 16).Draw(t, "code")),
				Pushback:  failure.ParsePushback(rapid.SliceOfN(rapid.StringMatching(`-?[0-9]{1,12}`), 0, 2).Draw(t, "pushback")),
				RetryInfo: time.Duration(rapid.Int64().Draw(t, "hint")),
				Remaining: time.Duration(rapid.Int64Range(-1, math.MaxInt64).Draw(t, "remaining")),
			}
			d := l.Next(p, f, rapid.Float64Range(0, 0.999).Draw(t, "u"))
			if d.Reason != failure.Again {
				return
			}
			if d.Delay < 0 || d.Delay >= f.Remaining {
				t.Fatalf("waits %v with %v left", d.Delay, f.Remaining)
			}
		}
		t.Fatalf("%d attempts, want at most %d", l.Attempts+1, p.MaxAttempts)
	})
}
