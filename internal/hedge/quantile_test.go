package hedge

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBuckets(t *testing.T) {
	for b := range nBuckets - 1 {
		edge := edgeOf(b)
		if got := bucketOf(edge - 1); got != b {
			t.Errorf("just below the edge of bucket %d, %v, is bucket %d", b, edge, got)
		}
		if got := bucketOf(edge); got != b+1 {
			t.Errorf("the edge of bucket %d, %v, is in bucket %d, want the next", b, edge, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1<<minExp, 1<<maxExp-1).Draw(t, "d"))
		if edge := edgeOf(bucketOf(d)); edge <= d || edge-d > d/16+1 {
			t.Fatalf("%v is reported as %v", d, edge)
		}
	})
	for _, d := range []time.Duration{-1, 0, 1} {
		if bucketOf(d) != 0 {
			t.Errorf("%v is in bucket %d", d, bucketOf(d))
		}
	}
	if bucketOf(Never) != nBuckets-1 {
		t.Errorf("the longest is in bucket %d", bucketOf(Never))
	}
}

// TestQuantileOfSamples: within 1/16 of the exact one, from the hundredth on.
func TestQuantileOfSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	q := NewQuantile()
	var all []time.Duration
	for i := range 5000 {
		now := time.Duration(i) * 5 * time.Millisecond
		d := time.Duration(float64(5*time.Millisecond) * (1 + r.ExpFloat64()))
		all = append(all, d)
		q.Add(now, d, uint32(i))
		got, ok := q.Value(now)
		if ok != (i >= minSamples-1) {
			t.Fatalf("known is %v after %d samples", ok, i+1)
		}
		if ok && i%100 == 0 && i%20 == 0 { // every 100 ms it is made anew
			exact := slices.Sorted(slices.Values(all))[int(0.95*float64(len(all)))]
			if got <= exact*15/16 || got > exact*18/16 {
				t.Fatalf("%v after %d samples, want %v", got, i+1, exact)
			}
		}
	}
}

func TestQuantileForgets(t *testing.T) {
	q := NewQuantile()
	add := func(now, d time.Duration, n int) {
		for i := range n {
			q.Add(now, d, uint32(i))
		}
	}
	add(0, time.Second, 1000)
	add(generation-1, time.Second, 1)
	if v, ok := q.Value(generation); !ok || v < time.Second {
		t.Fatalf("%v, %v: forgotten within a minute", v, ok)
	}
	if v, ok := q.Value(2 * generation); ok {
		t.Fatalf("%v after two minutes of silence", v)
	}
	add(2*generation, 10*time.Millisecond, 99)
	if v, ok := q.Value(2 * generation); ok {
		t.Fatalf("%v of 99 new samples and 1000 old ones", v)
	}
	add(2*generation+refresh, 10*time.Millisecond, 1)
	if v, ok := q.Value(2*generation + refresh); !ok || v > 11*time.Millisecond {
		t.Fatalf("%v, %v, want about 10 ms: what is old does not count", v, ok)
	}
}

// TestQuantileFollows what is added, every 100 ms, and says nothing of a method
// that few call any more.
func TestQuantileFollows(t *testing.T) {
	q := NewQuantile()
	at := func(now, d time.Duration, n int, want time.Duration) {
		t.Helper()
		for range n {
			q.Add(now, d, 0)
		}
		if got, ok := q.Value(now); ok != (want > 0) || got < want || got > want*18/16 {
			t.Errorf("at %v: %v, %v, want %v", now, got, ok, want)
		}
	}
	at(0, 10*time.Millisecond, 1000, 10*time.Millisecond)
	at(refresh/2, 50*time.Millisecond, 1000, 10*time.Millisecond)
	at(refresh, 50*time.Millisecond, 1, 50*time.Millisecond)
	at(generation, 50*time.Millisecond, 1, 50*time.Millisecond)
	at(2*generation, 50*time.Millisecond, 1, 0)
}

// TestQuantileUnderLoad: no sample is lost.
func TestQuantileUnderLoad(t *testing.T) {
	q := NewQuantile()
	q.Add(0, time.Millisecond, 0) // the generation has begun
	for l := range q.shards {
		q.Add(0, time.Millisecond, uint32(l))
	}
	var wg sync.WaitGroup
	for i := range uint32(8) {
		wg.Go(func() {
			for n := range 10000 {
				q.Add(time.Duration(n), time.Duration(n)*time.Microsecond, i)
				q.Value(time.Duration(n))
			}
		})
	}
	wg.Wait()
	var total uint64
	for i := range q.shards {
		total += q.shards[i].halves[1].total.Load()
	}
	if want := uint64(80000 + 1 + shards); total != want {
		t.Errorf("%d samples, want %d", total, want)
	}
}

func BenchmarkQuantileAdd(b *testing.B) {
	q := NewQuantile()
	b.ReportAllocs()
	var now time.Duration
	for b.Loop() {
		now += 100 * time.Microsecond
		q.Add(now, 5*time.Millisecond, 1)
	}
}

func BenchmarkQuantileValue(b *testing.B) {
	q := NewQuantile()
	for range 200 {
		q.Add(0, 5*time.Millisecond, 1)
	}
	b.ReportAllocs()
	for b.Loop() {
		q.Value(time.Second)
	}
}
