package hedge

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// share of attempts that are faster than the value of a [Quantile].
	share = 0.95
	// minSamples is how many attempts it takes to have a value.
	minSamples = 100
	// generation is how long samples are counted together. A value is of the
	// present and the last generation's, so samples are forgotten after one to
	// two of them.
	generation = time.Minute
	// refresh is how old a value may be while there are new samples.
	refresh = 100 * time.Millisecond
	shards  = 4
)

// Quantile is the 95th percentile of a method's recent durations, for many
// calls at a time. Adding is two atomic additions on counters that processors
// seldom share; reading is two atomic loads. Make one with [NewQuantile].
type Quantile struct {
	value  atomic.Int64 // nanoseconds; 0: not known
	until  atomic.Int64 // value's samples are forgotten then
	next   atomic.Int64 // when to refresh value
	shards []sampleShard

	mu sync.Mutex // to turn generations, and to sum up
}

type sampleShard struct {
	halves [2]half // of the generations, even and odd
	_      [64]byte
}

type half struct {
	generation atomic.Int64 // which one is counted; 0: none
	total      atomic.Uint64
	counts     [nBuckets]atomic.Uint32
}

// NewQuantile returns a quantile without samples.
func NewQuantile() *Quantile { return &Quantile{shards: make([]sampleShard, shards)} }

// Add counts a duration. Shard is any number; calls that run on different
// processors should give different ones. Now is not below zero.
func (q *Quantile) Add(now, d time.Duration, shard uint32) {
	g := int64(now/generation) + 1
	h := &q.shards[shard%shards].halves[g%2]
	if h.generation.Load() < g {
		q.turn(h, g)
	}
	h.counts[bucketOf(d)].Add(1)
	h.total.Add(1)
	if q.value.Load() == 0 || int64(now) >= q.next.Load() {
		q.sum(now, g)
	}
}

// Value returns the percentile; ok is false while fewer than 100 samples of the
// last minute or two are known.
func (q *Quantile) Value(now time.Duration) (d time.Duration, ok bool) {
	v := q.value.Load()
	return time.Duration(v), v > 0 && int64(now) < q.until.Load()
}

// turn empties a half for a new generation. What is added to it meanwhile may
// be lost.
func (q *Quantile) turn(h *half, g int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if h.generation.Load() >= g {
		return
	}
	h.total.Store(0)
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.generation.Store(g)
}

// sum makes the value anew, if nobody else does.
func (q *Quantile) sum(now time.Duration, g int64) {
	if !q.mu.TryLock() {
		return
	}
	defer q.mu.Unlock()
	var live [2 * shards]*half
	n, total := 0, uint64(0)
	for i := range q.shards {
		for j := range q.shards[i].halves {
			if h := &q.shards[i].halves[j]; h.generation.Load() >= g-1 {
				live[n] = h
				n++
				total += h.total.Load()
			}
		}
	}
	q.next.Store(int64(now + refresh))
	if total < minSamples {
		q.value.Store(0)
		return
	}
	var counts [nBuckets]uint64
	total = 0
	for _, h := range live[:n] {
		for i := range h.counts {
			c := uint64(h.counts[i].Load())
			counts[i] += c
			total += c
		}
	}
	q.until.Store(int64(time.Duration(g+1) * generation))
	q.value.Store(int64(quantile(&counts, total, share)))
}
