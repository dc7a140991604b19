package engine

import (
	"testing"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/observe"
)

// The engine converts the core's states by number.
func TestBreakerStatesAgree(t *testing.T) {
	for s := breaker.Closed; s <= breaker.Open+1; s++ {
		if got, want := observe.BreakerState(s).String(), s.String(); got != want {
			t.Errorf("state %d: observe says %q, breaker %q", s, got, want)
		}
	}
}
