package load

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const second = time.Second

func run(t *testing.T, p Plan, call func(ctx context.Context, n int) Outcome) []Sample {
	t.Helper()
	samples, err := p.Run(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

// Calls begin on time even though each takes longer than there is until the
// next, and every one is accounted for.
func TestOpenLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		samples := run(t, Plan{Rate: 10, Calls: 100}, func(_ context.Context, n int) Outcome {
			calls.Add(1)
			time.Sleep(3 * second)
			if n%4 == 0 {
				return Failed
			}
			return OK
		})
		if calls.Load() != 100 || Count(samples, OK) != 75 || Count(samples, Failed) != 25 {
			t.Errorf("%d calls, %d OK, %d failed: want 100, 75, 25", calls.Load(), Count(samples, OK), Count(samples, Failed))
		}
		for n, s := range samples {
			if at := time.Duration(n) * second / 10; s.At != at || s.Began != at || s.Took() != 3*second {
				t.Fatalf("call %d: %+v", n, s)
			}
		}
	})
}

// With one place, a call that takes long makes those after it late. Their
// users' wait is counted, not only what the calls took.
func TestStallsAreNotHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		samples := run(t, Plan{Rate: 1, Calls: 10, InFlight: 1}, func(_ context.Context, n int) Outcome {
			if n == 0 {
				time.Sleep(5*second + second/2)
			}
			return OK
		})
		for n, s := range samples {
			if want := max(0, 5*second+second/2-time.Duration(n)*second); n > 0 && (s.Took() != want || s.Lag() != want || s.Own() != 0) {
				t.Errorf("call %d took %v of which it was %v late: want %v", n, s.Took(), s.Lag(), want)
			}
		}
	})
}

func TestTimeoutCountsFromTheIntendedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		samples := run(t, Plan{Rate: 1, Calls: 3, InFlight: 1, Timeout: 4 * second}, func(ctx context.Context, _ int) Outcome {
			<-ctx.Done()
			return Failed
		})
		for _, s := range samples {
			if s.Took() != 4*second {
				t.Errorf("a call ended after %v, want its timeout", s.Took())
			}
		}
	})
}

func TestEventsHappenOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		set := func(to bool) func(time.Duration) { return func(time.Duration) { down.Store(to) } }
		samples := run(t, Plan{Rate: 2, Calls: 20, Events: []Event{
			{6*second + 1, set(false)}, {3*second + 1, set(true)},
		}}, func(context.Context, int) Outcome {
			if down.Load() {
				return Refused
			}
			return OK
		})
		if n := Count(Between(samples, 3*second+1, 6*second+1), Refused); n != 6 || Count(samples, OK) != 14 {
			t.Errorf("%d refused while down, %d OK: want 6, 14", n, Count(samples, OK))
		}
	})
}

// A run that is broken off ends once the calls under way have.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*second+second/2)
		defer cancel()
		var running atomic.Int64
		_, err := Plan{Rate: 1, Calls: 1000, Events: []Event{{time.Hour, func(time.Duration) { t.Error("an event after the end") }}}}.
			Run(ctx, func(ctx context.Context, _ int) Outcome {
				running.Add(1)
				defer running.Add(-1)
				<-ctx.Done()
				time.Sleep(second)
				return Failed
			})
		if !errors.Is(err, context.DeadlineExceeded) || running.Load() != 0 {
			t.Errorf("%v with %d calls running", err, running.Load())
		}
	})
}

func TestPlansThatMakeNoSense(t *testing.T) {
	for _, p := range []Plan{{}, {Rate: -1, Calls: 1}, {Rate: 1, Calls: -1}} {
		if _, err := p.Run(t.Context(), nil); err == nil {
			t.Errorf("%+v runs", p)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0: 1, 0.1: 1, 0.5: 5, 0.51: 6, 0.99: 10, 1: 10} {
		if got := Quantile(values, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if Quantile([]time.Duration{}, 0.5) != 0 {
		t.Error("none has a median")
	}
}

func TestBetween(t *testing.T) {
	samples := []Sample{{At: 1}, {At: 2}, {At: 2}, {At: 4}}
	for _, c := range []struct {
		from, to time.Duration
		want     int
	}{{0, 9, 4}, {2, 4, 2}, {3, 4, 0}, {2, 2, 0}, {4, 1, 0}, {5, 9, 0}} {
		if got := Between(samples, c.from, c.to); len(got) != c.want {
			t.Errorf("from %d to %d: %v, want %d", c.from, c.to, got, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	samples := []Sample{{At: 1, Began: 5, Ended: 9}, {At: 2, Began: 3, Ended: 10, Outcome: OK}, {At: 3, Began: 4, Ended: 6, Outcome: OK}}
	got := Times(samples, Sample.Own, func(s Sample) bool { return s.Outcome == OK })
	if len(got) != 2 || got[0] != 2 || got[1] != 7 {
		t.Errorf("%v, want 2 and 7", got)
	}
}
