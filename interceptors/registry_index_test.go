package interceptors

import (
	"fmt"
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
