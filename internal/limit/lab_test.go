package limit

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

// lab is a client with a limit, and a server with workers and one queue before
// them that does not notice when a caller has gone, in virtual time: the same
// seed is the same run.
type lab struct {
	rng    *rand.Rand
	now    time.Duration
	events eventQueue
	limit  *Queue

	load     float64       // calls a second, at random
	deadline time.Duration // of each, from when it comes

	workers, busy int
	median        time.Duration // of the lognormal service time, σ 0.5
	stragglers    float64       // this share takes ten times as long
	line          []*labCall

	waiting map[*Ticket]*labCall
	calls   []*labCall
}

type labCall struct {
	came, went, ended time.Duration // to the limit, to the server, for its caller
	over, ok          bool
}

func newLab(cfg Config, load float64) *lab {
	q := NewQueue(0, cfg)
	l := &lab{
		rng: rand.New(rand.NewPCG(1, 0)), limit: &q, waiting: map[*Ticket]*labCall{},
		load: load, deadline: time.Second, workers: 20, median: 10 * ms,
	}
	l.arrive()
	return l
}

type event struct {
	at     time.Duration
	serial int
	do     func()
}

type eventQueue struct {
	all    []event
	serial int
}

func (e *eventQueue) Len() int { return len(e.all) }
func (e *eventQueue) Less(i, j int) bool {
	a, b := e.all[i], e.all[j]
	return a.at < b.at || a.at == b.at && a.serial < b.serial
}
func (e *eventQueue) Swap(i, j int) { e.all[i], e.all[j] = e.all[j], e.all[i] }
func (e *eventQueue) Push(x any)    { e.all = append(e.all, x.(event)) }
func (e *eventQueue) Pop() any {
	last := e.all[len(e.all)-1]
	e.all = e.all[:len(e.all)-1]
	return last
}

func (l *lab) after(d time.Duration, do func()) {
	l.events.serial++
	heap.Push(&l.events, event{l.now + d, l.events.serial, do})
}

func (l *lab) run(d time.Duration) {
	end := l.now + d
	for l.events.all[0].at <= end {
		e := heap.Pop(&l.events).(event)
		l.now = e.at
		e.do()
	}
	l.now = end
}

func (l *lab) arrive() {
	l.after(time.Duration(l.rng.ExpFloat64()/l.load*1e9), l.arrive)
	c := &labCall{came: l.now}
	l.calls = append(l.calls, c)
	a, t := l.limit.Enter(l.now, l.deadline)
	switch a.Verdict {
	case Admitted:
		l.send(c)
	case Waiting:
		l.waiting[t] = c
		if w := l.limit.cfg.MaxWait; w > 0 {
			l.after(w, func() {
				if l.waiting[t] != nil && l.limit.Poll(l.now, t).Verdict == QueueTimeout {
					l.end(c, false)
					delete(l.waiting, t)
				}
			})
		}
	default:
		l.end(c, false)
		return
	}
	l.after(l.deadline, func() {
		switch {
		case c.over:
			return
		case t != nil && l.waiting[t] != nil:
			delete(l.waiting, t)
			l.limit.Cancel(l.now, t)
		default:
			l.limit.Leave(l.now, Sample{Latency: l.now - c.went, Overload: true})
		}
		l.end(c, false)
		l.promote()
	})
}

func (l *lab) end(c *labCall, ok bool) { c.over, c.ok, c.ended = true, ok, l.now }

func (l *lab) promote() {
	for t := l.limit.Promote(l.now); t != nil; t = l.limit.Promote(l.now) {
		l.send(l.waiting[t])
		delete(l.waiting, t)
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
		took := float64(l.median) * math.Exp(0.5*l.rng.NormFloat64())
		if l.stragglers > 0 && l.rng.Float64() < l.stragglers {
			took *= 10
		}
		l.after(time.Duration(took), func() {
			l.busy--
			l.serve()
			if !c.over {
				l.end(c, true)
				l.limit.Leave(l.now, Sample{Latency: l.now - c.went})
				l.promote()
			}
		})
	}
}

