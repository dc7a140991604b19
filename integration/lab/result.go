package lab

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Result is what the callers of one client saw in a row.
type Result struct {
	Delays     []time.Duration // of the calls that succeeded, ascending
	Failed     int
	Duplicates int // carried out twice, delivered twice, or answered wrongly because of that
	Openings   int // of the breaker
	Refused    int // calls that the breaker refused
	Attempts   int // requests that reached the server
}

// OK is how many calls succeeded.
func (r Result) OK() int { return len(r.Delays) }

// Within returns the time within which n calls had succeeded; the longest if
// there are fewer.
func (r Result) Within(n int) time.Duration {
	if len(r.Delays) == 0 || n < 1 {
		return 0
	}
	return r.Delays[min(n, len(r.Delays))-1]
}

// Row is one call under one fault.
type Row struct {
	Client, Call, Fault string
	Later               time.Duration // see Experiment.Later
	Repeats             bool          // see Record.Repeats
	Bare, Astra         Result
}

// p99 is the number of calls that 99 % of the bare client's successes are. Times
// are compared at equal numbers of successes: a call that the bare client fails
// and the suite saves late must not read as a delay.
func (r Row) p99() int { return int(math.Ceil(.99 * float64(r.Bare.OK()))) }

// What the two may differ by chance. Calls of both begin at the same moments, and
// faults hit both at the same moment, but not to the microsecond.
func byChance(n int) int                     { return int(2 * math.Sqrt(float64(n))) }
func p99Noise(d time.Duration) time.Duration { return d + d/4 + 100*time.Millisecond }
func maxNoise(d time.Duration) time.Duration { return d + d/2 + 500*time.Millisecond }

// Harms returns in what callers fared worse with the suite than without it.
func (r Row) Harms() (all []string) {
	bare, astra := r.Bare, r.Astra
	harm := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if limit := bare.Duplicates + byChance(bare.Duplicates) + r.own(); astra.Duplicates > limit {
		harm("%d duplicates, want at most the bare client's %d (%d by chance)", astra.Duplicates, bare.Duplicates, limit)
	}
	if limit := bare.Failed + 2 + byChance(bare.Failed); astra.Failed > limit {
		harm("%d failed, want at most the bare client's %d (%d by chance)", astra.Failed, bare.Failed, limit)
	}
	if least := bare.OK() - 2 - byChance(bare.Failed); astra.OK() < least {
		harm("%d succeeded, want at least the bare client's %d (%d by chance)", astra.OK(), bare.OK(), least)
	}
	if got, want := astra.Within(r.p99()), bare.Within(r.p99()); got > p99Noise(want)+r.Later {
		harm("%d calls had succeeded within %v, want the bare client's %v (%v with noise)", r.p99(), got, want, p99Noise(want))
	}
	if got, want := astra.Within(bare.OK()), bare.Within(bare.OK()); got > maxNoise(want)+r.Later {
		harm("%d calls had succeeded within %v, want the bare client's %v (%v with noise)", bare.OK(), got, want, maxNoise(want))
	}
	return all
}

// own is how many duplicates more than the bare client's may be the client's own.
func (r Row) own() int {
	if r.Repeats {
		return 3
	}
	return 0
}

// proof reports whether the row shows what no chance explains.
func (r Row) proof() bool {
	return r.Bare.Duplicates == 0 && r.Astra.Duplicates > r.own()
}

// Header is the head of the table.
const Header = "| Call | Fault | Client | Succeeded | Failed | Duplicates | p99 | Longest | Breaker opened | Attempts at the server |\n" +
	"|---|---|---|---:|---:|---:|---:|---:|---:|---:|\n"

// Markdown returns the row as two lines of the table.
func (r Row) Markdown() string {
	line := func(call, fault, client string, x Result, openings string) string {
		return fmt.Sprintf("| %s | %s | %s | %d | %d | %d | %s | %s | %s | %d |\n", call, fault, client,
			x.OK(), x.Failed, x.Duplicates, short(x.Within(r.p99())), short(x.Within(math.MaxInt)), openings, x.Attempts)
	}
	fault := r.Fault
	if r.Later > 0 {
		fault += fmt.Sprintf(" (may take %v longer)", r.Later)
	}
	return line(r.Call, fault, "bare", r.Bare, "–") + line("", "", "astra", r.Astra, fmt.Sprint(r.Astra.Openings))
}

// short returns a duration with two or three digits.
func short(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}

func sorted(ds []time.Duration) []time.Duration {
	ds = slices.Clone(ds)
	slices.Sort(ds)
	return ds
}
