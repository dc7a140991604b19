package fleet

import (
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

// Named returns the backends of that name, and none if the suite does not know the
// target.
func (f *Fleet) Named(name string) (all []*Backend) {
	for _, b := range f.Backends() {
		if b.Name == name {
			all = append(all, b)
		}
	}
	return all
}

// Drain keeps new attempts away for a time, as long as another backend that is in
// has a connection. After it, probes bring the backend back, or the next attempt if
// ejections keep none away.
func (b *Backend) Drain(now, d time.Duration) breaker.Transition {
	t := b.guard.Force(now, d, breaker.ForcedOpen)
	b.ejections[breaker.ByHand].Add(1)
	b.fleet.recount(b, now)
	return t
}

// Return brings a backend that is drained or ejected back at once. Its breaker
// counts anew.
func (b *Backend) Return(now time.Duration) breaker.Transition {
	if b.closed() {
		return breaker.Transition{}
	}
	t := b.guard.Force(now, 0, breaker.ForcedClosed) // which is over at once
	b.Meter.Restart(now)
	b.fleet.recount(b, now)
	return t
}
