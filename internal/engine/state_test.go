package engine

import (
	"testing"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/failure"
	"github.com/astra-grpc/astra/internal/limit"
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

// The engine converts the cores' reasons by tables.
func TestReasonsAgree(t *testing.T) {
	for r := failure.Again; r.String() != "invalid"; r++ {
		got := RetryReason(r)
		if suppressed := got != observe.ReasonNone; suppressed != r.Suppressed() || suppressed && got.String() != r.String() {
			t.Errorf("retry says %q, observe %q", r, got)
		}
	}
	for r := breaker.None; r.String() != "invalid"; r++ {
		if got := BreakerReason(r); got.String() != r.String() {
			t.Errorf("breaker says %q, observe %q", r, got)
		}
	}
	for v := limit.QueueFull; v.String() != "invalid"; v++ {
		if got := limitReason(v); got.String() != v.String() {
			t.Errorf("limit says %q, observe %q", v, got)
		}
	}
}
