package overhead

import (
	"github.com/astra-grpc/astra/bench/lab"
)

const (
	// Rounds are enough to judge times on a machine at rest.
	Rounds = 30
	// RoundsShort are enough to judge allocations.
	RoundsShort = 10
	// Tries is how often more rounds are added before times are believed to be
	// too long.
	Tries = 3
)

// part is a table of what was measured over loopback.
type part struct {
	title  string
	series []series // of loopback's clients, in their order
}

func (o *Overhead) overLoopback() []part {
	return []part{
		{"end to end, loopback", o.endToEnd},
		{"message on a stream, loopback", o.perMessage},
		{"server stream of three messages, loopback", o.setUps},
	}
}

// Settled reports whether more rounds would change nothing: times are within
// their limits.
func (o *Overhead) Settled() bool { return len(missed(o.timeGates())) == 0 }

// Gates are the promises about allocations, and with times about times too.
func (o *Overhead) Gates(times bool) (all []lab.Gate) {
	for _, g := range o.allocGates() {
		all = append(all, lab.Gate{What: g.what, Value: g.value, Limit: g.limit})
	}
	if times {
		for _, g := range o.timeGates() {
			all = append(all, lab.Gate{What: g.what, Unit: "×", Times: true, Value: g.value, Limit: g.limit, Note: g.note})
		}
	}
	return all
}

const howTimed = "times are the fastest round's, beside it the median round's; memory and allocations the median round's"

// Tables are what was measured.
func (o *Overhead) Tables() []lab.Table {
	ns := func(name string) lab.Column { return lab.Column{Name: name, Unit: "ns", Better: lab.Lower} }
	memory := []lab.Column{{Name: "memory", Unit: "B", Better: lab.Lower}, {Name: "allocations", Better: lab.Lower}}
	success := lab.Table{
		Title: "success, no-op invoker", Quoted: true, Note: howTimed,
		Columns: append([]lab.Column{ns("time"), ns("parallel")}, memory...),
	}
	for i, c := range o.winners {
		s := o.serial[i]
		success.Rows = append(success.Rows, lab.Row{
			Name: c.Name, Ours: c.Ours, Cells: append([]lab.Cell{s.time(), o.parallel[i].time()}, s.memory()...),
		})
	}
	failure := lab.Table{
		Title: "failure, two retries at once, no-op invoker", Note: howTimed,
		Columns: append([]lab.Column{ns("time")}, memory...),
	}
	for i, c := range o.losers {
		failure.Rows = append(failure.Rows, row(c.Name, c.Ours, o.failing[i]))
	}
	all := []lab.Table{success, failure}
	memory[1].Digits = 1
	for _, part := range o.overLoopback() {
		t := lab.Table{Title: part.title, Note: howTimed, Columns: append([]lab.Column{ns("time")}, memory...)}
		for i, s := range part.series {
			r := row(o.loopback[i].name, o.loopback[i].ours, s)
			r.Baseline = i == plainClient
			t.Rows = append(t.Rows, r)
		}
		all = append(all, t)
	}
	return all
}

func row(name string, ours bool, s series) lab.Row {
	return lab.Row{Name: name, Ours: ours, Cells: append([]lab.Cell{s.time()}, s.memory()...)}
}

func (s series) time() lab.Cell {
	return lab.Cell{Value: s.ns(), Low: s.ns(), High: median(s.each(nsPerOp))}
}

func (s series) memory() []lab.Cell {
	return []lab.Cell{{Value: s.bytes()}, {Value: s.allocs()}}
}

// Contenders describes how each is set.
func (o *Overhead) Contenders() []lab.Contender {
	return []lab.Contender{
		{Name: "astra", Config: "interceptors.New(), with metrics in a registry", Why: "the defaults, as a service has them", Ours: true},
		{Name: "astra on the failing path", Config: "backoff of 1 ns; with breaker and budget: thresholds too wide to be reached", Why: "else they would end what is measured", Ours: true},
		{Name: "hedge", Config: "after 1 s, which never passes", Why: "armed and not fired: what every call pays"},
		{Name: "go-grpc-middleware retry", Config: "retry.WithMax(3); no backoff on the failing path", Why: "its defaults have no timeout for attempts, which would allocate"},
		{Name: "gobreaker", Config: "its defaults, around Execute", Why: "its cheapest form: no window, and its two-step form allocates"},
		{Name: "grpcprom", Config: "grpcprom.NewClientMetrics(), in a registry", Why: "its defaults have no histogram, which would cost more"},
		{Name: "chain", Config: "grpcprom around gobreaker around go-grpc-middleware retry", Why: "what a service puts together to have what astra has"},
		{Name: "failsafegrpc", Config: "NewRetryPolicyBuilder; breaker WithFailureThreshold(5)", Why: "retry as by default; the breaker's default opens at one failure"},
	}
}
