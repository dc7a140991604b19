// Package limit bounds how many calls of one method to one target are in
// flight, how often they start, and how many may wait for that.
//
// [Queue] is the whole of it: single-threaded, without clock or timers of its
// own. A call that may go holds a slot until it leaves. One that must wait
// stands in one line with all others, whose first needs a free slot and a token
// of the rate at the same time, so nobody is overtaken, and nobody holds a slot
// or a token that it cannot use. [Guard] makes one safe for concurrent use.
// Time is a Duration since an epoch of the caller's choice.
package limit

import (
	"math"
	"time"
)

// Forever is the end of time: a wait without bound.
const Forever = time.Duration(math.MaxInt64)

// Config sets the bounds. A zero one bounds nothing.
type Config struct {
	MaxConcurrent int           // calls in flight
	Adaptive      bool          // MaxConcurrent is the most that the limit found may be
	MaxQueue      int           // calls waiting; 0: none may
	MaxWait       time.Duration // how long each waits; 0: as long as it likes
	Rate          float64       // calls a second, in the long run
	Burst         int           // calls that an idle limit lets go at once; not 0 if there is a Rate
}

// Verdict is what becomes of a call.
type Verdict uint8

// What can become of a call.
const (
	Admitted     Verdict = iota // it may go, and holds a slot
	Waiting                     // it stands in the queue
	QueueFull                   // there is no slot, nor a place to wait for one
	QueueTimeout                // it has waited for MaxWait
	RateLimited                 // there is no token, or none can come in time
)

// String returns the verdict as it is written in metric labels.
func (v Verdict) String() string {
	switch v {
	case Admitted:
		return "admitted"
	case Waiting:
		return "waiting"
	case QueueFull:
		return "queue_full"
	case QueueTimeout:
		return "queue_timeout"
	case RateLimited:
		return "rate_limited"
	}
	return "invalid"
}

// Answer is what a call gets that asks for a slot.
type Answer struct {
	Verdict Verdict
	// At is, for one that waits, when it must ask again if it has not been woken
	// before; Forever if it need not.
	At time.Duration
	// After is, for one that is refused, after how long another might fare
	// better: exactly, if tokens are lacking; if slots are, by the pace at which
	// they came free of late.
	After time.Duration
}

// Ticket is a place in the queue.
type Ticket struct {
	// Ready is sent to when the ticket's owner is to [Guard.Poll]. Only a guard
	// makes it.
	Ready chan struct{}

	prev, next *Ticket
	until      time.Duration // MaxWait is over then
	asks       time.Duration // when its owner looks for a token again
	state      Verdict       // Admitted, Waiting, or why not
	after      time.Duration // if not
}

// Queue is a limit for one owner at a time. Make one with [NewQueue].
type Queue struct {
	cfg      Config
	inFlight int
	rate     bucket
	adapt    gradient

	first, last *Ticket
	waiting     int

	wanted time.Duration // since when a slot has been wanted and none has come free; negative: it is not
	pace   time.Duration // from one slot to the next, while they are wanted
}

const (
	unlimited = math.MaxInt32
	notWanted = -1
	// paceGain is the weight of the latest gap in the pace.
	paceGain = 0.2
	// minAfter is the delay that a refused call gets while no slot has come free
	// yet to estimate it by.
	minAfter = time.Millisecond
)

// NewQueue returns an empty queue with a full bucket.
func NewQueue(now time.Duration, cfg Config) Queue {
	q := Queue{wanted: notWanted}
	q.Reconfigure(now, cfg)
	return q
}

// Reconfigure changes the bounds. No running call loses its slot and no waiting
// one its place or its patience; what has become free is for [Queue.Promote] to
// give out.
func (q *Queue) Reconfigure(now time.Duration, cfg Config) {
	q.rate.configure(now, cfg.Rate, cfg.Burst)
	if cfg.Adaptive {
		q.adapt.configure(cfg.MaxConcurrent)
	}
	q.cfg = cfg
}

// Max returns how many calls may be in flight now.
func (q *Queue) Max() int {
	switch {
	case q.cfg.MaxConcurrent == 0:
		return unlimited
	case q.cfg.Adaptive:
		return q.adapt.max()
	}
	return q.cfg.MaxConcurrent
}

func (q *Queue) vacant() bool { return q.inFlight < q.Max() }

// Idle reports whether nothing would be lost if the queue were made anew.
func (q *Queue) Idle(now time.Duration) bool {
	return q.inFlight == 0 && q.waiting == 0 && q.rate.full(now)
}

