package limit

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// lab is a client with a limit and a server with workers and one queue before
// them, in virtual time: the same seed is the same run.
type lab struct {
	rng     *rand.Rand
	now     time.Duration
	events  events
	serial  int
	limit   *Queue
	waiting map[*Ticket]*labCall

	// The server. It does not notice that a caller has gone.
	workers, busy int
	service       time.Duration // median of a lognormal
	stragglers    float64
	line          []*labCall

	deadline time.Duration
	load     float64 // calls a second, at random
	all      []*labCall
}

type labCall struct {
	came, went time.Duration // to the limit, to the server
	ended      time.Duration
	ok, over   bool
	ticket     *Ticket
}

type event struct {
	at     time.Duration
	serial int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].serial < e[j].serial
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func (l *lab) after(d time.Duration, do func()) {
	l.serial++
	heap.Push(&l.events, event{l.now + d, l.serial, do})
}

func (l *lab) run(until time.Duration) {
	for len(l.events) > 0 && l.events[0].at <= until {
		e := heap.Pop(&l.events).(event)
		l.now = e.at
		e.do()
	}
	l.now = until
}

// arrive lets calls come for ever.
func (l *lab) arrive() {
	l.after(time.Duration(l.rng.ExpFloat64()/l.load*1e9), l.arrive)
	c := &labCall{came: l.now}
	l.all = append(l.all, c)
	answer, t := l.limit.Enter(l.now, l.deadline)
	switch answer.Verdict {
	case Admitted:
		l.send(c)
	case Waiting:
		c.ticket = t
		l.waiting[t] = c
		if w := l.limit.cfg.MaxWait; w > 0 {
			l.after(w, func() {
				if l.waiting[t] != nil && l.limit.Poll(l.now, t).Verdict == QueueTimeout {
					delete(l.waiting, t)
					c.over, c.ended = true, l.now
				}
			})
		}
	default:
		c.over, c.ended = true, l.now
		return
	}
	l.after(l.deadline, func() { l.expire(c) })
}

func (l *lab) expire(c *labCall) {
	switch {
	case c.over:
		return
	case c.ticket != nil && l.waiting[c.ticket] != nil:
		delete(l.waiting, c.ticket)
		l.limit.Cancel(l.now, c.ticket)
	default:
		l.limit.Leave(l.now, Sample{Latency: l.now - c.went, Overload: true})
	}
	c.over, c.ended = true, l.now
	l.promote()
}

func (l *lab) promote() {
	for t := l.limit.Promote(l.now); t != nil; t = l.limit.Promote(l.now) {
		c := l.waiting[t]
		delete(l.waiting, t)
		l.send(c)
	}
}

func (l *lab) send(c *labCall) {
	c.went = l.now
	l.line = append(l.line, c)
	l.serve()
}

func (l *lab) serve() {
	for l.busy < l.workers && len(l.line) > 0 {
		c := l.line[0]
		l.line = l.line[1:]
		l.busy++
		l.after(time.Duration(float64(l.service)*math.Exp(0.5*l.rng.NormFloat64())*l.slowdown()), func() {
			l.busy--
			l.serve()
			if !c.over {
				c.over, c.ok, c.ended = true, true, l.now
				l.limit.Leave(l.now, Sample{Latency: l.now - c.went})
				l.promote()
			}
		})
	}
}

type result struct {
	goodput  float64
	p50, p99 time.Duration
	server   time.Duration
}

func (l *lab) between(from, to time.Duration) (r result) {
	var took, there []time.Duration
	for _, c := range l.all {
		if c.ok && c.ended >= from && c.ended < to {
			took = append(took, c.ended-c.came)
			there = append(there, c.ended-c.went)
		}
	}
	r.goodput = float64(len(took)) / (to - from).Seconds()
	slices.Sort(took)
	slices.Sort(there)
	if len(took) > 0 {
		r.p50, r.p99, r.server = took[len(took)/2], took[len(took)*99/100], there[len(there)/2]
	}
	return r
}

