package sim

import (
	"context"
	"time"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
)

// World is what the scenarios share.
type World struct {
	Rate     float64 // calls a second, of all clients
	Capacity float64 // calls a second that the backends can serve together; 0: any number
	Latency  time.Duration
	Tail     float64
	Backends int
	Clients  int
	Deadline time.Duration
	Fault    time.Duration // how long it lasts
	Share    float64       // of the attempts that fail, in partial
	Errors   float64       // of the attempts that fail when all is well
	Calm     time.Duration // how long the scenario of that name lasts
	Seed     uint64

	Balancing *fleet.Config // nil: backends are taken in turn
}

// Scenario is a kind of trouble.
type Scenario struct {
	Name, About string
	// fault returns what happens from a time on, and when it is over.
	faults func(w World, from time.Duration) (all []Fault, over time.Duration)
	adjust func(w *World)
}

// Scenarios are all there are.
var Scenarios = []Scenario{
	{Name: "calm", About: "nothing but the errors that there always are", faults: func(_ World, from time.Duration) ([]Fault, time.Duration) { return nil, from }},
	{Name: "outage", About: "every attempt is answered UNAVAILABLE", faults: func(w World, from time.Duration) ([]Fault, time.Duration) {
		return []Fault{{From: from, To: from + w.Fault, Backend: -1, Fail: 1}}, from + w.Fault
	}},
	{Name: "partial", About: "a share of the attempts fails", faults: func(w World, from time.Duration) ([]Fault, time.Duration) {
		return []Fault{{From: from, To: from + w.Fault, Backend: -1, Fail: w.Share}}, from + w.Fault
	}},
	{Name: "stall", About: "nothing is served, and what comes queues up", faults: func(w World, from time.Duration) ([]Fault, time.Duration) {
		return []Fault{{From: from, To: from + w.Fault, Backend: -1, Stall: true}}, from + w.Fault
	}},
	{Name: "one-bad", About: "one backend answers UNAVAILABLE", faults: func(w World, from time.Duration) ([]Fault, time.Duration) {
		return []Fault{{From: from, To: from + w.Fault, Backend: 0, Fail: 1}}, from + w.Fault
	}, adjust: func(w *World) { w.Backends = max(w.Backends, 2) }},
	{Name: "slow", About: "one backend takes ten times as long", faults: func(w World, from time.Duration) ([]Fault, time.Duration) {
		return []Fault{{From: from, To: from + w.Fault, Backend: 0, Slow: 10}}, from + w.Fault
	}, adjust: func(w *World) { w.Backends = max(w.Backends, 2) }},
	{Name: "herd", About: "an outage, of many clients that come back together", faults: func(w World, from time.Duration) ([]Fault, time.Duration) {
		return []Fault{{From: from, To: from + w.Fault, Backend: -1, Fail: 1}}, from + w.Fault
	}, adjust: func(w *World) { w.Clients = max(w.Clients, 100) }},
	{Name: "rolling", About: "backends restart one after another, 2 s each", faults: func(w World, from time.Duration) (all []Fault, over time.Duration) {
		at := from
		for i := range w.Backends {
			all = append(all, Fault{From: at, To: at + 2*time.Second, Backend: i, Fail: 1})
			at += 5 * time.Second
		}
		return all, at - 3*time.Second
	}, adjust: func(w *World) { w.Backends = max(w.Backends, 3) }},
}

// Find returns a scenario by its name.
func Find(name string) (Scenario, bool) {
	for _, s := range Scenarios {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}

// The times around a fault.
const (
	before = 10 * time.Second
	after  = 20 * time.Second
)

// Outcome is what a scenario did to a policy.
type Outcome struct {
	Scenario string  `json:"scenario"`
	Success  float64 `json:"success"`        // of all calls
	During   float64 `json:"success_fault"`  // of those that came during the fault
	Calm     float64 `json:"success_before"` // of those before it
	Refused  float64 `json:"refused_fault"`  // share of those during the fault
	Attempts float64 `json:"attempts"`       // per call, all in all
	Load     float64 `json:"attempts_fault"` // per call, during the fault
	Peak     float64 `json:"peak"`           // attempts that reached a backend in its worst second, by its share of the calls
	P50      float64 `json:"p50_seconds"`    // of callers
	P99      float64 `json:"p99_seconds"`    //
	Opens    float64 `json:"opens_seconds"`  // until the first breaker opened; below 0: none did
	Back     float64 `json:"back_seconds"`   // until 95 % of the calls succeed again; below 0: not in 20 s
	False    int     `json:"false_openings"` // of breakers, when there was no fault
	Wasted   float64 `json:"wasted"`         // share of the served attempts that nobody waited for
	Calls    int     `json:"calls"`          //
	result   *Result
	from, to time.Duration
}

// Result returns the run itself.
func (o *Outcome) Result() *Result { return o.result }

// Fault returns when it was.
func (o *Outcome) Fault() (from, to time.Duration) { return o.from, o.to }

// Run takes a policy through the scenario.
func (sc Scenario) Run(ctx context.Context, p *engine.Policy, w World) (*Outcome, error) {
	if sc.adjust != nil {
		sc.adjust(&w)
	}
	w.Backends, w.Clients = max(w.Backends, 1), max(w.Clients, 1)
	faults, over := sc.faults(w, before)
	s := Setup{
		Policy: p, Clients: w.Clients, Rate: w.Rate, Deadline: w.Deadline, Backends: w.Backends, Balancing: w.Balancing, Latency: w.Latency, Tail: w.Tail,
		Errors: w.Errors, Faults: faults, Length: over + after, Seed: w.Seed,
	}
	if len(faults) == 0 && w.Calm > 0 {
		s.Length = w.Calm
	}
	if w.Capacity > 0 { // workers are whole, so their latency is what gives
		each := w.Capacity / float64(w.Backends)
		s.Workers = max(1, int(each*w.Latency.Seconds()+0.5))
		s.Latency = time.Duration(float64(s.Workers) / each * float64(time.Second))
	}
	r, err := Run(ctx, s)
	if err != nil {
		return nil, err
	}
	return outcome(sc.Name, r, over), nil
}

func outcome(name string, r *Result, over time.Duration) *Outcome {
	s := &r.Setup
	during := Between(r.Samples, before, over)
	if len(s.Faults) == 0 {
		during = r.Samples
	}
	o := &Outcome{
		Scenario: name, Success: Success(r.Samples), During: Success(during), Calm: Success(Between(r.Samples, 0, before)), Refused: RefusedShare(during),
		Attempts: AttemptsPerCall(r.Samples), Load: AttemptsPerCall(during), Peak: float64(r.Worst) / max(1, s.Rate/float64(s.Backends)),
		P50: Quantile(r.Samples, 0.5).Seconds(), P99: Quantile(r.Samples, 0.99).Seconds(),
		Opens: -1, Back: -1, Calls: len(r.Samples), Wasted: float64(r.Wasted) / float64(max(r.Served, 1)), result: r, from: before, to: over,
	}
	if len(s.Faults) == 0 {
		o.Back, o.False = 0, len(r.Opened)
		return o
	}
	if d, ok := r.Back(over); ok {
		o.Back = d.Seconds()
	}
	for _, at := range r.Opened {
		switch {
		case at < before, o.Back >= 0 && at > over+time.Duration(o.Back*float64(time.Second))+time.Second:
			o.False++
		case o.Opens < 0:
			o.Opens = (at - before).Seconds()
		}
	}
	return o
}
