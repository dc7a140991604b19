package sim

import (
	"math"
	"time"

	"google.golang.org/grpc/codes"
)

// Fault is what befalls backends for a while.
type Fault struct {
	From, To time.Duration // To is not in it
	Backend  int           // which; -1: all

	Fail  float64 // share of the attempts that are answered UNAVAILABLE at once: 1 is an outage
	Stall bool    // nothing is done, and what comes waits
	Slow  float64 // service takes so many times as long; 0: as ever
}

func (f *Fault) concerns(backend int) bool { return f.Backend < 0 || f.Backend == backend }

func (f *Fault) holds(now time.Duration, backend int) bool {
	return f.From <= now && now < f.To && f.concerns(backend)
}

// refusal is how long an answer takes that nothing is done for.
const refusal = time.Millisecond

// backend is workers behind one queue, first come first served. It serves also
// what nobody waits for any more, as most servers do.
type backend struct {
	setup  *Setup
	loop   *Loop
	number int

	busy   int
	queue  []*Attempt
	deck   []bool // of the next attempts, whether they fail
	share  float64
	came   load
	served int
	wasted int // of these, for nobody
}

func (b *backend) send(a *Attempt) {
	b.came.add(b.loop.now)
	if b.fails() {
		b.loop.After(refusal, func() { a.Answer(codes.Unavailable) })
		return
	}
	if b.setup.Workers > 0 && b.busy >= b.setup.Workers {
		b.queue = append(b.queue, a)
		return
	}
	b.busy++
	b.serve(a)
}

// fails draws whether an attempt that arrives fails.
func (b *backend) fails() bool {
	share := b.setup.Errors
	for i := range b.setup.Faults {
		if f := &b.setup.Faults[i]; f.holds(b.loop.now, b.number) {
			share = max(share, f.Fail)
		}
	}
	switch {
	case share == 0 || share >= 1:
		return share > 0
	case !b.setup.Dealt:
		return b.loop.Rand.Float64() < share
	}
	if len(b.deck) == 0 || b.share != share {
		b.share, b.deck = share, make([]bool, 100)
		for i := range int(math.Round(share * 100)) {
			b.deck[i] = true
		}
		b.loop.Rand.Shuffle(len(b.deck), func(i, j int) { b.deck[i], b.deck[j] = b.deck[j], b.deck[i] })
	}
	fails := b.deck[0]
	b.deck = b.deck[1:]
	return fails
}

// takes is how long the next attempt takes that is served: Latency on average.
func (b *backend) takes() time.Duration {
	took := float64(b.setup.Latency)
	if tail := b.setup.Tail; tail > 0 {
		took *= math.Exp(tail*b.loop.Rand.NormFloat64() - tail*tail/2)
	}
	for i := range b.setup.Faults {
		if f := &b.setup.Faults[i]; f.Slow > 0 && f.holds(b.loop.now, b.number) {
			took *= f.Slow
		}
	}
	return time.Duration(took)
}

func (b *backend) serve(a *Attempt) {
	begin, took := b.loop.now, b.takes()
	for i := range b.setup.Faults { // a stall puts off what is begun, and what is being done
		f := &b.setup.Faults[i]
		if f.Stall && f.concerns(b.number) && f.From < begin+took && begin < f.To {
			took += f.To - max(begin, f.From)
		}
	}
	b.loop.After(took, func() {
		b.served++
		if a.Gone {
			b.wasted++
		}
		a.Answer(codes.OK)
		b.next()
	})
}

func (b *backend) next() {
	if len(b.queue) == 0 {
		b.busy--
		return
	}
	a := b.queue[0]
	b.queue[0] = nil
	b.queue = b.queue[1:]
	b.serve(a)
}

// load counts what comes to a backend, and keeps the worst second.
type load struct {
	bin    time.Duration // of the counts
	counts []int
	since  time.Duration // of the worst second: what was before is not looked at
	second int           // since 0
	inIt   int
	worst  int
}

func (l *load) add(now time.Duration) {
	if i := int(now / l.bin); i < len(l.counts) {
		l.counts[i]++
	}
	if second := int(now / time.Second); second != l.second {
		l.second, l.inIt = second, 0
	}
	if l.inIt++; now >= l.since {
		l.worst = max(l.worst, l.inIt)
	}
}
