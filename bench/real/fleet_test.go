package real

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
)

func jobs(n int, run func(ctx context.Context, i int) error) (all []job) {
	for i := range n {
		all = append(all, job{time.Second, func(ctx context.Context) error { return run(ctx, i) }})
	}
	return all
}

// All jobs run once, never more than so many at a time, in an order that the
// seed decides, and progress ends at 1.
func TestFleet(t *testing.T) {
	order := func(seed uint64) (all []int) {
		synctest.Test(t, func(t *testing.T) {
			var (
				mu            sync.Mutex
				running, most int
				last          float64
			)
			o := lab.Options{Seed: seed, Progress: func(done float64) { last = done }}
			err := fleet(t.Context(), o, 3, jobs(50, func(_ context.Context, i int) error {
				mu.Lock()
				all = append(all, i)
				running++
				most = max(most, running)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				running--
				mu.Unlock()
				return nil
			}))
			if err != nil || most != 3 || last != 1 {
				t.Errorf("%v; %d side by side, want 3; progress ended at %v", err, most, last)
			}
		})
		return all
	}
	first, again, other := order(1), order(1), order(2)
	if !slices.Equal(first, again) || slices.Equal(first, other) {
		t.Error("the seed does not decide the order")
	}
	slices.Sort(first)
	for i := range 50 {
		if first[i] != i {
			t.Fatalf("jobs %v", first)
		}
	}
}

func TestFleetEndsWithTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var ran atomic.Int64
		err := fleet(t.Context(), lab.Options{Progress: func(float64) {}}, 2, jobs(100, func(ctx context.Context, _ int) error {
			if ran.Add(1) == 5 {
				return broken
			}
			return sleep(ctx, time.Second)
		}))
		if !errors.Is(err, broken) || ran.Load() > 10 {
			t.Errorf("%v after %d jobs", err, ran.Load())
		}
	})
}

func TestFleetIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		begun := time.Now()
		err := fleet(ctx, lab.Options{Progress: func(float64) {}}, 2, jobs(1000, func(ctx context.Context, _ int) error { return sleep(ctx, time.Second) }))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestUndisturbed(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		what      string
		healthyAt int
		err       error
		made      int
	}{{"at once", 1, nil, 1}, {"then", 2, nil, 2}, {"never", 9, nil, 3}, {"broken", 9, broken, 1}} {
		made := 0
		result, again, err := undisturbed(func() (int, bool, error) {
			made++
			return made, made >= c.healthyAt, c.err
		})
		if result != c.made || made != c.made || again != c.made-1 || !errors.Is(err, c.err) {
			t.Errorf("%s: run %d of %d, %d again, %v; want %d", c.what, result, made, again, err, c.made)
		}
	}
}
