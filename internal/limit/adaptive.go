package limit

import (
	"math"
	"time"
)

// Sample is what a call that has ended reports to an adaptive limit.
type Sample struct {
	Latency  time.Duration // of one that was answered; 0: none
	Overload bool          // it failed in a way that overload does
}

// gradient finds how many calls a server can take at once, by the latency that
// they meet: where more in flight only wait longer, there are too many. It is
// of the family of Netflix' Gradient2 and TCP Vegas. A window of calls at a time,
//
//   - the limit grows while it is used up and latency is near its base;
//   - it shrinks in proportion as latency exceeds tolerance × base, and by a
//     fifth if a tenth of the calls fail as overload has it, but neither while
//     less than half of it is used: it is not what holds the server up then;
//   - the base follows latency down always, and up only where there is no
//     congestion of our making: while the limit is not used up, or near the floor.
//     Under lasting overload it would creep up otherwise, and the limit with it.
//
// Near the floor calls can hardly wait for one another, so what they take there
// is the base: that is how the limit recovers when calls have become slower by
// nature.
type gradient struct {
	ceiling float64
	limit   float64
	base    float64 // latency without congestion, in nanoseconds; 0: not known

	// The window.
	samples   int // calls
	timed     int // of these, those with a latency
	overloads int
	sum       float64 // of the logarithms of the latencies: their mean is not a straggler's
	peak      int     // calls in flight
}

const (
	startLimit = 20.0
	floorLimit = 2.0
	minWindow  = 50  // calls, or twice those in flight: as many as one limit lets go and the next
	tolerance  = 1.5 // of latency over its base
	maxShrink  = 0.5 // in one window
	overloaded = 0.1 // share of a window's calls
	onOverload = 0.8
	baseDown   = 0.1  // weights of a window's latency in the base: lower than it,
	baseUp     = 0.05 // higher, while the limit is not used up,
	baseAnew   = 0.5  // and near the floor
)

func (g *gradient) floor() float64 { return min(floorLimit, g.ceiling) }

func (g *gradient) configure(ceiling int) {
	g.ceiling = float64(ceiling)
	if g.limit == 0 {
		g.limit = startLimit
	}
	g.limit = min(max(g.limit, g.floor()), g.ceiling)
}

func (g *gradient) max() int { return int(g.limit) }

// learn hears of a call that ended, and how many were in flight before.
func (g *gradient) learn(s Sample, inFlight int) {
	g.peak = max(g.peak, inFlight)
	if s.Latency > 0 { // a call whose deadline passed took at least as long
		g.timed++
		g.sum += math.Log(float64(s.Latency))
	}
	// One whose deadline passed sooner than others are answered had spent its
	// time elsewhere.
	if s.Overload && (s.Latency == 0 || float64(s.Latency) > tolerance*g.base) {
		g.overloads++
	}
	if s.Latency > 0 || s.Overload {
		g.samples++
	}
	if g.samples >= max(minWindow, 2*g.peak) {
		g.adjust()
		g.samples, g.timed, g.overloads, g.sum, g.peak = 0, 0, 0, 0, 0
	}
}

func (g *gradient) adjust() {
	used := g.peak >= g.max()
	slow := 1.0
	if g.timed > 0 {
		short := math.Exp(g.sum / float64(g.timed))
		g.settle(short, used)
		slow = short / g.base
	}
	switch {
	case float64(g.overloads) >= overloaded*float64(g.samples) && 2*g.peak >= g.max():
		g.limit *= onOverload
	case slow > tolerance && 2*g.peak >= g.max():
		g.limit *= max(maxShrink, tolerance/slow)
	case slow <= tolerance && (used || g.overloads == 0 && g.limit < startLimit):
		// Below where it began, it need not be used up: what it shrank for is over.
		g.limit += math.Sqrt(g.limit)
	}
	g.limit = min(max(g.limit, g.floor()), g.ceiling)
}

// settle moves the base towards the window's latency.
func (g *gradient) settle(short float64, used bool) {
	gain := 0.0
	switch {
	case g.base == 0:
		gain = 1
	case short < g.base:
		gain = baseDown
	case g.limit < 2*g.floor():
		gain = baseAnew
	case !used:
		gain = baseUp
	}
	g.base += gain * (short - g.base)
}
