package fleet

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

// Fleets returns those of all targets, by target.
func (r *Registry) Fleets() []*Fleet {
	r.mu.Lock()
	all := slices.Collect(maps.Values(r.fleets))
	r.mu.Unlock()
	slices.SortFunc(all, func(a, b *Fleet) int { return strings.Compare(a.Target, b.Target) })
	return all
}

// Standing returns where the backend's breaker stands, and since when; see
// [Backend.State]. It takes no lock.
func (b *Backend) Standing(now time.Duration) breaker.Standing {
	st := b.guard.Standing(now)
	if b.fleet.registry.Config().EjectOff && st.Forced != breaker.ForcedOpen {
		return breaker.Standing{}
	}
	return st
}

// Connected reports whether a connection to it is ready.
func (b *Backend) Connected() bool { return b.ready.Load() > 0 }
