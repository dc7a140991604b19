package sim

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// engine runs events in the order of their times, and of those at one time in
// the order in which they were planned.
type engine struct {
	now     time.Duration
	rng     *rand.Rand
	planned []event // a heap, the next event first
	seq     uint64
}

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

func (a event) before(b event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

func newEngine(seed, stream uint64) *engine {
	return &engine{rng: rand.New(rand.NewPCG(seed, stream))}
}

// after plans an event. A time past the end of all times never comes.
func (e *engine) after(d time.Duration, do func()) {
	at := e.now + max(d, 0)
	if at < e.now {
		at = math.MaxInt64
	}
	e.seq++
	next := event{at, e.seq, do}
	e.planned = append(e.planned, next)
	h := e.planned
	i := len(h) - 1
	for i > 0 && next.before(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = next
}

// run runs what is planned before the end, and sets the clock to it.
func (e *engine) run(end time.Duration) {
	for len(e.planned) > 0 && e.planned[0].at < end {
		next := e.pop()
		e.now = next.at
		next.do()
	}
	e.now = max(e.now, end)
}

func (e *engine) pop() event {
	h := e.planned
	first, last := h[0], h[len(h)-1]
	h[len(h)-1] = event{}
	h = h[:len(h)-1]
	i := 0
	for {
		c := 2*i + 1
		if c+1 < len(h) && h[c+1].before(h[c]) {
			c++
		}
		if c >= len(h) || last.before(h[c]) {
			break
		}
		h[i] = h[c]
		i = c
	}
	if len(h) > 0 {
		h[i] = last
	}
	e.planned = h
	return first
}

// poisson calls do at random times, rate times a second, until the end.
func (e *engine) poisson(rate float64, end time.Duration, do func()) {
	d := seconds(e.rng.ExpFloat64() / rate)
	if e.now+d >= end {
		return
	}
	e.after(d, func() {
		e.poisson(rate, end, do)
		do()
	})
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// work counts off the parts of a scenario, tells how many are done, and stops
// it when the context ends.
type work struct {
	ctx       context.Context
	progress  func(float64)
	all, done int
}

func (w *work) step() error {
	w.done++
	w.progress(float64(w.done) / float64(w.all))
	return w.ctx.Err()
}
