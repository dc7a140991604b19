package metrics_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/astra-grpc/astra/metrics"
	"github.com/astra-grpc/astra/observe"
)

// balanced is an endpoint whose suite balances load.
type balanced struct {
	observe.Source
	target, method string
	backends       []observe.Backend
}

func (b *balanced) Target() string                            { return b.target }
func (b *balanced) Method() string                            { return b.method }
func (*balanced) Breaker() (b observe.BreakerStatus, ok bool) { return b, false }
func (*balanced) Budget() (b observe.BudgetStatus, ok bool)   { return b, false }
func (*balanced) LimitState() (s observe.LimitState, ok bool) { return s, false }
func (b *balanced) Backends() []observe.Backend               { return b.backends }

// TestBackends: the methods of a target have the same backends, which count once;
// series go with the endpoint.
func TestBackends(t *testing.T) {
	m := metrics.New()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	list := []observe.Backend{
		{Address: "10.0.0.1:80", Of: 1, State: observe.BreakerOpen, Succeeded: 5, Failed: 7, WouldAvoid: 4, Ejections: map[observe.Reason]uint64{observe.ReasonConsecutive: 1}},
		{Address: "10.0.0.2:80", Of: 2, Succeeded: 9, Other: 1},
	}
	hi, by := &balanced{target: "dns:///x", method: hello, backends: list}, &balanced{target: "dns:///x", method: bye, backends: list}
	hooks := m.Observe(observe.NewEndpoint(hi))
	m.Observe(observe.NewEndpoint(by))
	hooks.Event(context.Background(), observe.Event{Kind: observe.AttemptEnd, Attempt: 2, AttemptKind: observe.RetryAttempt, Backend: "10.0.0.2:80", Elsewhere: true})
	want := `
# HELP astra_backend_attempts_total Attempts that ended, by their backend and what their end says of it.
# TYPE astra_backend_attempts_total counter
astra_backend_attempts_total{backend="10.0.0.1:80",outcome="failure",target="dns:///x"} 7
astra_backend_attempts_total{backend="10.0.0.1:80",outcome="other",target="dns:///x"} 0
astra_backend_attempts_total{backend="10.0.0.1:80",outcome="success",target="dns:///x"} 5
astra_backend_attempts_total{backend="10.0.0.2:80",outcome="failure",target="dns:///x"} 0
astra_backend_attempts_total{backend="10.0.0.2:80",outcome="other",target="dns:///x"} 1
astra_backend_attempts_total{backend="10.0.0.2:80",outcome="success",target="dns:///x"} 9
# HELP astra_backend_ejections_total Ejections of a target's backend, and drains by hand; a probe that failed ejects again.
# TYPE astra_backend_ejections_total counter
astra_backend_ejections_total{backend="10.0.0.1:80",reason="consecutive",target="dns:///x"} 1
# HELP astra_backend_elsewhere_total Retries, hedges and resumptions that went to a backend that their call had not been to.
# TYPE astra_backend_elsewhere_total counter
astra_backend_elsewhere_total{function="/helloworld.Greeter/SayBye"} 0
astra_backend_elsewhere_total{function="/helloworld.Greeter/SayHello"} 1
# HELP astra_backend_state State of a target's backend: 0 in, 1 on trial by probes, 2 ejected or drained.
# TYPE astra_backend_state gauge
astra_backend_state{backend="10.0.0.1:80",target="dns:///x"} 2
astra_backend_state{backend="10.0.0.2:80",target="dns:///x"} 0
# HELP astra_backend_would_avoid_total Attempts that would have gone elsewhere because their backend was ejected, were the mode of ejections to enforce.
# TYPE astra_backend_would_avoid_total counter
astra_backend_would_avoid_total{backend="10.0.0.1:80",target="dns:///x"} 4
astra_backend_would_avoid_total{backend="10.0.0.2:80",target="dns:///x"} 0
`
	names := []string{"astra_backend_state", "astra_backend_attempts_total", "astra_backend_ejections_total", "astra_backend_elsewhere_total", "astra_backend_would_avoid_total"}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	hi.backends, by.backends = list[1:], list[1:]
	if n, err := testutil.GatherAndCount(reg, "astra_backend_state"); err != nil || n != 1 {
		t.Errorf("%d backends once one has gone, want 1 (%v)", n, err)
	}
}

// TestBackendsAreBounded: a hundred of a target have names.
func TestBackendsAreBounded(t *testing.T) {
	m := metrics.New()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(m)
	for _, target := range []string{"dns:///x", "dns:///y"} {
		b := &balanced{target: target, method: hello}
		for i := range 250 {
			b.backends = append(b.backends, observe.Backend{Address: fmt.Sprintf("10.0.%d.1:80", i), Of: target + fmt.Sprint(i), Succeeded: 1})
		}
		m.Observe(observe.NewEndpoint(b))
	}
	if n, err := testutil.GatherAndCount(reg, "astra_backend_state"); err != nil || n != 202 {
		t.Errorf("%d series, want 101 a target (%v)", n, err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if f.GetName() == "astra_backend_attempts_total" && l.GetValue() == "other" && l.GetName() == "backend" && s.GetCounter().GetValue() != 150 && s.GetCounter().GetValue() != 0 {
					t.Errorf("the others succeeded %v times, want 150", s.GetCounter().GetValue())
				}
			}
		}
	}
}

// TestNamedBackendsStay: a suite gives its backends in any order, and the same hundred
// of them have names at each scrape, or counters would fall.
func TestNamedBackendsStay(t *testing.T) {
	m := metrics.New()
	reg := register(t, m)
	b := &balanced{target: "dns:///x", method: hello}
	for i := range 150 {
		b.backends = append(b.backends, observe.Backend{Address: fmt.Sprintf("10.0.0.%03d:80", i), Of: i, Succeeded: uint64(i)})
	}
	m.Observe(observe.NewEndpoint(b))
	before := values(t, reg, "astra_backend_attempts_total")
	for _, name := range []string{"10.0.0.000:80", "10.0.0.099:80", "other"} {
		if _, ok := before[name+" success dns:///x"]; !ok {
			t.Errorf("%s is not among the %d series", name, len(before))
		}
	}
	slices.Reverse(b.backends)
	after := values(t, reg, "astra_backend_attempts_total")
	if maps.DeleteFunc(before, func(series string, n float64) bool { return after[series] == n }); len(before) > 0 {
		t.Errorf("%d series have another value, or are gone, when the list is in another order", len(before))
	}
}

// TestElsewhereBeginsAtZero: of a method whose target has a backend, be it one, so that
// the first retry that goes to another, which came later, is an increase; not of others.
func TestElsewhereBeginsAtZero(t *testing.T) {
	m := metrics.New()
	reg := register(t, m)
	b := &balanced{target: "dns:///x", method: hello}
	m.Observe(observe.NewEndpoint(b))
	if got := values(t, reg, "astra_backend_elsewhere_total"); len(got) != 0 {
		t.Errorf("%v without a backend", got)
	}
	b.backends = []observe.Backend{{Address: "10.0.0.1:80", Of: 1}}
	if got := values(t, reg, "astra_backend_elsewhere_total"); !maps.Equal(got, map[string]float64{hello: 0}) {
		t.Errorf("%v with one, want zero", got)
	}
}
