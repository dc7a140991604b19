package hedge

import (
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"pgregory.net/rapid"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/failure"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testConfig(attempts int) *Config {
	return &Config{MaxAttempts: attempts, NonFatal: astracodes.Retryable}
}

var transient = failure.Failure{Code: codes.Unavailable, Remaining: Never}

// pushback is of a server that asks to wait.
func pushback(wait time.Duration) failure.Pushback {
	return failure.Pushback{Given: true, Delay: wait}
}

func wantDue(t *testing.T, r *Schedule, due time.Duration) {
	t.Helper()
	if got := r.Due(); got != due {
		t.Fatalf("the next is due at %v, want %v", got, due)
	}
}

func TestSchedule(t *testing.T) {
	r := New(testConfig(3), 5, 10)
	wantDue(t, &r, 5)
	r.Start(5)
	wantDue(t, &r, 15)
	r.Fail(7, transient)
	wantDue(t, &r, 7)
	r.Start(8)
	wantDue(t, &r, 18)
	failed := transient
	failed.Pushback = pushback(30)
	r.Start(18) // the last
	wantDue(t, &r, Never)
	r.Fail(20, failed)
	wantDue(t, &r, Never)
	if r.Over() || r.Why() != failure.Exhausted {
		t.Fatalf("over: %v, why: %v, with one running", r.Over(), r.Why())
	}
	r.Fail(21, transient)
	if !r.Over() || r.Why() != failure.Exhausted {
		t.Fatalf("over: %v, why: %v, with none running", r.Over(), r.Why())
	}
}

func TestEndOfTime(t *testing.T) {
	r := New(testConfig(3), 0, Never)
	r.Start(Never - 5)
	wantDue(t, &r, Never)
	r.Fail(Never-5, failure.Failure{Code: codes.Unavailable, Pushback: pushback(Never), Remaining: Never})
	if !r.Over() {
		t.Fatal("waits for the end of time")
	}
	r = New(testConfig(3), 0, 20)
	r.Start(Never - 5)
	wantDue(t, &r, Never)
}

// TestScheduleAgreesWithModel: against the rules applied one by one, for any course of
// events.
func TestScheduleAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig(rapid.IntRange(2, 5).Draw(t, "attempts"))
		delay := rapid.SampledFrom([]time.Duration{1, 10, Never}).Draw(t, "delay")
		r := New(cfg, 0, delay)
		var now, lastStart, pushed time.Duration
		started, running := 0, 0
		atOnce := true // a failure, or the beginning, makes the next due
		stopped, fatal := false, false
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			due := Never
			if !stopped && !fatal && started < cfg.MaxAttempts {
				switch {
				case atOnce:
					due = max(now, pushed)
				case delay != Never:
					due = lastStart + delay
				}
			}
			got := r.Due()
			if (got == Never) != (due == Never) || got != Never && max(got, now) != max(due, now) {
				t.Fatalf("at %v the next is due at %v, want %v", now, got, due)
			}
			if over := fatal || running == 0 && due == Never; r.Over() != over {
				t.Fatalf("over is %v, want %v", r.Over(), over)
			}
			if r.Over() {
				return
			}
			choices := []string{}
			if due != Never {
				choices = append(choices, "start", "refuse")
			}
			if running > 0 {
				choices = append(choices, "fail", "fail", "pushback", "stop", "late", "fatal")
			}
			now += time.Duration(rapid.IntRange(0, 8).Draw(t, "pass"))
			f := transient
			switch rapid.SampledFrom(choices).Draw(t, "event") {
			case "start":
				now = max(now, due)
				r.Start(now)
				started, running, lastStart, atOnce = started+1, running+1, now, false
				continue
			case "refuse":
				r.Refuse(failure.Budget)
				stopped = true
				continue
			case "pushback":
				f.Pushback = pushback(time.Duration(rapid.IntRange(0, 30).Draw(t, "wait")))
				if !stopped && started < cfg.MaxAttempts {
					pushed = max(pushed, now+f.Pushback.Delay)
				}
			case "stop":
				f.Pushback.Stop = true
				stopped = true
			case "late":
				f.Remaining = 0
				stopped = true
			case "fatal":
				f.Code = codes.NotFound
				fatal = true
			}
			r.Fail(now, f)
			running--
			atOnce = true
		}
	})
}

// TestPushbacksOfTwo: the later time holds, and a stop is not undone by a hint.
func TestPushbacksOfTwo(t *testing.T) {
	failed := func(c codes.Code, wait time.Duration) failure.Failure {
		return failure.Failure{Code: c, Pushback: pushback(wait), Remaining: Never}
	}
	r := New(testConfig(4), 0, 10)
	r.Start(0)
	r.Start(10)
	r.Fail(11, failed(codes.Unavailable, 50))
	wantDue(t, &r, 61)
	r.Fail(12, failed(codes.Unavailable, 5))
	wantDue(t, &r, 61)

	r = New(testConfig(4), 0, 10)
	r.Start(0)
	r.Start(10)
	stop := failed(codes.ResourceExhausted, 5)
	stop.Pushback.Stop = true
	r.Fail(11, stop)
	if !r.Over() || r.Why() != failure.NotRetryable {
		t.Errorf("over: %v, why: %v, want a fatal end", r.Over(), r.Why())
	}
}
