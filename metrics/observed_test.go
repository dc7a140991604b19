package metrics

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/astra-grpc/astra/observe"
)

type observing struct{ observe.Source }

func (observing) Target() string { return "dns:///a" }
func (observing) Method() string { return "/s.S/Get" }

func (observing) Breaker() (b observe.BreakerStatus, ok bool) { return b, false }

func TestWouldRefuseIsCounted(t *testing.T) {
	m := New()
	h := m.Observe(observe.NewEndpoint(observing{}))
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
