package hedge

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
)

// What is left of a call's time is counted from now, not from the epoch.
func TestTimeLeftLongAfterTheEpoch(t *testing.T) {
	const now = time.Hour
	cfg := &Config{MaxAttempts: 3, NonFatal: astracodes.Retryable}
	for _, c := range []struct {
		pushback string
		due      time.Duration
		why      failure.Reason
	}{
		{"10", now + 10*time.Millisecond, failure.Again},
		{"49", now + 49*time.Millisecond, failure.Again},
		{"50", Never, failure.Deadline},
		{"51", Never, failure.Deadline},
	} {
		s := New(cfg, now, Never)
		s.Start(now)
		s.Fail(now, failure.Failure{Code: codes.Unavailable, Pushback: failure.ParsePushback([]string{c.pushback}), Remaining: 50 * time.Millisecond})
		if s.Due() != c.due || s.Why() != c.why {
			t.Errorf("pushback of %s ms with 50 ms left: due %v, why %v; want %v, %v", c.pushback, s.Due(), s.Why(), c.due, c.why)
		}
	}
}

// The longest durations share the last bucket, whose edge is the longest there is.
func TestLongestDurations(t *testing.T) {
	last := bucketOf(1<<63 - 1)
	if last != nBuckets-1 {
		t.Errorf("the longest duration is in bucket %d of %d", last, nBuckets)
	}
	for _, d := range []time.Duration{1 << maxExp, 1<<maxExp + 1, 3 << (maxExp - 1), 1 << 50} {
		if got := bucketOf(d); got != last {
			t.Errorf("%v is in bucket %d, want the last, %d", d, got, last)
		}
	}
	if got := bucketOf(1<<maxExp - 1); got != last-1 {
		t.Errorf("the longest but those is in bucket %d, want %d", got, last-1)
	}
	for _, b := range []int{last, last - 1} {
		if got := edgeOf(b); got != 1<<maxExp {
			t.Errorf("the edge of bucket %d is %v, want %v", b, got, time.Duration(1<<maxExp))
		}
	}
}

// What is shorter than 8 µs is not resolved; what is longer is, to a sixteenth.
func TestShortestDurations(t *testing.T) {
	for d, want := range map[time.Duration]int{0: 0, 1: 0, 8191: 0, 8192: 1, 8703: 1, 8704: 2, 16383: 16, 16384: 17} {
		if got := bucketOf(d); got != want {
			t.Errorf("%v is in bucket %d, want %d", d, got, want)
		}
	}
}
