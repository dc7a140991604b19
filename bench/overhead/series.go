package overhead

import (
	"errors"
	"slices"
	"testing"
)

// series is what the rounds measured of one contender.
type series []testing.BenchmarkResult

// add runs a benchmark for one round more.
func (s *series) add(benchmark func(*testing.B)) error {
	r := testing.Benchmark(benchmark)
	if r.N == 0 {
		return errors.New("the benchmark failed: go test -bench tells why")
	}
	*s = append(*s, r)
	return nil
}

// ns returns the fastest round's time: disturbances only ever add to it.
func (s series) ns() float64 { return slices.Min(s.each(nsPerOp)) }

// allocs returns the median of the allocations of a call. It is a fraction
// where something allocates now and then.
func (s series) allocs() float64 { return median(s.each(allocsPerOp)) }

// bytes returns the median of the bytes allocated by a call.
func (s series) bytes() float64 { return median(s.each(bytesPerOp)) }

func (s series) each(of func(testing.BenchmarkResult) float64) []float64 {
	values := make([]float64, len(s))
	for i, r := range s {
		values[i] = of(r)
	}
	return values
}

func nsPerOp(r testing.BenchmarkResult) float64     { return float64(r.T.Nanoseconds()) / float64(r.N) }
func allocsPerOp(r testing.BenchmarkResult) float64 { return float64(r.MemAllocs) / float64(r.N) }
func bytesPerOp(r testing.BenchmarkResult) float64  { return float64(r.MemBytes) / float64(r.N) }

// over returns by how much s takes longer than other: the quotient of the
// fastest rounds, and the median of the quotients of each round.
func (s series) over(other series) (fastest, typical float64) {
	quotients := make([]float64, len(s))
	for i := range s {
		quotients[i] = nsPerOp(s[i]) / nsPerOp(other[i])
	}
	return s.ns() / other.ns(), median(quotients)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
