package sim

import (
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

func (f *Fault) holds(now time.Duration, backend int) bool {
	return f.From <= now && now < f.To && (f.Backend < 0 || f.Backend == backend)
}

// quick is the time of a refusal.
const quick = time.Millisecond

// attempt is a request on its way.
type attempt struct {
	answered func(codes.Code) // called once, unless gone
	gone     bool             // nobody waits any more
}

func (a *attempt) answer(c codes.Code) {
	if !a.gone {
		a.gone = true
		a.answered(c)
	}
}

// backend is workers behind one queue, first come first served. It serves also
// what nobody waits for any more, as most servers do.
type backend struct {
	loop    *Loop
	number  int
	workers int // 0: as many as there are attempts
	service func() time.Duration
	faults  []Fault

	busy   int
	queue  []*attempt
	deck   []bool // of attempts that fail: of every 100 exactly the share
	share  float64
	came   func()
	wasted int
	served int
}

func (b *backend) send(a *attempt) {
	b.came()
	if f := b.fails(); f {
		b.loop.After(quick, func() { a.answer(codes.Unavailable) })
		return
	}
	if b.workers > 0 && b.busy >= b.workers {
		b.queue = append(b.queue, a)
		return
	}
	b.busy++
	b.serve(a)
}

// fails draws whether an attempt that arrives fails.
func (b *backend) fails() bool {
	share := 0.0
	for i := range b.faults {
		if f := &b.faults[i]; f.holds(b.loop.now, b.number) {
			share = max(share, f.Fail)
		}
	}
	switch {
	case share == 0:
		return false
	case share >= 1:
		return true
	}
	if len(b.deck) == 0 || b.share != share {
		b.share, b.deck = share, make([]bool, 100)
		for i := range int(share*100 + 0.5) {
			b.deck[i] = true
		}
		b.loop.Rand.Shuffle(len(b.deck), func(i, j int) { b.deck[i], b.deck[j] = b.deck[j], b.deck[i] })
	}
	fails := b.deck[0]
	b.deck = b.deck[1:]
	return fails
}

func (b *backend) serve(a *attempt) {
	begin := b.loop.now
	took := b.service()
	for i := range b.faults {
		if f := &b.faults[i]; f.Slow > 0 && f.holds(begin, b.number) {
			took = time.Duration(float64(took) * f.Slow)
		}
	}
	for i := range b.faults { // a stall puts off what is begun, and what is being done
		f := &b.faults[i]
		if f.Stall && (f.Backend < 0 || f.Backend == b.number) && f.From < begin+took && begin < f.To {
			took += f.To - max(begin, f.From)
		}
	}
	b.loop.After(took, func() {
		b.served++
		if a.gone {
			b.wasted++
		}
		a.answer(codes.OK)
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
