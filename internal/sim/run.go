package sim

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
)

// Setup is clients, backends, and what befalls them.
type Setup struct {
	Policy   *engine.Policy
	Clients  int           // 0: 1
	Rate     float64       // calls a second, of all clients
	Even     bool          // calls come in even intervals; otherwise by chance
	Deadline time.Duration // of callers; 0: none

	Backends  int           // 0: 1. Attempts of a client go to one after the other,
	Balancing *fleet.Config // unless they are chosen by this
	Workers   int           // of each backend; 0: any number
	Latency   time.Duration // of an attempt that is served
	Tail      float64       // how much it varies: sigma of a log-normal; 0: not at all
	Errors    float64       // share of the attempts that fail when all is well
	Dealt     bool          // of every 100 attempts exactly the share fail, as in the bench

	Faults []Fault
	Length time.Duration
	Seed   uint64
}

// Sample is a call.
type Sample struct {
	At, Took time.Duration // when it came, and how long it took
	OK       bool
	Refused  bool // by breaker or limit
	Code     codes.Code
	Attempts int
}

// Result is what a run found.
type Result struct {
	Setup   Setup
	Samples []Sample // in the order in which they came
	// Loads are the attempts that reached each backend, by time: one count for
	// each Bin, which is a second, and more of runs that are longer than an hour.
	Loads  [][]int
	Bin    time.Duration
	Worst  int             // most attempts at one backend in a second, since the first fault began
	Opened []time.Duration // when breakers opened, of all clients
	Served int             // attempts, by all backends
	Wasted int             // of these, for nobody
}

// bins is how many counts there are of a load, at most.
const bins = 3600

// Run simulates. It ends early, with the context's error, if ctx does.
func Run(ctx context.Context, s Setup) (*Result, error) {
	s.Clients, s.Backends = max(s.Clients, 1), max(s.Backends, 1)
	l := NewLoop(s.Seed)
	r := &Result{Setup: s, Bin: max(time.Second, (s.Length/bins + time.Second - 1).Truncate(time.Second))}
	since := time.Duration(0)
	if len(s.Faults) > 0 {
		since = s.Faults[0].From
	}
	var backends []*backend
	for i := range s.Backends {
		b := &backend{setup: &s, loop: l, number: i}
		b.came = load{bin: r.Bin, counts: make([]int, int(s.Length/r.Bin)+1), since: since}
		backends = append(backends, b)
	}
	clients := make([]*Client, s.Clients)
	for i := range clients {
		turn := i
		to := func(a *Attempt) {
			turn++
			backends[turn%len(backends)].send(a)
		}
		var among *fleet.Fleet
		if s.Balancing != nil {
			var leave func()
			among, to, leave = balanced(l, *s.Balancing, backends)
			defer leave()
		}
		clients[i] = NewClient(l, s.Policy, s.Deadline, to)
		clients[i].Fleet = among
		clients[i].Opened = func() { r.Opened = append(r.Opened, l.now) }
	}
	r.arrivals(l, clients)
	if err := l.Run(ctx, s.Length+time.Minute+s.Deadline+s.Policy.Timeout); err != nil {
		return nil, err
	}
	for _, b := range backends {
		r.Served, r.Wasted = r.Served+b.served, r.Wasted+b.wasted
		r.Loads, r.Worst = append(r.Loads, b.came.counts), max(r.Worst, b.came.worst)
	}
	return r, nil
}

// arrivals plans the calls, one after another.
func (r *Result) arrivals(l *Loop, clients []*Client) {
	n := 0
	gap := func() time.Duration {
		if r.Setup.Even {
			return time.Duration(float64(time.Second) / r.Setup.Rate)
		}
		return time.Duration(l.Rand.ExpFloat64() / r.Setup.Rate * float64(time.Second))
	}
	var next func()
	next = func() {
		if l.now >= r.Setup.Length {
			return
		}
		l.After(gap(), next)
		c := clients[n%len(clients)]
		if !r.Setup.Even {
			c = clients[l.Rand.IntN(len(clients))]
		}
		i := n
		n++
		// A call that has not ended by the end of the run has not succeeded.
		r.Samples = append(r.Samples, Sample{At: l.now, Took: r.Setup.Length + time.Minute - l.now, Code: codes.DeadlineExceeded})
		c.Do(func(d Ended) {
			one := Sample{At: d.Began, Took: l.now - d.Began, OK: d.Err == nil, Refused: d.Refused, Attempts: d.Attempts}
			if d.Err != nil {
				one.Code = engine.CodeOf(d.Err)
			}
			r.Samples[i] = one
		})
	}
	l.After(gap(), next)
}
