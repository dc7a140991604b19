//go:build unix

package chaostest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/resolver"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/state"
)

// scene is something that goes wrong for a while.
type scene struct {
	name    string
	servers int  // 0: 1
	unequal bool // success does not separate the callers here
	opts    func(t *testing.T) []interceptors.Option
	play    func(r *rig, span time.Duration)
}

func (s scene) options(t *testing.T) []interceptors.Option {
	t.Helper()
	if s.opts == nil {
		return nil
	}
	return s.opts(t)
}

// under plays a scene of one fault of the proxies.
func under(f Fault) func(*rig, time.Duration) {
	return func(r *rig, span time.Duration) {
		r.set(f)
		pass(span)
	}
}

// again repeats something at random times.
func again(every time.Duration, do func(r *rig)) func(*rig, time.Duration) {
	return func(r *rig, span time.Duration) {
		for end := time.Now().Add(span); time.Now().Before(end); {
			do(r)
			pass(every/2 + time.Duration(r.rng.Int64N(int64(every))))
		}
	}
}

var scenes = []scene{
	{name: "latency", play: under(Fault{Latency: 60 * time.Millisecond})},
	{name: "bandwidth", play: under(Fault{Bandwidth: 100 << 10})},
	{name: "slices", play: under(Fault{Slice: 7, Latency: time.Millisecond})},
	{name: "half-open", play: under(Fault{HoldDown: true})},
	{name: "black hole", play: func(r *rig, span time.Duration) {
		r.set(Fault{HoldUp: true, HoldDown: true})
		pass(span)
		r.cut() // as TCP gives up in the end
	}},
	{name: "one server of three in a black hole", servers: 3, play: func(r *rig, span time.Duration) {
		r.set(Fault{HoldUp: true, HoldDown: true}, 0)
		pass(span)
	}},
	{name: "reset", play: again(100*time.Millisecond, (*rig).cut)},
	{name: "reset in mid-message", play: under(Fault{CutAfter: 5000})},
	{name: "refused", play: func(r *rig, span time.Duration) {
		r.set(Fault{Refuse: true})
		r.cut()
		pass(span)
	}},
	{name: "SIGKILL", play: func(r *rig, span time.Duration) {
		r.restart(0, nil)
		pass(span / 2)
		r.restart(0, nil)
		pass(span / 2)
	}},
	{name: "SIGSTOP", play: func(r *rig, span time.Duration) {
		r.servers[0].signal(syscall.SIGSTOP)
		pass(span)
		r.servers[0].signal(syscall.SIGCONT)
	}},
	{name: "GOAWAY storm", play: func(r *rig, span time.Duration) {
		r.restart(0, func(s *settings) { s.MaxAge = 50 * time.Millisecond })
		pass(span)
	}},
	{name: "few streams a connection", play: func(r *rig, span time.Duration) {
		r.restart(0, func(s *settings) { s.MaxStreams = 2 })
		r.set(Fault{Latency: 20 * time.Millisecond})
		pass(span)
	}},
	{name: "servers that come and go", servers: 3, play: again(100*time.Millisecond, func(r *rig) {
		keep := r.rng.IntN(7) + 1 // a set of three, never empty
		for i, c := range r.callers {
			var some []resolver.Address
			for j, p := range c.proxies {
				if keep&(1<<j) != 0 {
					some = append(some, resolver.Address{Addr: p.Addr()})
				}
			}
			r.resolvers[i].UpdateState(resolver.State{Addresses: some})
		}
		if r.rng.IntN(3) == 0 {
			r.restart(r.rng.IntN(3), nil)
		}
	})},
	{name: "reload storm", play: func(r *rig, span time.Duration) {
		r.set(Fault{CutAfter: 20_000})
		again(2*time.Millisecond, func(r *rig) {
			for _, c := range r.callers[1:] {
				p := asked
				p.Retry.MaxAttempts = 1 + r.rng.IntN(4)
				p.Breaker.Probes = 1 + r.rng.IntN(3)
				if c.name == "default" {
					p = interceptors.Policy{Breaker: p.Breaker}
				}
				if err := c.suite.Reload(interceptors.WithPolicy(p)); err != nil {
					r.t.Error(err)
				}
			}
		})(r, span)
	}},
	{name: "store away", opts: storeAway, play: func(r *rig, span time.Duration) {
		r.mayFailToClose = true
		r.set(Fault{Refuse: true}) // breakers open, which is to be saved
		r.cut()
		pass(span)
	}},
	{name: "burst", unequal: true, play: func(r *rig, _ time.Duration) {
		n := 500
		if *long > 0 {
			n = 10_000
		}
		burst(r.t, r.callers, n, 30*time.Second)
	}},
}

// storeAway gives each suite a store whose directory is taken away.
func storeAway(t *testing.T) []interceptors.Option {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	store, err := state.File(filepath.Join(dir, "astra.state"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // something else is in its place
		t.Fatal(err)
	}
	return []interceptors.Option{interceptors.WithStore(store)}
}

// TestFaults plays each scene once.
func TestFaults(t *testing.T) {
	for _, s := range scenes {
		t.Run(s.name, func(t *testing.T) {
			play(t, rand.New(rand.NewPCG(seedOf(t), 0)), s, 500*time.Millisecond)
		})
	}
}

// TestLong plays scenes at random, for longer, and sees that the heap stays flat.
func TestLong(t *testing.T) {
	if *long == 0 {
		t.Skip("-long says for how long")
	}
	rng := rand.New(rand.NewPCG(seedOf(t), 0))
	var first uint64
	for end, n := time.Now().Add(*long), 0; time.Now().Before(end); n++ {
		s := scenes[rng.IntN(len(scenes))]
		span := time.Second + time.Duration(rng.Int64N(int64(9*time.Second)))
		t.Run(s.name, func(t *testing.T) { play(t, rng, s, span) })
		heap := heapAtRest()
		if n == len(scenes) {
			first = heap
		}
		if first > 0 && heap > first+first/2+8<<20 {
			t.Errorf("after %d scenes the heap holds %d KiB, %d KiB after %d", n, heap>>10, first>>10, len(scenes))
		}
	}
}

func heapAtRest() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
