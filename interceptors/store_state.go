package interceptors

import (
	"context"
	"maps"
	"math"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/observe"
)

// awaited is what a store has told of a breaker that no call has asked for yet.
type awaited struct {
	until    time.Duration // end of the open time
	openings int
	born     time.Duration // when it was so
	from     origin
}

// origin is where it comes from.
type origin uint8

const (
	fromBefore origin = iota // an earlier suite: opens, or probes when its time is over
	fromFleet                // other instances: opens, as long as its time lasts
	advice                   // one other instance: as long, makes it wary
)

func (a awaited) dead(now time.Duration) bool {
	if a.from == fromBefore {
		return now-a.born > MaxStateAge
	}
	return now >= a.until
}

// awaitedBudget is the same of a budget.
type awaitedBudget struct {
	BudgetRecord
	told time.Duration
}

func (a awaitedBudget) level(now time.Duration) float64 { return a.Level(now - a.told) }

func (a awaitedBudget) dead(now time.Duration) bool { return a.Age+now-a.told > MaxStateAge }

func (k budgetKey) record() BudgetRecord {
	return BudgetRecord{Target: k.target, Ratio: k.config.Ratio, MinPerSecond: k.config.MinPerSecond, Burst: k.config.Burst}
}

func (b BudgetRecord) key() budgetKey {
	return budgetKey{b.Target, budget.Config{Ratio: b.Ratio, MinPerSecond: b.MinPerSecond, Burst: b.Burst}}
}

// state is [Live.State].
func (s *Suite) state() (st State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	for k, p := range s.plans {
		if p.kept == nil {
			continue
		}
		if m, ok := p.kept.Snapshot(now); ok {
			st.Breakers = append(st.Breakers, BreakerRecord{Target: k.target, Method: k.method, Left: m.Left, Openings: m.Openings})
		}
	}
	for k, a := range s.awaited {
		if a.from == fromBefore && !a.dead(now) {
			st.Breakers = append(st.Breakers, BreakerRecord{
				Target: k.target, Method: k.method, Left: max(0, a.until-now), Openings: a.openings, Age: now - a.born})
		}
	}
	st.Budgets = s.budgetRecords(now)
	return st
}

// budgetRecords returns the budgets of targets of which one is not full: of
// the others no record says that they are.
func (s *Suite) budgetRecords(now time.Duration) (all []BudgetRecord) {
	short := map[string]bool{}
	for k, g := range s.budgets {
		b := k.record()
		b.Tokens = g.Level(now)
		all = append(all, b)
		if b.Tokens < b.Burst {
			short[k.target] = true
		}
	}
	for k, a := range s.awaitedBudgets {
		if s.budgets[k] != nil || a.dead(now) {
			continue
		}
		b := a.BudgetRecord
		b.Age += now - a.told
		all = append(all, b)
		if a.level(now) < b.Burst {
			short[k.target] = true
		}
	}
	kept := all[:0]
	for _, b := range all {
		if short[b.Target] {
			kept = append(kept, b)
		}
	}
	return kept
}

// restore is [Live.Restore].
func (s *Suite) restore(st State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.Now()
	for _, r := range st.Breakers {
		if r.Age >= 0 && r.Age <= MaxStateAge {
			s.await(now, key{r.Target, r.Method}, awaited{now + bounded(r.Left), r.Openings, now - r.Age, fromBefore})
		}
	}
	for _, b := range st.Budgets {
		if _, known := s.awaitedBudgets[b.key()]; !b.valid() || !known && len(s.awaitedBudgets) >= maxPlans {
			continue
		}
		s.awaitedBudgets[b.key()] = awaitedBudget{b, now}
	}
}

func bounded(left time.Duration) time.Duration { return min(max(0, left), MaxStateAge) }

func (b BudgetRecord) valid() bool {
	for _, v := range []float64{b.Ratio, b.MinPerSecond, b.Burst, b.Tokens} {
		if math.IsNaN(v) || v < 0 {
			return false
		}
	}
	return b.Age >= 0 && b.Age <= MaxStateAge
}

