package overhead

import (
	"testing"
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
	o, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	measure := func(rounds int) {
		if err := o.Measure(t.Context(), rounds, func(int) {}); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		measure(RoundsShort)
		t.Logf("%v%v", o, table(o.allocGates()))
		judge(t, o.allocGates())
		return
	}
	for range Tries {
		measure(Rounds)
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

// benchmarks makes plain benchmarks of turns.
func benchmarks(b *testing.B, of func(o *Overhead) []turn) {
	b.Helper()
	o, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer o.Close()
	for _, turn := range of(o) {
		b.Run(turn.name, turn.benchmark)
	}
}

func unary(all []Contender, benchmark func(Contender) func(*testing.B)) (turns []turn) {
	for _, c := range all {
		turns = append(turns, turn{name: c.Name, benchmark: benchmark(c)})
	}
	return turns
}

func wired(all []client, benchmark func(client) func(*testing.B)) (turns []turn) {
	for _, c := range all {
		turns = append(turns, turn{name: c.name, benchmark: benchmark(c)})
	}
	return turns
}

func BenchmarkSuccess(b *testing.B) {
	benchmarks(b, func(o *Overhead) []turn {
		return unary(o.winners, func(c Contender) func(*testing.B) { return serial(c, o.cc) })
	})
}

func BenchmarkSuccessParallel(b *testing.B) {
	benchmarks(b, func(o *Overhead) []turn {
		return unary(o.winners, func(c Contender) func(*testing.B) { return parallel(c, o.cc) })
	})
}

func BenchmarkFailing(b *testing.B) {
	benchmarks(b, func(o *Overhead) []turn {
		return unary(o.losers, func(c Contender) func(*testing.B) { return failing(c, o.cc) })
	})
}

func BenchmarkEndToEnd(b *testing.B) {
	benchmarks(b, func(o *Overhead) []turn { return wired(o.loopback, endToEnd) })
}

func BenchmarkStreamMessage(b *testing.B) {
	benchmarks(b, func(o *Overhead) []turn { return wired(o.loopback[:len(o.perMessage)], perMessage) })
}

func BenchmarkStreamSetUp(b *testing.B) {
	benchmarks(b, func(o *Overhead) []turn { return wired(o.loopback, setUp) })
}
