package flakyserver

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// Any stands for all methods that have no Script, Always or Random of their
// own. They share one script.
const Any = "*"

// Mix is a share of the attempts, in [0, 1], and what they meet: one of Steps,
// each as likely.
type Mix struct {
	Rate  float64
	Steps []Step
}

// Script gives the method's next attempts these steps, one each, in place of
// what is left of an earlier script. Attempts after the last step meet what
// Always or Random says, else OK.
func (s *Server) Script(method string, steps ...Step) {
	p := s.planOf(method)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = slices.Clone(steps)
}

// Always gives the method's attempts that have no scripted step this one, in
// place of an earlier Always or Random.
func (s *Server) Always(method string, step Step) {
	s.planOf(method).setRest(func() Step { return step })
}

// Random gives the method's attempts that have no scripted step one drawn from
// the mixes, in place of an earlier Always or Random; rates that sum to less
// than 1 leave the rest OK. The same seed draws the same sequence: attempts
// made one at a time meet the same steps, concurrent ones the same counts.
func (s *Server) Random(method string, seed uint64, mixes ...Mix) {
	rng := rand.New(rand.NewPCG(seed, 0))
	mixes = slices.Clone(mixes)
	s.planOf(method).setRest(func() Step {
		u := rng.Float64()
		for _, m := range mixes {
			if u < m.Rate && len(m.Steps) > 0 {
				return m.Steps[rng.IntN(len(m.Steps))]
			}
			u -= m.Rate
		}
		return OK()
	})
}

// Func gives the method's attempts that have no scripted step the one that f
// returns when they arrive, in place of an earlier Always or Random. It is called
// by one attempt at a time.
func (s *Server) Func(method string, f func() Step) { s.planOf(method).setRest(f) }

// plan is what the attempts of one method meet.
type plan struct {
	mu    sync.Mutex
	steps []Step
	rest  func() Step // nil: OK; called under mu
}

// planBox is empty until someone writes to it.
type planBox = atomic.Pointer[plan]

func (p *plan) setRest(rest func() Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = rest
}

func (p *plan) next() Step {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.steps) > 0 {
		step := p.steps[0]
		p.steps = p.steps[1:]
		return step
	}
	if p.rest == nil {
		return OK()
	}
	return p.rest()
}

// planOf is the method's own plan, made if need be.
func (s *Server) planOf(method string) *plan {
	box := &s.any
	if method != Any {
		box = &s.method(method).plan
	}
	box.CompareAndSwap(nil, &plan{})
	return box.Load()
}

// choose says what an attempt that arrives now meets, and whether the server
// as a whole is down.
func (s *Server) choose(m *method) (step Step, down bool) {
	if step, down := s.outage(); down {
		return step, true
	}
	if p := m.plan.Load(); p != nil {
		return p.next(), false
	}
	if p := s.any.Load(); p != nil {
		return p.next(), false
	}
	return OK(), false
}
