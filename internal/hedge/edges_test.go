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

// Of what a value is made of, 95 in 100 are faster than it, not 94; and what is longer
// than 2³⁸ ns, about 4½ minutes, is shown as that.
func TestQuantileAtItsEdge(t *testing.T) {
	const fast, slow, longest = 10 * time.Millisecond, 50 * time.Millisecond, 274_877_906_944 * time.Nanosecond
	for _, c := range []struct {
		fast int
		slow time.Duration
		want time.Duration
	}{
		{94, slow, slow},
		{95, slow, slow},
		{96, slow, fast},
		{95, longest, longest},
		{95, time.Hour, longest},
	} {
		q := NewQuantile()
		for i := range 100 {
			d := fast
			if i >= c.fast {
				d = c.slow
			}
			q.Add(0, d, uint32(i))
		}
		if got, ok := q.Value(0); !ok || got < c.want || got > c.want*17/16 || c.want == longest && got != longest {
			t.Errorf("%d of %v and the rest of %v: %v, %v; want about %v", c.fast, fast, c.slow, got, ok, c.want)
		}
	}
}

// A value is made anew after 100 ms, no later.
func TestValueIsOfTheLast100ms(t *testing.T) {
	q := NewQuantile()
	for range 100 {
		q.Add(0, time.Millisecond, 0)
	}
	for range 1000 {
		q.Add(99*time.Millisecond, time.Second, 0)
	}
	if got, _ := q.Value(99 * time.Millisecond); got > 2*time.Millisecond {
		t.Errorf("%v: made anew before it is time", got)
	}
	q.Add(100*time.Millisecond, time.Second, 0)
	if got, _ := q.Value(100 * time.Millisecond); got < time.Second {
		t.Errorf("%v after 100 ms, want a second", got)
	}
}

// Of two calls that find an old generation, the second to turn it loses no sample that
// the first has added.
func TestGenerationBeginsOnce(t *testing.T) {
	q := NewQuantile()
	q.Add(generation, time.Millisecond, 0)
	h := &q.shards[0].halves[0]
	if h.generation.Load() != 2 {
		t.Fatalf("generation %d, want the second", h.generation.Load())
	}
	if q.turn(h, 2); h.total.Load() != 1 {
		t.Errorf("%d samples, want one", h.total.Load())
	}
}

// Which failures are fatal: those of other codes than the policy's, unless it is
// RESOURCE_EXHAUSTED and the server says when to try again; and whatever somebody who
// knows better than the code says.
func TestFatalFailures(t *testing.T) {
	hint := failure.Pushback{Given: true}
	stop := failure.Pushback{Given: true, Stop: true}
	for _, c := range []struct {
		f     failure.Failure
		fatal bool
	}{
		{failure.Failure{Code: codes.Unavailable}, false},
		{failure.Failure{Code: codes.Unavailable, Pushback: hint}, false},
		{failure.Failure{Code: codes.Unavailable, Pushback: stop}, false}, // others may yet succeed
		{failure.Failure{Code: codes.Unavailable, Stop: true}, true},
		{failure.Failure{Code: codes.NotFound}, true},
		{failure.Failure{Code: codes.NotFound, Pushback: hint}, true},
		{failure.Failure{Code: codes.NotFound, RetryInfo: time.Millisecond}, true},
		{failure.Failure{Code: codes.NotFound, Again: true}, false},
		{failure.Failure{Code: codes.ResourceExhausted}, true},
		{failure.Failure{Code: codes.ResourceExhausted, Pushback: hint}, false},
		{failure.Failure{Code: codes.ResourceExhausted, RetryInfo: time.Millisecond}, false},
		{failure.Failure{Code: codes.ResourceExhausted, Pushback: stop}, true},
		{failure.Failure{Code: codes.ResourceExhausted, Pushback: hint, Stop: true}, true},
	} {
		s := New(&Config{MaxAttempts: 5, NonFatal: astracodes.Retryable}, 0, Never)
		s.Start(0)
		s.Start(0)
		c.f.Remaining = Never
		if s.Fail(0, c.f); s.Over() != c.fatal {
			t.Errorf("%+v: over %v with another running, want %v", c.f, s.Over(), c.fatal)
		}
	}
}
