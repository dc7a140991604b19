package breaker

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestBalanceOpens: where failures never come seven in a row, and too few for a
// window to fill or too late for a good past to leave it, what counts is that
// successes do not outweigh them.
func TestBalanceOpens(t *testing.T) {
	for _, tc := range []struct {
		name    string
		healthy int           // calls before, within the window
		every   time.Duration // a call
		pattern []Outcome     // over and over
		calls   int           // until it opens; 0: never
	}{
		// Ten times 2 − 4/5, and two, make 14.
		{"two of three, seldom", 0, time.Minute, []Outcome{Failure, Failure, Success}, 32},
		{"two of three, after good times", 100_000, 0, []Outcome{Failure, Failure, Success}, 32},
		{"half, after good times", 100_000, 0, []Outcome{Failure, Success}, 131},
		{"a third, for long", 0, time.Minute, []Outcome{Failure, Success, Success}, 0},
		{"bursts of five, one call in six", 0, time.Minute, append(repeat(Failure, 5), repeat(Success, 25)...), 0},
		{"slow ones are no failures", 0, time.Minute, []Outcome{Failure, SlowSuccess, SlowSuccess}, 0},
		{"slow failures are", 0, time.Minute, []Outcome{SlowFailure, SlowFailure, Success}, 32},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig()
			cfg.SlowRate = 1
			m := NewMachine(cfg)
			settleAll(t, &m, 0, Success, tc.healthy)
			now, opened := time.Duration(0), 0
			for n := 1; n <= 10_000 && opened == 0; n++ {
				now += tc.every
				if got := settle(t, &m, now, tc.pattern[(n-1)%len(tc.pattern)]); got.Happened() {
					want(t, got, Closed, Open, Balance)
					opened = n
				}
			}
			if opened != tc.calls {
				t.Errorf("opened at call %d, want %d", opened, tc.calls)
			}
		})
	}
}

func repeat(o Outcome, n int) (all []Outcome) {
	for range n {
		all = append(all, o)
	}
	return all
}

// TestPatienceGrowsWithTheKnobs: who wants more failures in a row, or more
// calls, waits longer for the balance too.
func TestPatienceGrowsWithTheKnobs(t *testing.T) {
	for _, tc := range []struct {
		row, calls int
		rate, want float64
	}{
		{7, 20, 0.5, 14},
		{50, 20, 0.5, 100},
		{7, 200, 0.5, 100},
		{1, 20, 0.5, 10},
	} {
		cfg := Config{Consecutive: tc.row, MinCalls: tc.calls, FailureRate: tc.rate}
		if got := cfg.limit(); got != tc.want {
			t.Errorf("%+v: limit %v", tc, got)
		}
	}
	// If only failures alone are to open it, a success clears all.
	cfg := testConfig()
	cfg.FailureRate, cfg.Consecutive, cfg.MinCalls = 1, 1000, 1000
	d := newDetector(&cfg)
	for range 999 {
		d.add(0, &cfg, Failure, 0)
	}
	d.add(0, &cfg, Success, 0)
	if d.balance != 0 {
		t.Errorf("balance %v after a success", d.balance)
	}
}

// TestGuardBooksSuccessesExactly: at any rate of calls, over hours in which
// buckets are used again and again, with clocks that are read late, a guard
// that buffers successes judges as a detector that hears of each in turn.
func TestGuardBooksSuccessesExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := testConfig()
		cfg.Consecutive = rapid.IntRange(3, 9).Draw(t, "row")
		cfg.MinCalls = rapid.SampledFrom([]int{1, 20, 1 << 30}).Draw(t, "calls")
		cfg.FailureRate = rapid.SampledFrom([]float64{0.05, 0.5, 0.9}).Draw(t, "rate")
		g, plain := NewGuard(cfg), newDetector(&cfg)
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "failures") {
			for range rapid.IntRange(0, 40).Draw(t, "successes") {
				now += time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "dt"))
				late := now - time.Duration(rapid.SampledFrom([]int64{0, 0, 0, int64(15 * time.Second)}).Draw(t, "late"))
				token, _ := g.AdmitClosed()
				g.Succeed(late, token, rapid.Uint32Range(0, 1).Draw(t, "shard"))
				plain.succeeded(&cfg, 1)
			}
			token, ok := g.AdmitClosed()
			if !ok {
				t.Fatal("it has opened")
			}
			got := g.Settle(now, token, Failure, 0)
			want := plain.add(now, &cfg, Failure, 0) // which knows nothing of the window
			if (want == Consecutive || want == Balance) && got.Reason != want && got.Reason != FailureRate {
				t.Fatalf("the guard opens for %v, want %v", got.Reason, want)
			}
			if d := g.m.calls; d.row != plain.row || abs(d.balance-plain.balance) > rounding {
				t.Fatalf("the guard counts %d in a row and a balance of %v, want %d and %v", d.row, d.balance, plain.row, plain.balance)
			}
			if got.Happened() {
				return
			}
		}
	})
}

func abs(x float64) float64 { return max(x, -x) }