// await keeps what is told of a breaker until a call asks for it. One in use
// knows better.
func (s *Suite) await(now time.Duration, k key, a awaited) {
	if s.plans[k] != nil {
		return
	}
	old, known := s.awaited[k]
	if known && !old.dead(now) {
		a = a.and(old)
	}
	if !known && len(s.awaited) >= maxPlans {
		maps.DeleteFunc(s.awaited, func(_ key, old awaited) bool { return old.dead(now) })
		if len(s.awaited) >= maxPlans {
			return
		}
	}
	s.awaited[k] = a
}

// and joins what is told twice.
func (a awaited) and(b awaited) awaited {
	switch {
	case a.from == advice:
		return b
	case b.from == advice:
		return a
	}
	return awaited{max(a.until, b.until), max(a.openings, b.openings), max(a.born, b.born), min(a.from, b.from)}
}

// recall gives an endpoint's new breaker what stores have said of it.
func (s *Suite) recall(now time.Duration, e *endpoint) (restored breaker.Transition) {
	k := key{e.target, e.method}
	a, ok := s.awaited[k]
	if !ok {
		return restored
	}
	delete(s.awaited, k)
	snapshot := breaker.Snapshot{Left: a.until - now, Openings: a.openings}
	switch {
	case a.dead(now):
	case a.from == advice:
		e.kept.Advise(now)
	case a.from == fromFleet:
		restored = e.kept.Restore(now, snapshot, breaker.Fleet)
	default:
		restored = e.kept.Restore(now, snapshot, breaker.Restored)
	}
	return restored
}

// newBudget returns a full budget, or one that begins with what an earlier
// suite's held.
func (s *Suite) newBudget(now time.Duration, k budgetKey) *budget.Guard {
	g := budget.NewGuard(now, k.config)
	if a, ok := s.awaitedBudgets[k]; ok {
		delete(s.awaitedBudgets, k)
		if !a.dead(now) {
			g.AtMost(now, a.level(now))
		}
		return g
	}
	for other, a := range s.awaitedBudgets {
		if level := a.level(now); other.target == k.target && level < a.Burst && !a.dead(now) {
			g.AtMost(now, level)
		}
	}
	return g
}

// hear opens or warns a breaker on the word of other instances.
func (s *Suite) hear(r BreakerRecord, from origin) {
	s.mu.Lock()
	now, k := s.Now(), key{r.Target, r.Method}
	p := s.plans[k]
	if p == nil {
		s.await(now, k, awaited{now + bounded(r.Left), r.Openings, now, from})
	}
	s.mu.Unlock()
	switch {
	case p == nil || p.Breaker == nil: // turned off, or the suite is closed
	case from == advice:
		p.Breaker.Advise(now)
	default:
		t := p.Breaker.Restore(now, breaker.Snapshot{Left: r.Left, Openings: r.Openings}, breaker.Fleet)
		s.reportRestored(p.endpoint)
		s.report(p.endpoint, t)
		s.changed(p.endpoint, p.Breaker, t, true)
	}
}

// changed tells the stores of a transition.
func (s *Suite) changed(e *endpoint, g *breaker.Guard, t breaker.Transition, told bool) {
	if len(s.stores) == 0 || !t.Happened() {
		return
	}
	c := Change{Target: e.target, Method: e.method, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Told: told}
	if t.To == breaker.Open {
		m, _ := g.Snapshot(s.Now())
		c.Left, c.Openings = m.Left, m.Openings
	}
	for _, st := range s.stores {
		st.Changed(c)
	}
}

// reportRestored reports once that an endpoint's breaker was restored, if it was.
func (s *Suite) reportRestored(e *endpoint) {
	s.mu.Lock()
	t := e.restored
	e.restored = breaker.Transition{}
	s.mu.Unlock()
	s.report(e, t)
}

// report emits a transition that no call brought about. It is called without the
// lock, as observers and loggers may come back.
func (s *Suite) report(e *endpoint, t breaker.Transition) {
	if t.Happened() {
		s.ask(e)
		e.recorders.Emit(context.Background(), engine.BreakerChange(t))
	}
}

// attach hands the stores the suite. If one refuses, it and those after it are
// left alone.
func (s *Suite) attach(stores []Store) error {
	for _, st := range stores {
		if err := st.Attach(Live{s}); err != nil {
			return err
		}
		s.stores = append(s.stores, st)
	}
	return nil
}
