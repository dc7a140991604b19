package budget

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBucketFlow(t *testing.T) {
	b := NewBucket(0, Config{Ratio: 0.1, MinPerSecond: 1, Burst: 2})
	take := func(now time.Duration, want bool) {
		t.Helper()
		if got := b.Take(now); got != want {
			t.Fatalf("Take(%v) = %v with %v tokens", now, got, b.tokens)
		}
	}
	take(0, true)
	take(0, true)
	take(0, false)
	for range 9 {
		b.Deposit()
	}
	take(0, false)
	b.Deposit() // ten times a tenth
	take(0, true)
	take(0, false)
	take(999*time.Millisecond, false)
	take(time.Second, true)
	take(time.Second, false)
	b.Refund()
	take(time.Second, true)
	if got := b.Level(time.Hour); got != 2 {
		t.Fatalf("an hour filled it to %v, past its burst", got)
	}
}

// TestClockReadLate: of two calls the one that read the clock first may come
// second; that takes nothing away.
func TestClockReadLate(t *testing.T) {
	b := NewBucket(10*time.Second, Config{MinPerSecond: 1, Burst: 2})
	if !b.Take(0) {
		t.Fatal("refused by a full bucket")
	}
}

// TestEmpty: from the first take that is refused until the bucket is half full, however
// often a token comes and goes between; each turn is reported once.
func TestEmpty(t *testing.T) {
	g := NewGuard(0, Config{Ratio: 0.5, MinPerSecond: 0.1, Burst: 6})
	want := func(now time.Duration, turn Turn, since time.Duration, empty bool) {
		t.Helper()
		gotTurn, _ := g.Turned()
		if got, is := g.Empty(now); gotTurn != turn || got != since || is != empty {
			t.Fatalf("at %v: turn %v, empty %v since %v; want %v, %v since %v", now, gotTurn, is, got, turn, empty, since)
		}
	}
	for range 6 {
		g.Take(0)
	}
	want(0, Unturned, 0, false) // nobody was refused
	g.Take(time.Second)
	want(time.Second, Emptied, time.Second, true)
	for i := range 3 {
		if ok := g.Take(20 * time.Second); ok != (i < 2) {
			t.Fatalf("take %d of two tokens: %v", i+1, ok)
		}
	}
	want(20*time.Second, Unturned, time.Second, true)
	deposits := 1
	for ; !g.Deposit(); deposits++ {
	}
	if deposits != 6 {
		t.Errorf("half full after %d deposits of 0.5, want 6: none of its tokens was left", deposits)
	}
	if turn, since := g.Turned(); turn != Recovered || since != time.Second {
		t.Errorf("turn %v, since %v", turn, since)
	}
	want(20*time.Second, Unturned, 0, false)
}

// TestRecoveryIsHeardOf though time brought it, and the bucket is full.
func TestRecoveryIsHeardOf(t *testing.T) {
	g := NewGuard(0, Config{Ratio: 1, MinPerSecond: 1, Burst: 2})
	for range 3 {
		g.Take(0)
	}
	if turn, _ := g.Turned(); turn != Emptied {
		t.Fatalf("turn %v", turn)
	}
	if level := g.Level(time.Hour); level != 2 {
		t.Fatalf("%v tokens", level)
	}
	if !g.Deposit() {
		t.Error("a deposit does not say that there is news")
	}
	if turn, _ := g.Turned(); turn != Recovered {
		t.Errorf("turn %v", turn)
	}
	if g.Deposit() {
		t.Error("there is news again")
	}
}

// TestSuccessorIsEmptyToo: a reload does not change since when.
func TestSuccessorIsEmptyToo(t *testing.T) {
	g := NewGuard(0, Config{Burst: 4})
	for range 5 {
		g.Take(time.Second)
	}
	_, _ = g.Turned()
	next := g.Successor(time.Minute, Config{Burst: 10})
	if since, empty := next.Empty(time.Minute); !empty || since != time.Second {
		t.Errorf("empty %v since %v", empty, since)
	}
	if turn, _ := next.Turned(); turn != Unturned {
		t.Errorf("turn %v: it was reported before", turn)
	}
}

// TestBucketBoundsLoad: in any sequence of successes, refusals, refunds and
// waits, tokens taken ≤ burst + ratio × successes + rate × time.
func TestBucketBoundsLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := Config{
			Ratio:        rapid.Float64Range(0.01, 2).Draw(t, "ratio"),
			MinPerSecond: rapid.Float64Range(0, 10).Draw(t, "rate"),
			Burst:        rapid.Float64Range(1, 20).Draw(t, "burst"),
		}
		g := NewGuard(0, cfg)
		var now time.Duration
		var taken, successes float64
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "dt"))
			case 1:
				g.Deposit()
				successes++
			case 2:
				if taken > 0 {
					g.Refund()
					taken--
				}
			default:
				if g.Take(now) {
					taken++
				}
			}
			bound := cfg.Burst + cfg.Ratio*successes + cfg.MinPerSecond*now.Seconds()
			if taken > bound+1e-6 {
				t.Fatalf("%v attempts paid for, bound %v", taken, bound)
			}
			if level := g.Level(now); level < 0 || level > cfg.Burst {
				t.Fatalf("level %v", level)
			}
			if g.full.Load() != (g.b.tokens >= cfg.Burst) { // nobody asks what it has become, so it has shown nothing
				t.Fatal("the flag of fullness lies")
			}
		}
	})
}

func TestGuardConcurrent(t *testing.T) {
	const workers, each = 8, 2000
	g := NewGuard(0, Config{Ratio: 0.5, Burst: 10})
	var taken atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if g.Take(0) {
					taken.Add(1)
				}
				g.Deposit()
			}
		})
	}
	wg.Wait()
	// No time passes and none is lost: all that was earned was taken, is
	// held, or ran over.
	earned := 10 + 0.5*workers*each
	if sum := float64(taken.Load()) + g.Level(0); sum > earned+1e-6 || sum < earned-1 {
		t.Fatalf("%v tokens taken or held, %v earned", sum, earned)
	}
}

func TestSuccessorStartsWithWhatThereIs(t *testing.T) {
	g := NewGuard(0, Config{Ratio: 0.5, Burst: 10})
	for range 7 {
		g.Take(0)
	}
	if got := g.Successor(0, Config{Burst: 100}).Level(0); got != 3 {
		t.Errorf("the larger one starts with %v, want 3", got)
	}
	next := g.Successor(0, Config{Ratio: 1, Burst: 2})
	if got := next.Level(0); got != 2 {
		t.Errorf("the smaller one starts with %v, want 2", got)
	}
	next = g.Successor(0, Config{Ratio: 1, Burst: 4})
	next.Deposit()
	if got := next.Level(0); math.Abs(got-4) > 1e-9 {
		t.Errorf("a deposit was missed: %v", got)
	}
}

func BenchmarkDepositFull(b *testing.B) {
	g := NewGuard(0, Config{Ratio: 0.2, Burst: 50})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			g.Deposit()
		}
	})
}
