package limit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is what drivers pass for now.
type clock struct{ epoch time.Time }

func newClock() clock { return clock{time.Now()} }

func (c clock) now() time.Duration { return time.Since(c.epoch) }

// hold is a caller: it enters, waiting if it must, does something and leaves.
// It reports whether it was let in.
func hold(ctx context.Context, c clock, g *Guard, do func()) bool {
	if !g.EnterFree() && !enter(ctx, c, g) {
		return false
	}
	do()
	if !g.LeaveFree() {
		g.Leave(c.now(), Sample{Latency: time.Microsecond})
	}
	return true
}

func enter(ctx context.Context, c clock, g *Guard) bool {
	a, t := g.Enter(c.now(), Forever)
	for a.Verdict == Waiting {
		var timer <-chan time.Time
		if a.At < Forever {
			timer = time.After(a.At - c.now())
		}
		select {
		case <-t.Ready:
		case <-timer:
		case <-ctx.Done():
			g.Cancel(c.now(), t)
			return false
		}
		a = g.Poll(c.now(), t)
	}
	return a.Verdict == Admitted
}

// TestGuardStress: callers come, wait, give up and leave while the bounds
// change under them. There are never more in flight than the bounds of the
// time allow, and in the end none is, nobody waits, and all that the bounds
// allow may enter.
func TestGuardStress(t *testing.T) {
	each := 20_000
	if testing.Short() {
		each = 2_000
	}
	for _, cfg := range []Config{
		{MaxConcurrent: 3, MaxQueue: 4},
		{MaxConcurrent: 3, MaxQueue: 100, MaxWait: 50 * time.Microsecond},
		{MaxConcurrent: 4, MaxQueue: 100, Rate: 2e5, Burst: 3},
		{MaxConcurrent: 4, MaxQueue: 100, Adaptive: true},
	} {
		t.Run(fmt.Sprintf("%+v", cfg), func(t *testing.T) {
			c := newClock()
			g := NewGuard(c.now(), cfg)
			var inFlight, let, most atomic.Int64
			most.Store(int64(cfg.MaxConcurrent))
			var workers, changers sync.WaitGroup
			stop := make(chan struct{})
			changers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					next := cfg
					next.MaxConcurrent = 1 + i%5
					most.Store(5)
					g.Reconfigure(c.now(), next)
					g.Level()
					runtime.Gosched()
				}
			})
			for w := range 8 {
				workers.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(w), 1))
					for range each {
						ctx, cancel := context.WithCancel(context.Background())
						if rng.IntN(4) == 0 {
							go cancel()
						}
						if hold(ctx, c, g, func() {
							if n := inFlight.Add(1); n > most.Load() {
								t.Errorf("%d in flight", n)
							}
							if rng.IntN(8) == 0 {
								runtime.Gosched()
							}
							inFlight.Add(-1)
						}) {
							let.Add(1)
						}
						cancel()
					}
				})
			}
			workers.Wait()
			close(stop)
			changers.Wait()
			if let.Load() < int64(each) {
				t.Errorf("only %d of %d let in: not much of a test", let.Load(), 8*each)
			}
			g.Reconfigure(c.now(), Config{MaxConcurrent: 3, MaxQueue: 1})
			if in, waiting, _, _ := g.Level(); in != 0 || waiting != 0 {
				t.Fatalf("%d in flight and %d waiting in the end, want none", in, waiting)
			}
			for n := range 4 {
				if g.EnterFree() != (n < 3) {
					t.Fatalf("slot %d: want 3", n)
				}
			}
		})
	}
}

// Without anybody waiting, entering and leaving allocate nothing.
func BenchmarkFree(b *testing.B) {
	for _, bm := range []struct {
		name string
		cfg  Config
	}{
		{"concurrency", Config{MaxConcurrent: 1000, MaxQueue: 100}},
		{"rate", Config{Rate: 1e9, Burst: 1e6, MaxQueue: 100}},
		{"both", Config{MaxConcurrent: 1000, Rate: 1e9, Burst: 1e6, MaxQueue: 100}},
		{"adaptive", Config{MaxConcurrent: 1000, MaxQueue: 100, Adaptive: true}},
	} {
		c := newClock()
		g := NewGuard(c.now(), bm.cfg)
		once := func() {
			var began time.Duration
			if bm.cfg.Adaptive {
				began = c.now()
			}
			if !g.EnterFree() {
				g.Enter(c.now(), Forever)
			}
			if !g.LeaveFree() {
				now := c.now()
				g.Leave(now, Sample{Latency: now - began + 1})
			}
		}
		b.Run(bm.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
		b.Run(bm.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					once()
				}
			})
		})
	}
}

// BenchmarkQueued hands one slot from call to call.
func BenchmarkQueued(b *testing.B) {
	c := newClock()
	g := NewGuard(c.now(), Config{MaxConcurrent: 1, MaxQueue: 1000})
	b.ReportAllocs()
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			hold(context.Background(), c, g, func() {})
		}
	})
}
