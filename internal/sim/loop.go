package sim

import (
	"context"
	"math"
	"math/rand/v2"
	"time"
)

// Loop runs events in the order of their times, and those of one time in the
// order in which they were planned. It is for one goroutine.
type Loop struct {
	Rand *rand.Rand

	now     time.Duration
	planned []event // a heap, the next event first
	seq     uint64
}

type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

func (a event) before(b event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// NewLoop returns a loop at time 0.
func NewLoop(seed uint64) *Loop { return &Loop{Rand: rand.New(rand.NewPCG(seed, 17))} }

// Now returns the virtual time.
func (l *Loop) Now() time.Duration { return l.now }

// After plans an event. A time past the end of all times never comes.
func (l *Loop) After(d time.Duration, do func()) {
	at := l.now + max(d, 0)
	if at < l.now {
		at = math.MaxInt64
	}
	l.seq++
	next := event{at, l.seq, do}
	l.planned = append(l.planned, next)
	h := l.planned
	i := len(h) - 1
	for i > 0 && next.before(h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		i = (i - 1) / 2
	}
	h[i] = next
}

// Run runs what is planned before the end, and sets the clock to it. It ends
// early, with the context's error, if ctx does.
func (l *Loop) Run(ctx context.Context, end time.Duration) error {
	for n := 0; len(l.planned) > 0 && l.planned[0].at < end; n++ {
		if n%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		next := l.pop()
		l.now = next.at
		next.do()
	}
	l.now = max(l.now, end)
	return nil
}

func (l *Loop) pop() event {
	h := l.planned
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
	l.planned = h
	return first
}

// epoch is the wall clock at virtual time 0; only differences matter.
var epoch = time.Unix(0, 0)

// virtual is a context of a call or an attempt: it ends at a virtual time.
type virtual struct {
	parent context.Context // only its values
	loop   *Loop
	ends   time.Duration // forever: it does not
}

const forever = time.Duration(math.MaxInt64)

func (v *virtual) Deadline() (time.Time, bool) {
	if v.ends == forever {
		return time.Time{}, false
	}
	return epoch.Add(v.ends), true
}

func (v *virtual) Done() <-chan struct{} { return nil } // nobody waits in real time
func (v *virtual) Value(key any) any     { return v.parent.Value(key) }

func (v *virtual) Err() error {
	if v.loop.now >= v.ends {
		return context.DeadlineExceeded
	}
	return nil
}
