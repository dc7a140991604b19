package metrics

import (
	"math/bits"
	"runtime"
	"sync/atomic"
)

// tally counts what happens in every good call of a pair of method and target.
// One that is not busy, as most of a proxy's, has one shard; others have one for
// each processor, so that calls mostly write to different cache lines.
type tally struct {
	first shard
	more  atomic.Pointer[shards] // nil: it never was busy
}

// busy is how many calls are worth more shards.
const busy = 1024

// firstSuccess is [observe.Hooks.FirstSuccess]: one addition stands for the
// attempt and the call.
func (t *tally) firstSuccess(n uint32) {
	if more := t.more.Load(); more != nil {
		more.of(n).firsts.Add(1)
		return
	}
	if t.first.firsts.Add(1) == busy {
		more := newShards()
		t.more.CompareAndSwap(nil, &more)
	}
}

// of returns a shard to count with.
func (t *tally) of(n uint32) *shard {
	if more := t.more.Load(); more != nil {
		return more.of(n)
	}
	return &t.first
}

// good is what a tally, or several, come to.
type good struct {
	attempts uint64 // that succeeded
	calls    uint64 // whose first attempt did
	firsts   uint64 // those of them that firstSuccess counted
}

func (g *good) add(s *shard) {
	first := s.firsts.Load()
	g.firsts += first
	g.calls += first + s.alone.Load()
	g.attempts += first + s.others.Load()
}

// fold adds what the tally holds.
func (g *good) fold(t *tally) {
	g.add(&t.first)
	if more := t.more.Load(); more != nil {
		for i := range *more {
			g.add(&(*more)[i])
		}
	}
}

// shards are as many as a power of two.
type shards []shard

type shard struct {
	firsts atomic.Uint64 // calls whose first attempt succeeded
	others atomic.Uint64 // other attempts that succeeded
	alone  atomic.Uint64 // calls as firsts, whose attempt is among others
	_      [104]byte     // a cache line (and its prefetched twin) each
}

// maxShards keeps a pair's shards at 8 KiB on the largest machines.
const maxShards = 64

func newShards() shards {
	n := min(runtime.GOMAXPROCS(0), maxShards)
	return make(shards, 1<<bits.Len(uint(n-1)))
}

func (s shards) of(n uint32) *shard { return &s[n&uint32(len(s)-1)] }
