package real

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
)

// job is one run of an experiment.
type job struct {
	length time.Duration // about how long it takes, for the progress bar
	run    func(ctx context.Context) error
}

// fleet runs jobs, so many side by side, in an order drawn by the seed. It
// ends with the first error, once all that have begun have ended.
func fleet(ctx context.Context, o lab.Options, sideBySide int, jobs []job) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Servers and generator are the same for all and make most of the garbage.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	order := rng.Perm(len(jobs))
	var total time.Duration
	for _, j := range jobs {
		total += j.length
	}
	var (
		mu      sync.Mutex
		done    time.Duration
		running sync.WaitGroup
		places  = make(chan struct{}, sideBySide)
	)
	for _, i := range order {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		// Else those that begin together would be down together, and up.
		pause := time.Duration(rng.Int64N(int64(outOfStep)))
		running.Go(func() {
			defer func() { <-places }()
			if sleep(ctx, pause) != nil {
				return
			}
			if err := jobs[i].run(ctx); err != nil {
				cancel(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			done += jobs[i].length
			o.Progress(float64(done) / float64(total))
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// tries is how often a run is made at most that something disturbed.
const tries = 3

// undisturbed makes a run again if its calls were not answered while the server
// was well: then the machine had other things to do, and whatever came after
// says nothing of the contender. The last is taken as it is. again is how
// often it was made again.
func undisturbed[T any](run func() (result T, healthy bool, err error)) (result T, again int, err error) {
	for {
		var healthy bool
		result, healthy, err = run()
		if err != nil || healthy || again == tries-1 {
			return result, again, err
		}
		again++
	}
}

// remade reports how often runs were made again.
func remade(n int) string {
	if n == 0 {
		return "No run had to be made again because calls failed while the server was well."
	}
	return fmt.Sprintf("%d runs were made again because calls failed while the server was well: something else kept the machine busy.", n)
}

// errCut says that a run has too few samples to show anything.
var errCut = errors.New("a run has no calls to judge")

// outOfStep is how long a job waits at most before it begins.
const outOfStep = 500 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
