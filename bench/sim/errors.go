package sim

import (
	"math/rand/v2"
	"time"
)

// fate draws whether the next call fails, which comes at that time.
type fate interface {
	fails(rng *rand.Rand, now time.Duration) bool
}

// independent errors come at a rate, each by itself.
type independent float64

func (p independent) fails(rng *rand.Rand, _ time.Duration) bool { return rng.Float64() < float64(p) }

// bursts are runs of calls that all fail, in service that is else without
// fault: a Markov chain of two states. Of all calls rate fail; a run is length
// calls long in the mean.
type bursts struct {
	rate, length float64
	bad          bool
}

func (b *bursts) fails(rng *rand.Rand, _ time.Duration) bool {
	leave := 1 / b.length
	if !b.bad {
		leave = b.rate / (b.length * (1 - b.rate))
	}
	if rng.Float64() < leave {
		b.bad = !b.bad
	}
	return b.bad
}

// restarts take a share of the backends away for a while, every so often: all
// calls that meet them fail. Else one call in a thousand does.
type restarts struct {
	share        float64
	every, lasts time.Duration
}

func (r restarts) fails(rng *rand.Rand, now time.Duration) bool {
	p := 0.001
	if now%r.every < r.lasts {
		p = r.share
	}
	return rng.Float64() < p
}
