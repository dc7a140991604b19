package real

import (
	"fmt"
	"slices"
	"time"

	"github.com/astra-grpc/astra/bench/lab"
	"github.com/astra-grpc/astra/bench/peers"
)

// backendResults are all runs of the scenario.
type backendResults struct {
	clients []peers.Client
	sizes   []int
	runs    [][][][]backendsRun // of client, size, fault, repeat
}

func newBackendResults(clients []peers.Client, sizes []int, repeats int) *backendResults {
	r := &backendResults{clients: clients, sizes: sizes}
	for range clients {
		var bySize [][][]backendsRun
		for range sizes {
			var byFault [][]backendsRun
			for range backendFaults {
				byFault = append(byFault, make([]backendsRun, repeats))
			}
			bySize = append(bySize, byFault)
		}
		r.runs = append(r.runs, bySize)
	}
	return r
}

// of returns the runs of a contender, a number of backends and a fault.
func (r *backendResults) of(name string, size int, fault string) []backendsRun {
	c := slices.IndexFunc(r.clients, func(c peers.Client) bool { return c.Name == name })
	f := slices.IndexFunc(backendFaults, func(f backendFault) bool { return f.name == fault })
	return r.runs[c][slices.Index(r.sizes, size)][f]
}

// table has a column for each number of backends and each of the faults.
func (r *backendResults) table(t lab.Table, column lab.Column, faults []string, cell func([]backendsRun) lab.Cell) lab.Table {
	for _, n := range r.sizes {
		for _, fault := range faults {
			column.Name = fmt.Sprintf("1 of %d %s", n, fault)
			if fault == faultNone {
				column.Name = fmt.Sprintf("%d well", n)
			}
			t.Columns = append(t.Columns, column)
		}
	}
	for _, c := range r.clients {
		row := rowOf(c)
		for _, n := range r.sizes {
			for _, fault := range faults {
				row.Cells = append(row.Cells, cell(r.of(c.Name, n, fault)))
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func spreadOf(value func(backendsRun) float64) func([]backendsRun) lab.Cell {
	return func(runs []backendsRun) lab.Cell { return each(runs, value).cell() }
}

func successOf(r backendsRun) float64 { return 100 * r.success }
func loadOf(r backendsRun) float64    { return r.attempts }
func p99Of(r backendsRun) float64     { return r.p99 }

// result with speed has when a bad backend was left alone, and back.
func (r *backendResults) result(speed bool) *lab.Result {
	bad := []string{faultRefuse, faultHang, faultHalf, faultSlow}
	gone := []string{faultRefuse, faultHang}
	tables := []lab.Table{
		r.table(lab.Table{Title: "Calls that succeed, in %", Quoted: true}, lab.Column{Better: lab.Higher, Digits: 2}, bad, spreadOf(successOf)),
		r.table(lab.Table{Title: "Attempts per call"}, lab.Column{Better: lab.Lower, Digits: 3}, bad, spreadOf(loadOf)),
		r.table(lab.Table{Title: "p99 of the calls that succeed"}, lab.Column{Unit: "ms", Better: lab.Lower, Digits: 0}, append([]string{faultNone}, bad...), spreadOf(p99Of)),
		r.table(lab.Table{Title: "The bad backend's share of the attempts, second half"}, lab.Column{Unit: "%", Digits: 1}, bad,
			spreadOf(func(r backendsRun) float64 { return 100 * r.late })),
	}
	if speed {
		times := lab.Column{Unit: "s", Better: lab.Lower, Digits: 2}
		tables = append(tables,
			r.table(lab.Table{Title: "The bad backend gets less than half of its share after"}, times, gone,
				func(runs []backendsRun) lab.Cell { return typical(stopsOf(runs)) }),
			r.table(lab.Table{Title: "And half of it again, once it is well, after", Note: "At once for those that never stopped."}, times, gone,
				func(runs []backendsRun) lab.Cell { return typical(backsOf(runs)) }))
	}
	var all [][][]backendsRun
	for _, bySize := range r.runs {
		all = append(all, bySize...)
	}
	return lag(&lab.Result{
		Contenders: contenders(r.clients),
		Tables:     tables,
		Gates:      r.gates(speed),
		Notes: []string{
			"A retry by round_robin goes to the next backend as a rule; which is the bad one again if others' calls came between.",
			"outlier_detection looks once a second, and back after five, and lets all traffic return at once.",
		},
	}, all, func(r backendsRun) []time.Duration { return r.lags })
}

func stopsOf(runs []backendsRun) (all []recovered) {
	for _, r := range runs {
		all = append(all, r.stop)
	}
	return all
}

func backsOf(runs []backendsRun) (all []recovered) {
	for _, r := range runs {
		all = append(all, r.back)
	}
	return all
}

// gates are the promises about those that balance load.
func (r *backendResults) gates(speed bool) (gates []lab.Gate) {
	for _, name := range []string{peers.AstraBalanced, peers.AstraBalancedP2C} {
		for _, n := range r.sizes {
			for _, fault := range []string{faultRefuse, faultHang, faultHalf} {
				runs, where := r.of(name, n, fault), fmt.Sprintf("%s, 1 of %d %s: ", name, n, fault)
				limit := 1.05
				if fault == faultHalf {
					limit = 1.08
				}
				gates = append(gates,
					lab.Gate{What: where + "calls that succeed", Unit: "%", Value: each(runs, successOf).median(), Limit: 99.9, AtLeast: true},
					lab.Gate{What: where + "attempts per call", Value: each(runs, loadOf).median(), Limit: limit})
				if speed && fault != faultHalf {
					gates = append(gates,
						lab.Gate{What: where + "left alone after", Unit: "s", Value: typical(stopsOf(runs)).Value, Limit: 0.5},
						lab.Gate{What: where + "back after", Unit: "s", Value: typical(backsOf(runs)).Value, Limit: 5})
				}
			}
		}
	}
	for _, n := range r.sizes {
		once := r.of(peers.AstraBalancedOnce, n, faultRefuse)
		// It takes seven in a row, with a few more under way, however long the run.
		limit := 100 * max(0.01, 15/once[0].calls)
		gates = append(gates, lab.Gate{What: fmt.Sprintf("%s, 1 of %d refuses: calls that fail", peers.AstraBalancedOnce, n), Unit: "%",
			Value: 100 - each(once, successOf).median(), Limit: limit})
		slow, well := r.of(peers.AstraBalancedP2C, n, faultSlow), r.of(peers.BareRoundRobin, n, faultNone)
		a, b := each(slow, p99Of).median(), each(well, p99Of).median()
		gates = append(gates, lab.Gate{What: fmt.Sprintf("%s, 1 of %d slow: p99 ÷ p99 of bare round_robin, all well", peers.AstraBalancedP2C, n), Unit: "×", Times: true,
			Value: a / b, Limit: 1.3, Note: fmt.Sprintf("%.0f ÷ %.0f ms", a, b)})
	}
	return append(gates, r.noHarm()...)
}

// tolerated is the share of calls, in percent, that a busy machine fails by
// itself.
const tolerated = 0.2

// byChance is the share of calls, in percent, by which the successes of two runs may
// differ if half of what one backend of two gets fails by chance.
const byChance = 5

// noHarm are the promises that hold in every cell.
func (r *backendResults) noHarm() []lab.Gate {
	balanced := []string{peers.AstraBalanced, peers.AstraBalancedP2C, peers.AstraBalancedOnce}
	with, whereWith := r.worst(balanced)
	without, whereWithout := r.worst([]string{peers.AstraUnbalanced, peers.AstraUnbalanced1})
	refused := 0.0
	for _, name := range append(balanced, peers.AstraUnbalanced, peers.AstraUnbalanced1) {
		for _, n := range r.sizes {
			for _, f := range backendFaults {
				refused = max(refused, each(r.of(name, n, f.name), func(r backendsRun) float64 { return 100 * r.refused }).median())
			}
		}
	}
	return []lab.Gate{
		{What: "calls that succeed with bare round_robin and fail with balancing, worst cell", Unit: "%", Value: with, Limit: tolerated, Note: whereWith},
		{What: "calls that succeed with bare round_robin and fail without balancing, worst cell", Unit: "%", Value: without, Limit: byChance, Note: whereWithout},
		{What: "calls that the target's breaker refuses, worst cell", Unit: "%", Value: refused, Limit: 0},
	}
}

// worst returns by how much fewer calls succeed than with bare round_robin in the
// worst cell of some clients, in percent, and which that is.
func (r *backendResults) worst(clients []string) (worst float64, where string) {
	where = "none is worse"
	for _, name := range clients {
		for _, n := range r.sizes {
			for _, f := range backendFaults {
				less := each(r.of(peers.BareRoundRobin, n, f.name), successOf).median() - each(r.of(name, n, f.name), successOf).median()
				if less > worst {
					worst, where = less, fmt.Sprintf("%s, %d, %s", name, n, f.name)
				}
			}
		}
	}
	return worst, where
}
