package sim

import (
	"context"
	"math"
	"math/rand/v2"
	"time"

	simulator "github.com/astra-grpc/astra/internal/sim"
)

const forever = time.Duration(math.MaxInt64)

// engine is the virtual time of a trial, and its chance.
type engine struct{ *simulator.Loop }

func newEngine(seed, stream uint64) *engine {
	e := &engine{simulator.NewLoop(seed)}
	e.Rand = rand.New(rand.NewPCG(seed, stream))
	return e
}

// run runs what is planned before the end, and sets the clock to it.
func (e *engine) run(end time.Duration) { _ = e.Run(context.Background(), end) } // only its context could end it

// poisson calls do at random times, rate times a second, until the end.
func (e *engine) poisson(rate float64, end time.Duration, do func()) {
	d := seconds(e.Rand.ExpFloat64() / rate)
	if e.Now()+d >= end {
		return
	}
	e.After(d, func() {
		e.poisson(rate, end, do)
		do()
	})
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// work counts off the parts of a scenario, reports how many are done, and stops
// it when the context ends.
type work struct {
	ctx       context.Context
	progress  func(float64)
	all, done int
}

func (w *work) step() error {
	w.done++
	w.progress(float64(w.done) / float64(w.all))
	return w.ctx.Err()
}
