package sim

import (
	"math"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
)

// ticket is a call's admission.
type ticket struct{ gen int }

// peerFuse is a breaker as they mostly are: it opens by a rule, stays open for
// a time, lets one call through, and believes it. Retries know nothing of it.
type peerFuse struct {
	rule rule
	hold func(openings int, u float64) time.Duration

	state    breaker.State
	gen      int // of the state: late results do not count
	until    time.Duration
	openings int
	probing  bool
}

func peerBreaker(r func() rule, hold func(openings int, u float64) time.Duration) func() fuse {
	return func() fuse {
		f := &peerFuse{rule: r(), hold: hold}
		f.rule.reset()
		return f
	}
}

func (f *peerFuse) enter(s breaker.State) {
	f.state, f.probing = s, false
	f.gen++
}

func (f *peerFuse) admit(now time.Duration, _ float64) (ticket, bool) {
	if f.state == breaker.Open && now >= f.until {
		f.enter(breaker.HalfOpen)
	}
	if f.state == breaker.Open || f.probing {
		return ticket{}, false
	}
	f.probing = f.state == breaker.HalfOpen
	return ticket{gen: f.gen}, true
}

func (f *peerFuse) opened(ticket) bool { return false }

func (f *peerFuse) settle(now time.Duration, t ticket, failed bool, u float64) bool {
	was := f.state
	switch {
	case t.gen != f.gen:
	case was == breaker.Closed && f.rule.add(now, failed), was == breaker.HalfOpen && failed:
		f.until = now + f.hold(f.openings, u)
		f.openings++
		f.enter(breaker.Open)
		return was == breaker.Closed
	case was == breaker.HalfOpen:
		f.openings = 0
		f.rule.reset()
		f.enter(breaker.Closed)
	}
	return false
}

// always holds a breaker open for d.
func always(d time.Duration) func(int, float64) time.Duration {
	return func(int, float64) time.Duration { return d }
}

// doubling holds it for a second, and twice as long at each opening in a row;
// of that, up to the share given is left to chance.
func doubling(most time.Duration, chance float64) func(int, float64) time.Duration {
	return func(openings int, u float64) time.Duration {
		d := math.Min(float64(most), float64(time.Second)*math.Pow(2, float64(openings)))
		return time.Duration(d * (1 - chance*u))
	}
}

// sre is the client-side throttling of the SRE book: it refuses at random, the
// more the fewer of the window's calls were served.
type sre struct {
	k      float64
	window time.Duration

	epochs         [10]int64
	calls, accepts [10]float64
}

func (f *sre) slot(now time.Duration) int {
	e := int64(now / (f.window / 10))
	i := int(e % 10)
	if f.epochs[i] != e {
		f.epochs[i], f.calls[i], f.accepts[i] = e, 0, 0
	}
	return i
}

func (f *sre) admit(now time.Duration, u float64) (ticket, bool) {
	i := f.slot(now)
	var calls, accepts float64
	for j, e := range f.epochs {
		if e > f.epochs[i]-10 {
			calls += f.calls[j]
			accepts += f.accepts[j]
		}
	}
	f.calls[i]++ // those refused, too
	return ticket{}, u >= (calls-f.k*accepts)/(calls+1)
}

func (f *sre) opened(ticket) bool { return false }

func (f *sre) settle(now time.Duration, _ ticket, failed bool, _ float64) bool {
	if !failed {
		f.accepts[f.slot(now)]++
	}
	return false
}