// figures are what callers saw in the time since the lab was that old.
type figures struct {
	perSecond float64       // calls answered in time
	p50, p99  time.Duration // of these, the wait for the limit included
}

func (l *lab) since(age time.Duration) (f figures) {
	var took []time.Duration
	for _, c := range l.calls {
		if c.ok && c.ended >= age {
			took = append(took, c.ended-c.came)
		}
	}
	f.perSecond = float64(len(took)) / (l.now - age).Seconds()
	slices.Sort(took)
	if n := len(took); n > 0 {
		f.p50, f.p99 = took[n/2], took[n*99/100]
	}
	return f
}

// TestAdaptiveAgainstFixed: a server of 20 workers at 85 % of what it can do
// loses half of them. Callers give up after 50 ms; the server works on. These
// figures stand in the documents.
func TestAdaptiveAgainstFixed(t *testing.T) {
	fixed := func(n int) Config { return Config{MaxConcurrent: n, MaxQueue: 20, MaxWait: 25 * ms} }
	adaptive := fixed(100)
	adaptive.Adaptive = true
	halved := map[string]figures{}
	for _, tc := range []struct {
		name string
		cfg  Config
	}{{"20", fixed(20)}, {"40", fixed(40)}, {"100", fixed(100)}, {"adaptive", adaptive}} {
		l := newLab(tc.cfg, 1500)
		l.deadline = 50 * ms
		l.run(20 * time.Second)
		whole := l.since(5 * time.Second)
		l.workers = 10
		l.run(20 * time.Second)
		half := l.since(25 * time.Second)
		l.workers = 20
		l.run(20 * time.Second)
		back := l.since(45 * time.Second)
		halved[tc.name] = half
		t.Logf("limit %-8s: 20 workers %4.0f/s, p50 %v; 10 workers %4.0f/s, p50 %v; 20 again %4.0f/s, p50 %v", tc.name,
			whole.perSecond, whole.p50.Round(ms), half.perSecond, half.p50.Round(ms), back.perSecond, back.p50.Round(ms))
		if whole.perSecond < 0.98*l.load {
			t.Errorf("limit %s: a whole server answers %.0f/s of %.0f/s", tc.name, whole.perSecond, l.load)
		}
		if tc.name == "adaptive" && back.perSecond < 0.98*l.load {
			t.Errorf("adaptive: a server that is whole again answers %.0f/s of %.0f/s", back.perSecond, l.load)
		}
	}
	// Ten workers do 880 calls a second.
	if got := halved["adaptive"].perSecond; got < 800 {
		t.Errorf("the adaptive limit gets %.0f/s answered by half a server, want 800/s", got)
	}
	if got := halved["20"].perSecond; got > 780 {
		t.Errorf("the fixed limit that fits the whole server gets %.0f/s answered by half of it: say so in the documents", got)
	}
	if got := halved["40"].perSecond; got > 100 {
		t.Errorf("the fixed limit of twice that gets %.0f/s answered: say so in the documents", got)
	}
}

// Under lasting overload the limit stays where it is: what it takes for the
// latency of an idle server does not creep up with the queue.
func TestAdaptiveStays(t *testing.T) {
	for _, stragglers := range []float64{0, 0.05} {
		l := newLab(Config{MaxConcurrent: 200, Adaptive: true, MaxQueue: 20, MaxWait: 25 * ms}, 3000)
		l.stragglers = stragglers
		for minute := range 3 {
			var sum, highest, lowest float64
			for range 60 {
				l.run(time.Second)
				n := float64(l.limit.Max())
				sum, highest = sum+n, max(highest, n)
				if lowest = min(lowest, n); lowest == 0 {
					lowest = n
				}
			}
			if mean := sum / 60; minute > 0 && (mean < 17 || mean > 35) || highest > 60 {
				t.Errorf("stragglers %v, minute %d: limit %.0f on average, at most %.0f; want near 20 workers", stragglers, minute, mean, highest)
			}
		}
		if got, can := l.since(time.Minute).perSecond, 20/(0.01133*(1+9*stragglers)); got < 0.93*can {
			t.Errorf("stragglers %v: %.0f/s answered of %.0f/s that the server can", stragglers, got, can)
		}
	}
}

