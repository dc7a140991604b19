package metrics

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/astra-grpc/astra/observe"
)

type pair struct{ observe.Source }

func (pair) Target() string { return "dns:///a" }
func (pair) Method() string { return "/s.S/Get" }

func (pair) BreakerState() (observe.BreakerState, bool) { return 0, false }
func (pair) BudgetTokens() (float64, bool)              { return 0, false }
func (pair) LimitState() (s observe.LimitState, ok bool) {
	return s, false
}

func TestWouldRefuseIsCounted(t *testing.T) {
	m := New()
	h := m.Observe(observe.NewEndpoint(pair{}))
	for _, e := range []observe.Event{
		{Kind: observe.WouldRefuse, Outcome: observe.RejectedBreaker, Reason: observe.ReasonBreakerOpen},
		{Kind: observe.WouldRefuse, Outcome: observe.RejectedBreaker, Reason: observe.ReasonBreakerOpen},
		{Kind: observe.WouldRefuse, Outcome: observe.RejectedLimit, Reason: observe.ReasonMustWait},
	} {
		h.Event(context.Background(), e)
	}
	if n := testutil.ToFloat64(m.observed.breaker.WithLabelValues("/s.S/Get", "dns:///a")); n != 2 {
		t.Errorf("breaker %v, want 2", n)
	}
	if n := testutil.ToFloat64(m.observed.limit.WithLabelValues("/s.S/Get", "must_wait")); n != 1 {
		t.Errorf("limit %v, want 1", n)
	}
}
