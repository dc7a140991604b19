package breaker

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestGuardCountsEverySuccess: what many goroutines buffer without a lock is
// all there when a failure is judged.
func TestGuardCountsEverySuccess(t *testing.T) {
	const workers, each = 8, 1000
	cfg := testConfig()
	cfg.MinCalls = 1
	cfg.FailureRate = 1.0 / (workers*each + 1) // one failure among them all is just enough
	cfg.Consecutive = 100
	g := NewGuard(cfg)
	var wg sync.WaitGroup
	for i := range uint32(workers) {
		wg.Go(func() {
			for range each {
				token, ok := g.AdmitClosed()
				if !ok {
					t.Error("refused while closed")
				}
				g.Succeed(3*time.Second, token, i)
			}
		})
	}
	wg.Wait()
	token, _ := g.AdmitClosed()
	g.Succeed(3*time.Second, token, 0) // one more: now it is too small a share
	if got := g.Settle(3*time.Second, token, Failure, 0); got.Happened() {
		t.Fatalf("a success was not counted: %v", got)
	}
	if got := g.Settle(3*time.Second, token, Failure, 0); !got.Happened() {
		t.Fatal("successes were counted twice")
	}
}

// TestGuardUnderLoad: whatever interleaves, no more than Probes probes are in
// flight, and every one of them ends.
func TestGuardUnderLoad(t *testing.T) {
	cfg := testConfig()
	cfg.Consecutive, cfg.Probes = 3, 2
	cfg.OpenFor, cfg.MaxOpenFor = time.Millisecond, 2*time.Millisecond
	g := NewGuard(cfg)
	var clock, probes, most, opened atomic.Int64
	var wg sync.WaitGroup
	for i := range uint32(8) {
		wg.Go(func() {
			for n := range 20000 {
				now := time.Duration(clock.Add(int64(10 * time.Microsecond)))
				token, ok := g.AdmitClosed()
				if !ok {
					token, _, _, ok = g.Admit(now)
				}
				if !ok {
					continue
				}
				if token.Probe() {
					p := probes.Add(1)
					for m := most.Load(); p > m && !most.CompareAndSwap(m, p); m = most.Load() {
					}
					runtime.Gosched() // let others try to be too many
					probes.Add(-1)    // before its slot is freed
				}
				var change Transition
				if (n/50+int(i))%3 == 0 {
					change = g.Settle(now, token, Failure, 0.5)
				} else {
					change = g.Succeed(now, token, i)
				}
				if change.To == Open {
					opened.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() > 2 {
		t.Errorf("%d probes at once", most.Load())
	}
	if opened.Load() == 0 {
		t.Error("it never opened: the test shows nothing")
	}
	now := time.Duration(clock.Load()) + time.Hour
	if _, ok := g.AdmitClosed(); !ok {
		if _, _, _, ok := g.Admit(now); !ok {
			t.Error("a probe's slot was lost")
		}
	}
}

// TestFailuresThatQueue: each of these failures came after a success. That they
// all wait for the lock must not make them a row.
func TestFailuresThatQueue(t *testing.T) {
	cfg := testConfig()
	cfg.Consecutive, cfg.MinCalls = 2, 100
	g := NewGuard(cfg)
	token, _ := g.AdmitClosed()
	g.mu.Lock()
	var wg sync.WaitGroup
	for range 8 {
		g.Succeed(0, token, 0)
		wg.Go(func() {
			if got := g.Settle(0, token, Failure, 0); got.Happened() {
				t.Errorf("it opened: %v", got.Reason)
			}
		})
		for deadline := time.Now().Add(10 * time.Second); uint32(g.first.slots[0].Load()) > 0; {
			if runtime.Gosched(); time.Now().After(deadline) {
				g.mu.Unlock()
				t.Fatal("the failure waits without having looked what came before it")
			}
		}
	}
	g.mu.Unlock()
	wg.Wait()
}

func TestGuardReconfigureKeepsCounts(t *testing.T) {
	cfg := testConfig()
	cfg.Consecutive = 100
	g := NewGuard(cfg)
	token, _ := g.AdmitClosed()
	for range 15 {
		g.Succeed(0, token, 1)
	}
	cfg.MinCalls = 16
	cfg.FailureRate = 1.0 / 16
	g.Reconfigure(0, cfg)
	if got := g.Settle(0, token, Failure, 0); got.Reason != FailureRate {
		t.Fatalf("%v: the buffered successes were lost", got)
	}
}

// TestBatchOfAnotherWidth: successes taken just before the window changes still
// clear failures, but are in none of its buckets.
func TestBatchOfAnotherWidth(t *testing.T) {
	cfg := testConfig()
	g := NewGuard(cfg)
	token, _ := g.AdmitClosed()
	g.Settle(15*time.Second, token, Failure, 0)
	g.Succeed(15*time.Second, token, 1)
	taken := g.collect(15 * time.Second)
	cfg.Window = 100 * time.Second
	g.Reconfigure(15*time.Second, cfg)
	g.book(&taken)
	if n := g.m.calls.window.sum(150 * time.Second).calls; n != 0 || g.m.calls.row != 0 {
		t.Errorf("%d calls in the window, %d failures in a row", n, g.m.calls.row)
	}
}

// TestLateClocks: neither a clock read a window ago, nor one counted by another
// width, takes away what is known.
func TestLateClocks(t *testing.T) {
	cfg := testConfig()
	cfg.Consecutive, cfg.MinCalls, cfg.FailureRate = 100, 1, 0.5
	for _, from := range []time.Duration{0, 1e6 * time.Second} {
		g := NewGuard(cfg)
		token, _ := g.AdmitClosed()
		g.Succeed(from+15*time.Second, token, 0)
		g.Succeed(from+5*time.Second, token, 0)
		if calls, _ := g.Recent(from + 15*time.Second); calls != 1 {
			t.Errorf("from %v: %d calls in the window, want the newer", from, calls)
		}
	}
	few := cfg
	few.MinCalls = 100
	g := NewGuard(few) // the late one is in no window, but a success
	token, _ := g.AdmitClosed()
	for _, at := range []time.Duration{15 * time.Second, 5 * time.Second} {
		for range 3 {
			g.Settle(15*time.Second, token, Failure, 0)
		}
		g.Succeed(at, token, 0)
	}
	g.Succeed(15*time.Second, token, 0)
	g.Succeed(5*time.Second, token, 0)
	g.Recent(15 * time.Second)
	if got, want := g.m.calls.balance, 6-4*g.m.cfg.weight(); math.Abs(got-want) > rounding {
		t.Errorf("a balance of %v after six failures and four successes, want %v", got, want)
	}
	g = NewGuard(cfg)
	token, _ = g.AdmitClosed()
	for range 10 {
		g.Succeed(15*time.Second, token, 0)
	}
	g.Succeed(5*time.Second, token, 0) // the same bucket, ten epochs ago
	for range 9 {
		if g.Settle(15*time.Second, token, Failure, 0).Happened() {
			t.Fatal("a late success took newer ones away")
		}
	}

	g = NewGuard(cfg)
	token, _ = g.AdmitClosed()
	g.more.Store(new([shards]shard))
	g.more.Load()[0].add(1_000_015) // as if the width had been a thousandth
	for range 10 {
		g.Succeed(15*time.Second, token, 1)
	}
	for range 9 {
		if g.Settle(15*time.Second, token, Failure, 0).Happened() {
			t.Fatal("a bucket counts nothing")
		}
	}
}

func BenchmarkGuardSuccess(b *testing.B) {
	g := NewGuard(testConfig())
	for b.Loop() {
		token, _ := g.AdmitClosed()
		g.Succeed(time.Second, token, 1)
	}
}

func BenchmarkGuardSuccessParallel(b *testing.B) {
	g := NewGuard(testConfig())
	var shard atomic.Uint32
	b.RunParallel(func(pb *testing.PB) {
		own := shard.Add(1)
		for pb.Next() {
			token, _ := g.AdmitClosed()
			g.Succeed(time.Second, token, own)
		}
	})
}

// BenchmarkGuardRefusal is what a call costs that meets an open breaker, but
// for its error.
func BenchmarkGuardRefusal(b *testing.B) {
	cfg := testConfig()
	cfg.OpenFor, cfg.MaxOpenFor, cfg.ProbeShare = time.Hour, time.Hour, 1e-12
	g := NewGuard(cfg)
	token, _ := g.AdmitClosed()
	for range cfg.Consecutive {
		g.Settle(0, token, Failure, 0)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, ok := g.AdmitClosed(); ok {
				b.Error("closed")
			}
			if _, _, _, ok := g.Admit(time.Second); ok {
				b.Error("a probe")
			}
		}
	})
}

func BenchmarkGuardFailure(b *testing.B) {
	cfg := testConfig()
	cfg.Consecutive, cfg.MinCalls = 1<<31-1, 1<<31-1
	g := NewGuard(cfg)
	token, _ := g.AdmitClosed()
	for b.Loop() {
		g.Settle(time.Second, token, Failure, 0)
	}
}

// TestGuardBooksAllShards: what was counted before a busy breaker got its shards
// counts as well.
func TestGuardBooksAllShards(t *testing.T) {
	cfg := testConfig()
	g := NewGuard(cfg)
	token, _ := g.AdmitClosed()
	for i := range uint32(busy + 10*shards) {
		if got := g.more.Load() != nil; got != (i >= busy) {
			t.Fatalf("shards %v after %d successes", got, i)
		}
		g.Succeed(0, token, i)
	}
	b := g.collect(0)
	if b.all != busy+10*shards || b.near[buckets-1] != b.all {
		t.Errorf("%d successes booked, %d of them now, want %d", b.all, b.near[buckets-1], busy+10*shards)
	}
}

// TestLateSuccessMakesTheNextCallAProbe: a call that was admitted before the
// breaker opened, and succeeds since, says that a server that hung is back.
func TestLateSuccessMakesTheNextCallAProbe(t *testing.T) {
	cfg := Config{FailureRate: 1, SlowRate: 1, MinCalls: 100, Window: time.Second, Consecutive: 2,
		OpenFor: time.Hour, MaxOpenFor: time.Hour, Probes: 1, ProbeShare: 0.1, ProbeTTL: time.Hour, LateProbe: true}
	for _, tc := range []struct {
		name  string
		share float64
		o     Outcome
		probe bool
	}{
		{"a success", 0.1, Success, true},
		{"a failure", 0.1, Failure, false},
		{"nothing", 0.1, Neutral, false},
		{"a success where probes hardly ever come early", 1e-9, Success, false},
	} {
		cfg.ProbeShare = tc.share
		g := NewGuard(cfg)
		hanging, _ := g.AdmitClosed()
		older, _ := g.AdmitClosed()
		for range 2 {
			failing, _ := g.AdmitClosed()
			g.Settle(1, failing, Failure, 0.5)
		}
		if _, _, _, ok := g.Admit(2); ok {
			t.Fatalf("%s: open, and admits", tc.name)
		}
		g.Settle(3, hanging, tc.o, 0)
		token, _, _, ok := g.Admit(4)
		if ok != tc.probe || ok && !token.Probe() {
			t.Fatalf("%s: the next call is a probe: %v, want %v", tc.name, ok, tc.probe)
		}
		if !ok {
			continue
		}
		g.Settle(5, token, Failure, 0.5)
		g.Settle(6, older, Success, 0)
		if _, _, _, ok := g.Admit(7); ok {
			t.Error("a call of an opening before makes another probe")
		}
	}
}
