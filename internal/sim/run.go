package sim

import (
	"context"
	"math"
	"slices"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/engine"
)

// Setup is clients, backends, and what befalls them.
type Setup struct {
	Policy   *engine.Policy
	Clients  int           // 0: 1
	Rate     float64       // calls a second, of all clients
	Even     bool          // calls come in even intervals; otherwise by chance
	Deadline time.Duration // of callers; 0: none

	Backends int           // 0: 1
	Workers  int           // of each backend; 0: any number
	Latency  time.Duration // of an attempt that is served
	Tail     float64       // how much it varies: sigma of a log-normal; 0: not at all

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
	// Loads are attempts that reached each backend, a second each.
	Loads  [][]int
	Opened []time.Duration // when breakers opened, of all clients
	Served int             // attempts, by all backends
	Wasted int             // of these, for nobody
}

// Run simulates. It ends early, with the context's error, if ctx does.
func Run(ctx context.Context, s Setup) (*Result, error) {
	s.Clients, s.Backends = max(s.Clients, 1), max(s.Backends, 1)
	l := NewLoop(s.Seed)
	r := &Result{Setup: s}
	var backends []*backend
	for i := range s.Backends {
		load := make([]int, int(s.Length/time.Second)+1)
		r.Loads = append(r.Loads, load)
		backends = append(backends, &backend{
			loop: l, number: i, workers: s.Workers, faults: s.Faults, service: s.service(l),
			came: func() {
				if i := int(l.now / time.Second); i < len(load) {
					load[i]++
				}
			},
		})
	}
	var clients []*client
	for i := range s.Clients {
		c := newClient(l, s.Policy, s.Deadline, backends, i)
		c.opened = func() { r.Opened = append(r.Opened, l.now) }
		clients = append(clients, c)
	}
	r.arrivals(l, clients)
	if err := l.Run(ctx, s.Length+time.Minute+s.Deadline+s.Policy.Timeout); err != nil {
		return nil, err
	}
	for _, b := range backends {
		r.Served, r.Wasted = r.Served+b.served, r.Wasted+b.wasted
	}
	slices.SortStableFunc(r.Samples, func(a, b Sample) int { return int(a.At - b.At) })
	return r, nil
}

func (s *Setup) service(l *Loop) func() time.Duration {
	if s.Tail == 0 {
		return func() time.Duration { return s.Latency }
	}
	return func() time.Duration { // of mean Latency
		return time.Duration(float64(s.Latency) * math.Exp(s.Tail*l.Rand.NormFloat64()-s.Tail*s.Tail/2))
	}
}

// arrivals plans the calls, one after another.
func (r *Result) arrivals(l *Loop, clients []*client) {
	n := 0
	var next func()
	gap := func() time.Duration {
		if r.Setup.Even {
			return time.Duration(float64(time.Second) / r.Setup.Rate)
		}
		return time.Duration(l.Rand.ExpFloat64() / r.Setup.Rate * float64(time.Second))
	}
	next = func() {
		if l.now >= r.Setup.Length {
			return
		}
		l.After(gap(), next)
		c := clients[n%len(clients)]
		if !r.Setup.Even {
			c = clients[l.Rand.IntN(len(clients))]
		}
		n++
		c.do(func(d *call, err error) {
			one := Sample{At: d.began, Took: l.now - d.began, OK: err == nil, Refused: d.refused, Attempts: d.Attempts()}
			if err != nil {
				one.Code = engine.CodeOf(err)
			}
			r.Samples = append(r.Samples, one)
		})
	}
	l.After(gap(), next)
}

// Between returns the calls that came from a time to another.
func Between(all []Sample, from, to time.Duration) []Sample {
	at := func(t time.Duration) int {
		i, _ := slices.BinarySearchFunc(all, t, func(s Sample, t time.Duration) int { return int(s.At - t) })
		return i
	}
	return all[at(from):at(max(to, from))]
}

// Success is the share of calls that succeeded; 1 of none.
func Success(all []Sample) float64 {
	return share(all, func(s Sample) bool { return s.OK }, 1)
}

// RefusedShare is the share of calls that breaker or limit refused.
func RefusedShare(all []Sample) float64 {
	return share(all, func(s Sample) bool { return s.Refused }, 0)
}

func share(all []Sample, is func(Sample) bool, ofNone float64) float64 {
	n := 0
	for _, s := range all {
		if is(s) {
			n++
		}
	}
	if len(all) == 0 {
		return ofNone
	}
	return float64(n) / float64(len(all))
}

// AttemptsPerCall is how many each made, on average.
func AttemptsPerCall(all []Sample) float64 {
	n := 0
	for _, s := range all {
		n += s.Attempts
	}
	return float64(n) / float64(max(len(all), 1))
}

// Quantile is how long calls took, at most, of the fastest share q.
func Quantile(all []Sample, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	took := make([]time.Duration, 0, len(all))
	for _, s := range all {
		took = append(took, s.Took)
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}

// The windows that recovery is judged by, as in the bench.
const (
	quarter  = 250 * time.Millisecond
	goodput  = 0.95
	steadier = time.Second
)

// Back returns how long after a time 95 % of the calls succeed again, in the
// quarter second and in the second from then on; ok is false if that never is.
func (r *Result) Back(from time.Duration) (after time.Duration, ok bool) {
	for _, s := range Between(r.Samples, from, math.MaxInt64) {
		if s.At+steadier > r.Setup.Length {
			break
		}
		if s.OK && Success(Between(r.Samples, s.At, s.At+quarter)) >= goodput && Success(Between(r.Samples, s.At, s.At+steadier)) >= goodput {
			return s.At - from, true
		}
	}
	return 0, false
}
