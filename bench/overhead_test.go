package bench

import (
	"flag"
	"runtime"
	"testing"
)

const (
	// rounds are many and short: on a busy machine some are left alone.
	rounds      = 30
	roundsShort = 10
	roundTime   = "8ms" // of each benchmark, as -benchtime has it
	// tries is how often more rounds are added before times are believed to be
	// too long.
	tries = 3
)

// TestOverhead holds astra to what it promises to cost, and prints how it and
// its peers fare. With -short times are not judged.
//
// A busy machine slows down whoever allocates most, so a ratio can be missed by
// noise and also be met by it. That is why another try adds its rounds to those
// before: the fastest of all rounds comes closer to the truth for everyone,
// where the luckiest try would not.
func TestOverhead(t *testing.T) {
	if distorted {
		t.Skip("the race detector allocates and delays on its own account")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // what parallel means here
	setBenchtime(t, roundTime)
	o := newOverhead(t)

	if testing.Short() {
		o.measure(t, roundsShort)
		t.Logf("%v%v", o, table(o.allocGates()))
		judge(t, o.allocGates())
		return
	}
	for range tries {
		o.measure(t, rounds)
		if len(missed(o.timeGates())) == 0 {
			break
		}
	}
	gates := append(o.allocGates(), o.timeGates()...)
	t.Logf("%v%v", o, table(gates))
	judge(t, gates)
}

func judge(t *testing.T, gates []gate) {
	t.Helper()
	for _, fault := range missed(gates) {
		t.Error(fault)
	}
}

// setBenchtime sets how long testing.Benchmark runs, for this test.
func setBenchtime(t *testing.T, d string) {
	t.Helper()
	f := flag.Lookup("test.benchtime")
	before := f.Value.String()
	t.Cleanup(func() { _ = f.Value.Set(before) })
	if err := f.Value.Set(d); err != nil {
		t.Fatal(err)
	}
}
