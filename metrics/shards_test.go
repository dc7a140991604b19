package metrics

import (
	"runtime"
	"testing"
	"unsafe"
)

// Lanes are apart in memory, or striping is for nothing.
func TestShardsApart(t *testing.T) {
	if size := unsafe.Sizeof(shard{}); size != 128 {
		t.Errorf("a shard has %d bytes, want 128", size)
	}
	l := make(shards, 8)
	used := make(map[*shard]bool)
	for n := range uint32(8) {
		used[l.of(n)] = true
		if l.of(n) != l.of(n+8) {
			t.Errorf("%d and %d differ", n, n+8)
		}
	}
	if len(used) != 8 {
		t.Errorf("%d shards of 8 used", len(used))
	}
}

// A pair that is not busy has one shard, and nothing is lost when it gets more.
func TestTallyGrows(t *testing.T) {
	var c tally
	for n := range uint32(busy - 1) {
		c.firstSuccess(n)
	}
	if c.more.Load() != nil {
		t.Errorf("more shards after %d calls", busy-1)
	}
	for n := range uint32(busy) {
		c.firstSuccess(n)
	}
	c.of(3).others.Add(2)
	c.of(3).alone.Add(1)
	if c.more.Load() == nil {
		t.Errorf("no more shards after %d calls", 2*busy-1)
	}
	var got good
	got.fold(&c)
	if want := (good{attempts: 2*busy + 1, calls: 2 * busy, firsts: 2*busy - 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// There are as many shards as processors, up to a power of two, and asking how many
// there are changes nothing for the program.
func TestShardsForTheProcessors(t *testing.T) {
	for procs, want := range map[int]int{1: 1, 2: 2, 3: 4, 64: 64, 65: 64} {
		before := runtime.GOMAXPROCS(procs)
		n, after := len(newShards()), runtime.GOMAXPROCS(before)
		if n != want || after != procs {
			t.Errorf("%d shards for %d processors, want %d; GOMAXPROCS is %d then", n, procs, want, after)
		}
	}
}
