package interceptors

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexIsAMap for any keys, while it grows.
func TestIndexIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := rapid.SliceOfDistinct(rapid.String(), rapid.ID[string]).Draw(t, "keys")
		x := newIndex[int](rapid.IntRange(0, 8).Draw(t, "size"))
		for i, k := range keys {
			if x.get(k) != nil {
				t.Fatalf("%q is there before it was put", k)
			}
			x.put(k, &entry[int]{value: i + 1})
		}
		for i, k := range keys {
			if got := x.get(k); got == nil || *got != i+1 {
				t.Fatalf("%q: %v, want %d", k, got, i+1)
			}
		}
		n := 0
		x.all(func(k string, v *int) bool {
			n++
			return keys[*v-1] == k
		})
		if n != len(keys) {
			t.Fatalf("%d of %d keys seen", n, len(keys))
		}
	})
}

// TestTableIsReadWhileItGrows: what was added before a look is found by it.
func TestTableIsReadWhileItGrows(t *testing.T) {
	tab, p := newTable(0), &plan{}
	pair := func(i int) (target, method string) { return fmt.Sprint("target", i%7), fmt.Sprint("method", i/7) }
	var wg sync.WaitGroup
	done := make(chan int, 1000)
	wg.Go(func() {
		defer close(done)
		for i := range 1000 {
			target, method := pair(i)
			tab.add(target, method, p)
			done <- i
		}
	})
	for range 4 {
		wg.Go(func() {
			for i := range done {
				for _, j := range []int{i, i / 2, 0} {
					if target, method := pair(j); tab.find(target, method) != p {
						t.Errorf("pair %d is not found after %d were added", j, i)
					}
				}
				if tab.find("target", "method0") != nil || tab.find("target0", "method") != nil {
					t.Error("a pair is found that was not added")
				}
			}
		})
	}
	wg.Wait()
	half := tab.with(func(*plan) *plan { return nil })
	if half.n != 0 || half.find("target0", "method0") != nil {
		t.Error("what is left out is found")
	}
	if again := tab.with(func(p *plan) *plan { return p }); again.n != 1000 || tab.n != 1000 {
		t.Errorf("%d pairs of %d after a refill", again.n, tab.n)
	}
}

// TestTenThousandTargets of one method have a breaker each, at what the first
// hundred cost, and 2 KiB at most with the budget that each has of its own.
func TestTenThousandTargets(t *testing.T) {
	s, err := New(WithPolicy(Policy{Limit: Limit{MaxConcurrent: 10}}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	targets := make([]string, 10000)
	for i := range targets {
		targets[i] = fmt.Sprintf("dns:///host%d:443", i)
	}
	memory := func() (used, made uint64) {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, m.TotalAlloc
	}
	ask := func(from, to int) (used, made int64) {
		used0, made0 := memory()
		for _, target := range targets[from:to] {
			s.plan(nil, target, "/a.B/M")
		}
		used1, made1 := memory()
		return int64(used1-used0) / int64(to-from), int64(made1-made0) / int64(to-from)
	}
	_, few := ask(0, 100)
	all, _ := ask(100, 9000)
	_, many := ask(9000, 10000)
	t.Logf("a pair takes %d bytes; making it, %d among the first hundred, %d among the last thousand", all, few, many)
	if many > 2*few || all > 2048 {
		t.Error("want 2048 bytes at most, and no more for the last than twice what the first took")
	}
	for _, target := range targets {
		if p := s.plan(nil, target, "/a.B/M"); p.Breaker == nil || p.Limit == nil || p.Target != target {
			t.Fatalf("%s: breaker %v, limit %v", target, p.Breaker != nil, p.Limit != nil)
		}
	}
}