// Calls that become slower by nature, three times here, and have the limit fall
// to its floor, teach it there what is normal now.
func TestAdaptiveLearnsAnew(t *testing.T) {
	l := newLab(Config{MaxConcurrent: 100, Adaptive: true, MaxQueue: 20, MaxWait: 25 * ms}, 1500)
	l.run(20 * time.Second)
	l.median *= 3
	l.run(30 * time.Second)
	if got, can := l.since(30*time.Second).perSecond, 20/(34*ms).Seconds(); got < 0.9*can {
		t.Errorf("%.0f/s answered of %.0f/s that the server can", got, can)
	}
}

// A limit that is not used up does not move, whatever the latency.
func TestAdaptiveUnused(t *testing.T) {
	q := NewQueue(0, Config{MaxConcurrent: 100, Adaptive: true})
	var now time.Duration
	for i := range 5000 {
		q.Enter(now, 0)
		now += 10 * ms * time.Duration(1+i/1000)
		q.Leave(now, Sample{Latency: 10 * ms * time.Duration(1+i/1000)})
	}
	if got := q.Max(); got != 20 {
		t.Errorf("limit %d, want the 20 it starts with", got)
	}
}

// Overload seen by codes shrinks it, though latency be flat; codes and
// deadlines that mean nothing do not.
func TestAdaptiveOverload(t *testing.T) {
	after := func(share int, s Sample) int {
		q := NewQueue(0, Config{MaxConcurrent: 20, Adaptive: true})
		n := 0
		for range 2000 {
			for range q.Max() {
				q.Enter(0, 0)
			}
			for range q.inFlight {
				if n++; n*37%100 < share { // spread evenly
					q.Leave(0, s)
				} else {
					q.Leave(0, Sample{Latency: 10 * ms})
				}
			}
		}
		return q.Max()
	}
	for _, tc := range []struct {
		name   string
		share  int
		sample Sample
		want   int
	}{
		{"flat", 0, Sample{}, 20},
		{"neutral", 50, Sample{}, 20},
		{"fast failures", 50, Sample{Overload: true}, 2},
		{"few of them", 5, Sample{Overload: true}, 20},
		{"deadlines", 50, Sample{Latency: 40 * ms, Overload: true}, 2},
		{"deadlines that were nearly over", 50, Sample{Latency: 8 * ms, Overload: true}, 20},
	} {
		if got := after(tc.share, tc.sample); got != tc.want {
			t.Errorf("%s: limit %d, want %d", tc.name, got, tc.want)
		}
	}
}

// The limit found survives new bounds, as far as it fits.
func TestAdaptiveReconfigure(t *testing.T) {
	q := NewQueue(0, Config{MaxConcurrent: 50, Adaptive: true})
	for _, tc := range []struct {
		cfg  Config
		want int
	}{
		{Config{MaxConcurrent: 10, Adaptive: true}, 10},
		{Config{MaxConcurrent: 500}, 500},
		{Config{MaxConcurrent: 500, Adaptive: true}, 10},
		{Config{MaxConcurrent: 1, Adaptive: true}, 1},
		{Config{MaxConcurrent: 100, Adaptive: true}, 2},
		{Config{}, unlimited},
	} {
		if q.Reconfigure(0, tc.cfg); q.Max() != tc.want {
			t.Errorf("%+v: limit %d, want %d", tc.cfg, q.Max(), tc.want)
		}
	}
}
