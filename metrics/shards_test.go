package metrics

import (
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