func newLab(seed uint64, cfg Config, load float64, deadline time.Duration) *lab {
	q := NewQueue(0, cfg)
	return &lab{rng: rand.New(rand.NewPCG(seed, 0)), limit: &q, waiting: map[*Ticket]*labCall{},
		workers: 20, service: 10 * time.Millisecond, load: load, deadline: deadline}
}

func TestExplore(t *testing.T) {
	for _, maxWait := range []time.Duration{0, 25 * time.Millisecond} {
		for _, load := range []float64{850, 1500} {
			for _, d := range []time.Duration{50, 100, 1000} {
				for _, cfg := range []Config{
					{MaxConcurrent: 20, MaxQueue: 20, MaxWait: maxWait}, {MaxConcurrent: 40, MaxQueue: 20, MaxWait: maxWait}, {MaxConcurrent: 100, MaxQueue: 20, MaxWait: maxWait}, {MaxConcurrent: 1000, MaxQueue: 20, MaxWait: maxWait},
					{MaxConcurrent: 100, MaxQueue: 20, MaxWait: maxWait, Adaptive: true}, {MaxConcurrent: 1000, MaxQueue: 20, MaxWait: maxWait, Adaptive: true},
				} {
					l := newLab(1, cfg, load, d*time.Millisecond)
					l.arrive()
					var b strings.Builder
					var lims []int
					show := func(from, to time.Duration) {
						for s := from; s < to; s += time.Second {
							l.run(s * time.Second / time.Nanosecond / 1)
						}
					}
					_ = show
					step := func(to int) {
						from := l.now
						for s := from; s < time.Duration(to)*time.Second; s += 2 * time.Second {
							l.run(s + 2*time.Second)
							lims = append(lims, l.limit.Max())
						}
						r := l.between(from+5*time.Second, l.now)
						fmt.Fprintf(&b, " | %5.0f/s p50 %4d p99 %4d server %4d ms", r.goodput, r.p50.Milliseconds(), r.p99.Milliseconds(), r.server.Milliseconds())
					}
					step(20)
					l.workers = 10
					step(40)
					l.workers = 20
					step(60)
					l.service *= 3
					step(100)
					fmt.Printf("wait %v load %v deadline %4v limit %4d adaptive %-5v%s  base %.1f %v\n", maxWait, load, d, cfg.MaxConcurrent, cfg.Adaptive, b.String(), l.limit.adapt.base/1e6, lims[len(lims)-20:])
				}
			}
		}
	}
}

func (l *lab) slowdown() float64 {
	if l.stragglers > 0 && l.rng.Float64() < l.stragglers {
		return 10
	}
	return 1
}

func TestLong(t *testing.T) {
	for _, stragglers := range []float64{0, 0.05} {
		for _, load := range []float64{300, 1000, 1200, 1500, 3000} {
			for _, cfg := range []Config{
				{MaxConcurrent: 40, MaxQueue: 20, MaxWait: 25 * time.Millisecond},
				{MaxConcurrent: 100, MaxQueue: 20, MaxWait: 25 * time.Millisecond, Adaptive: true},
			} {
				l := newLab(1, cfg, load, time.Second)
				l.stragglers = stragglers
				l.arrive()
				var lims []int
				for i := time.Duration(0); i < 600; i++ {
					l.run(i * time.Second)
					if i%20 == 0 {
						lims = append(lims, l.limit.Max())
					}
				}
				for _, r := range []result{l.between(5*time.Second, 300*time.Second), l.between(300*time.Second, 600*time.Second)} {
					fmt.Printf(" | %5.0f/s p50 %4d p99 %4d server %4d ms", r.goodput, r.p50.Milliseconds(), r.p99.Milliseconds(), r.server.Milliseconds())
				}
				fmt.Println(stragglers, load, cfg.MaxConcurrent, lims, l.limit.adapt.base/1e6)
			}
		}
	}
}
