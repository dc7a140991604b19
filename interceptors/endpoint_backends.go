package interceptors

import (
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/observe"
)

// Backends implements observe.BackendSource.
func (l live) Backends() []observe.Backend {
	at := l.located.Load()
	if at == nil {
		return nil
	}
	now := l.host.Now()
	var all []observe.Backend
	for _, b := range at.fleet.Backends() {
		o := observe.Backend{
			Address: b.Name, State: observe.BreakerState(b.State(now)), Ready: b.Ready(), InFlight: int(b.Meter.InFlight()),
			Succeeded: b.Count(fleet.Success), Failed: b.Count(fleet.Failure), Other: b.Count(fleet.Other), WouldAvoid: b.Avoidable(), Of: b,
		}
		b.Ejections(func(why breaker.Reason, n uint64) {
			if o.Ejections == nil {
				o.Ejections = make(map[observe.Reason]uint64)
			}
			o.Ejections[engine.BreakerReason(why)] += n
		})
		all = append(all, o)
	}
	return all
}
