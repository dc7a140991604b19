package interceptors

import (
	"hash/maphash"
	"sync/atomic"
)

// index finds values by strings. One goroutine at a time may put, while any
// number get: they take no lock, and a put copies nothing but pointers, and
// those so seldom that n puts cost O(n).
type index[V any] struct {
	seed  maphash.Seed // names come from outside: none shall collide on purpose
	slots atomic.Pointer[[]atomic.Pointer[entry[V]]]
	n     int // for those who put: see room
}

// entry is a key's. Its hash and key are immutable.
type entry[V any] struct {
	hash  uint64
	key   string
	value V
}

func newIndex[V any](size int) *index[V] {
	x := &index[V]{seed: maphash.MakeSeed()}
	slots := 2
	for slots < 2*size {
		slots *= 2
	}
	x.resize(slots)
	return x
}

// get returns nil for a key that was not put.
func (x *index[V]) get(key string) *V {
	slots := *x.slots.Load()
	hash, mask := maphash.String(x.seed, key), uint64(len(slots)-1)
	for i := hash & mask; ; i = (i + 1) & mask { // half of the slots are free
		e := slots[i].Load()
		if e == nil {
			return nil
		}
		if e.hash == hash && e.key == key {
			return &e.value
		}
	}
}

// put must not be given a key twice. The value is e's, and stays where it is.
func (x *index[V]) put(key string, e *entry[V]) {
	if x.n++; 2*x.n > len(*x.slots.Load()) {
		x.resize(2 * len(*x.slots.Load()))
	}
	e.hash, e.key = maphash.String(x.seed, key), key
	place(*x.slots.Load(), e)
}

func (x *index[V]) resize(n int) {
	next := make([]atomic.Pointer[entry[V]], n)
	if old := x.slots.Load(); old != nil {
		for i := range *old {
			if e := (*old)[i].Load(); e != nil {
				place(next, e)
			}
		}
	}
	x.slots.Store(&next)
}

func place[V any](slots []atomic.Pointer[entry[V]], e *entry[V]) {
	mask := uint64(len(slots) - 1)
	i := e.hash & mask
	for slots[i].Load() != nil {
		i = (i + 1) & mask
	}
	slots[i].Store(e)
}

// room returns how many keys there are at most, without having them counted.
func (x *index[V]) room() int { return len(*x.slots.Load()) / 2 }

// all yields what was put.
func (x *index[V]) all(yield func(string, *V) bool) {
	slots := *x.slots.Load()
	for i := range slots {
		if e := slots[i].Load(); e != nil && !yield(e.key, &e.value) {
			return
		}
	}
}

const (
	// maxPlans bounds the pairs of target and method that state is kept for:
	// those whose method the program knows, and, apart, all others. A pair takes
	// 2 KiB at most, and 1 KiB more once it is busy, beside what observers keep
	// for it; see TestMemoryOfAPair.
	maxPlans = 16384
)

// table finds plans as calls do: by target and method as they come. Targets of
// one name share their plans. Like an index, it may be read while one goroutine
// adds to it.
type table struct {
	methods *index[perMethod]
	n       int
}

// lastPlan remembers what was found last: strings that are the same piece of
// memory are compared at once, and most calls of a program are of few methods.
type lastPlan struct {
	table          *table // that it was found in; nil: none was
	target, method string
	plan           *plan
}

// get returns nil if the table or the names are others, and then finds them.
func (l *lastPlan) get(t *table, target, method string) *plan {
	if l == nil {
		return nil
	}
	if l.table == t && l.method == method && l.target == target {
		return l.plan
	}
	p := t.find(target, method)
	if p != nil {
		*l = lastPlan{t, target, method, p}
	}
	return p
}

// perMethod finds the plan of a method by target. Nearly always there is one,
// and the strings compared are the same piece of memory.
type perMethod struct {
	target string
	plan   *plan
	more   atomic.Pointer[index[*plan]] // nil: there is one target
}

func newTable(size int) *table { return &table{methods: newIndex[perMethod](size)} }

func (t *table) find(target, method string) *plan {
	m := t.methods.get(method)
	if m == nil {
		return nil
	}
	if m.target == target {
		return m.plan
	}
	if more := m.more.Load(); more != nil {
		if p := more.get(target); p != nil {
			return *p
		}
	}
	return nil
}

// add must not be given a pair twice.
func (t *table) add(target, method string, p *plan) {
	t.n++
	m := t.methods.get(method)
	if m == nil {
		e := new(entry[perMethod])
		e.value.target, e.value.plan = target, p
		t.methods.put(method, e)
		return
	}
	more := m.more.Load()
	if more == nil {
		more = newIndex[*plan](1)
		m.more.Store(more)
	}
	more.put(target, &entry[*plan]{value: p})
}

// with returns a table of the same pairs with other plans; nil leaves one out.
func (t *table) with(now func(*plan) *plan) *table {
	next := newTable(t.methods.n)
	t.methods.all(func(method string, m *perMethod) bool {
		add := func(target string, p **plan) bool {
			if p := now(*p); p != nil {
				next.add(target, method, p)
			}
			return true
		}
		add(m.target, &m.plan)
		if more := m.more.Load(); more != nil {
			more.all(add)
		}
		return true
	})
	return next
}

// all yields the plans, one for each pair, as they are while it does.
func (t *table) all(yield func(*plan) bool) {
	t.methods.all(func(_ string, m *perMethod) (more bool) {
		more = yield(m.plan)
		if others := m.more.Load(); others != nil && more {
			others.all(func(_ string, p **plan) bool {
				more = yield(*p)
				return more
			})
		}
		return more
	})
}
