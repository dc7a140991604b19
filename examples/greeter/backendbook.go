package main

import (
	"fmt"
	"slices"

	"github.com/astra-grpc/astra/observe"
)

// know sets the addresses of the backends whose attempts are counted one by one.
func (l *ledger) know(addrs []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.backends = addrs
}

// backendStates returns the state of each known backend, "" as long as no call
// was made, with mu held.
func (l *ledger) backendStates() []string {
	states := make([]string, len(l.backends))
	if l.endpoint == nil {
		return states
	}
	for _, b := range l.endpoint.Backends() {
		if i := slices.Index(l.backends, b.Address); i >= 0 {
			states[i] = inOrOut(b.State)
		}
	}
	return states
}

func inOrOut(s observe.BreakerState) string {
	switch s {
	case observe.BreakerOpen:
		return "out"
	case observe.BreakerHalfOpen:
		return "on trial"
	default:
		return "in"
	}
}

// backendChanged writes that a backend was ejected, or is back, with mu held.
func (l *ledger) backendChanged(e observe.Event) string {
	name := e.Backend
	if i := slices.Index(l.backends, e.Backend); i >= 0 {
		name = backendName(i)
	}
	return fmt.Sprintf("backend %s is %s: %s", name, inOrOut(e.To), why(whyBreaker, e.Reason))
}
