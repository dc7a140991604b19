package overhead

import (
	"fmt"
	"math"
)

// gate is a promise about a measured value: at most limit.
type gate struct {
	what         string
	value, limit float64
	note         string
}

func (g gate) holds() bool { return g.value <= g.limit }

func missed(gates []gate) (faults []string) {
	for _, g := range gates {
		if !g.holds() {
			faults = append(faults, fmt.Sprintf("%s: %.3f, want at most %v", g.what, g.value, g.limit))
		}
	}
	return faults
}

// allocGates are the promises about allocations, which no other process
// disturbs.
func (o *Overhead) allocGates() []gate {
	g := func(what string, value, limit float64) gate {
		// Pools refilled after a collection, and what runs once, leave fractions.
		return gate{what: what, value: math.Round(value), limit: limit, note: fmt.Sprintf("%.3f", value)}
	}
	astra, plain := o.endToEnd[astraClient], o.endToEnd[plainClient]
	return []gate{
		g("allocations, success", o.serial[astraFull].allocs(), 0),
		g("allocations, success, parallel", o.parallel[astraFull].allocs(), 0),
		g("allocations, success, with limits", o.serial[astraLimit].allocs(), 0),
		g("allocations, hedging armed", o.serial[astraHedge].allocs(), 12),
		// Four of them are the record of the call and its attempts, for snapshots.
		g("allocations, two retries, retry only", o.failing[astraRetry].allocs(), 10),
		g("allocations, two retries, all of astra", o.failing[astraPatient].allocs(), 10),
		g("extra allocations, end to end", astra.allocs()-plain.allocs(), 1),
		g("extra allocations, message on a stream", o.perMessage[astraClient].allocs()-o.perMessage[plainClient].allocs(), 0),
	}
}

// timeGates are the promises about times.
func (o *Overhead) timeGates() []gate {
	g := func(what string, a, b series, limit float64) gate {
		fastest, typical := a.over(b)
		return gate{what: what, value: fastest, limit: limit, note: fmt.Sprintf("median round %.3f", typical)}
	}
	astra := o.serial[astraFull]
	return []gate{
		g("time, astra ÷ chain", astra, o.serial[chain], 0.20),
		g("time, astra ÷ failsafe", astra, o.serial[failsafe], 0.20),
		g("time, astra parallel ÷ serial", o.parallel[astraFull], astra, 1.30),
		g("time, hedging armed, astra ÷ failsafe", o.serial[astraHedge], o.serial[failsafeHedge], 1),
	}
}