// Enter asks for a call to go, one that can wait no longer than patience,
// whatever MaxWait says. The ticket is nil unless it is to wait.
func (q *Queue) Enter(now, patience time.Duration) (Answer, *Ticket) {
	if q.waiting == 0 && q.vacant() && q.rate.take(now) {
		q.inFlight++
		return Answer{}, nil
	}
	if !q.vacant() && q.wanted < 0 {
		q.wanted = now
	}
	if q.cfg.MaxWait > 0 {
		patience = min(patience, q.cfg.MaxWait)
	}
	switch inTime := q.rate.wait(now, q.waiting+1) <= max(0, patience); {
	case q.cfg.MaxQueue == 0 && q.vacant():
		return Answer{Verdict: RateLimited, After: q.after(now)}, nil
	case q.waiting >= q.cfg.MaxQueue:
		return Answer{Verdict: QueueFull, After: q.after(now)}, nil
	case !inTime:
		return Answer{Verdict: RateLimited, After: q.after(now)}, nil
	}
	t := &Ticket{until: Forever, state: Waiting}
	if q.cfg.MaxWait > 0 {
		t.until = later(now, q.cfg.MaxWait)
	}
	q.push(t)
	return q.Poll(now, t), t
}

// after estimates after how long a call that had come now, and had waited,
// would go.
func (q *Queue) after(now time.Duration) time.Duration {
	after := q.rate.wait(now, q.waiting+1)
	if !q.vacant() {
		pace := q.pace
		if q.wanted >= 0 {
			pace = max(pace, now-q.wanted)
		}
		after = max(after, minAfter, time.Duration(min(float64(pace)*float64(q.waiting+1), math.MaxInt64/2)))
	}
	return after
}

// Promote admits the first of those that wait, if it can go, and returns it;
// nil: nobody can. Whatever else happens to the queue, Promote is asked until
// it says so.
func (q *Queue) Promote(now time.Duration) *Ticket {
	t := q.first
	if t == nil || !q.vacant() || !q.rate.take(now) {
		return nil
	}
	q.remove(t)
	t.state = Admitted
	q.inFlight++
	return t
}

// next returns when the first of those that wait can go by the clock alone;
// Forever: it cannot.
func (q *Queue) next(now time.Duration) time.Duration {
	if q.first == nil || !q.vacant() {
		return Forever
	}
	return later(now, q.rate.wait(now, 1))
}

// Poll returns what has become of a ticket. One that has waited for MaxWait is out
// of the queue from then on.
func (q *Queue) Poll(now time.Duration, t *Ticket) Answer {
	if t.state == Waiting && now >= t.until {
		q.remove(t)
		t.state, t.after = QueueTimeout, q.after(now)
	}
	if t.state != Waiting {
		return Answer{Verdict: t.state, After: t.after}
	}
	t.asks = Forever
	if t == q.first {
		t.asks = q.next(now)
	}
	return Answer{Verdict: Waiting, At: min(t.asks, t.until)}
}

// Cancel gives a ticket back: its place or, if it has been admitted meanwhile,
// its slot and token. One whose time was up has nothing.
func (q *Queue) Cancel(now time.Duration, t *Ticket) {
	switch t.state {
	case Waiting:
		q.remove(t)
	case Admitted:
		q.Return(now)
	}
	t.state = QueueTimeout // it is done with
}

// Leave frees the slot of a call that has ended. What it met teaches an adaptive
// limit.
func (q *Queue) Leave(now time.Duration, s Sample) {
	if q.cfg.Adaptive {
		q.adapt.learn(s, q.inFlight)
	}
	q.free(now)
}

// Return frees the slot of a call that was not made after all, and gives its
// token back.
func (q *Queue) Return(now time.Duration) {
	q.rate.refund()
	q.free(now)
}

func (q *Queue) free(now time.Duration) {
	q.inFlight--
	if q.wanted < 0 {
		return
	}
	gap := max(0, now-q.wanted)
	if q.pace == 0 {
		q.pace = gap
	}
	q.pace += time.Duration(paceGain * float64(gap-q.pace))
	q.wanted = notWanted
	if q.waiting > 1 || q.waiting == 1 && !q.vacant() { // the first of them goes now, if there is room
		q.wanted = now
	}
}

func (q *Queue) push(t *Ticket) {
	if t.prev = q.last; q.last != nil {
		q.last.next = t
	} else {
		q.first = t
	}
	q.last = t
	q.waiting++
}

func (q *Queue) remove(t *Ticket) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		q.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		q.last = t.prev
	}
	t.prev, t.next = nil, nil
	q.waiting--
}

// later is now + d, at most the end of time.
func later(now, d time.Duration) time.Duration {
	if d > Forever-now {
		return Forever
	}
	return now + d
}
