package interceptors

import (
	"context"
	"maps"
	"math"
	"time"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// pendingBreaker is what a store has reported of a breaker that no call has used yet.
type pendingBreaker struct {
	until    time.Duration // end of the open time
	openings int
	born     time.Duration // when it was so
	from     reportSource
	forced   breaker.Force // until then
}

// reportSource is where a report comes from.
type reportSource uint8

const (
	restored reportSource = iota // an earlier suite: opens, or probes when its time is over
	quorum                       // other instances: opens, as long as its time lasts
	hint                         // one other instance: as long, makes it wary
)

func (a pendingBreaker) expired(now time.Duration) bool {
	if a.from == restored && a.forced != breaker.ForcedClosed {
		return now-a.born > MaxStateAge
	}
	return now >= a.until
}

// pendingBudget is the same for a budget.
type pendingBudget struct {
	BudgetRecord
	since time.Duration
}

func (a pendingBudget) level(now time.Duration) float64 { return a.Level(now - a.since) }

func (a pendingBudget) expired(now time.Duration) bool { return a.Age+now-a.since > MaxStateAge }

func (k budgetKey) record() BudgetRecord {
	return BudgetRecord{Target: k.target, Ratio: k.config.Ratio, MinPerSecond: k.config.MinPerSecond, Burst: k.config.Burst}
}

func (b BudgetRecord) key() budgetKey {
	return budgetKey{b.Target, budget.Config{Ratio: b.Ratio, MinPerSecond: b.MinPerSecond, Burst: b.Burst}}
}

// state is [StoreHandle.State].
func (r *registry) state() (st State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	for k, p := range r.plans {
		if p.breaker == nil {
			continue
		}
		if m, ok := p.breaker.Snapshot(now); ok {
			st.Breakers = append(st.Breakers, BreakerRecord{Target: k.target, Method: k.method, Left: m.Left, Openings: m.Openings, Forced: m.Forced.String()})
		}
	}
	for k, a := range r.pending {
		if a.from == restored && !a.expired(now) {
			st.Breakers = append(st.Breakers, BreakerRecord{
				Target: k.target, Method: k.method, Left: max(0, a.until-now), Openings: a.openings, Age: now - a.born, Forced: a.forced.String()})
		}
	}
	st.Budgets = r.budgetRecordsLocked(now)
	if r.balancing != nil {
		for _, b := range r.balancing.registry.Records(MaxStateAge) {
			st.Backends = append(st.Backends, BackendRecord(b))
		}
	}
	return st
}

// budgetRecordsLocked returns the budgets of targets of which one is not full: of
// the others no record says that they are.
func (r *registry) budgetRecordsLocked(now time.Duration) (all []BudgetRecord) {
	short := map[string]bool{}
	for k, g := range r.budgets {
		b := k.record()
		b.Tokens = g.Level(now)
		all = append(all, b)
		if b.Tokens < b.Burst {
			short[k.target] = true
		}
	}
	for target, of := range r.pendingBudgets {
		for config, a := range of {
			if r.budgets[budgetKey{target, config}] != nil || a.expired(now) {
				continue
			}
			b := a.BudgetRecord
			b.Age += now - a.since
			all = append(all, b)
			if a.level(now) < b.Burst {
				short[target] = true
			}
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

// restore is [StoreHandle.Restore].
func (r *registry) restore(st State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	for _, b := range st.Breakers {
		if b.Age >= 0 && b.Age <= MaxStateAge {
			r.addPendingLocked(now, key{b.Target, b.Method}, pendingBreaker{now + bounded(b.Left), b.Openings, now - b.Age, restored, forceOf(b.Forced)})
		}
	}
	r.restoreBackendsLocked(st.Backends)
	n := 0
	for _, of := range r.pendingBudgets {
		n += len(of)
	}
	for _, b := range st.Budgets {
		if !b.valid() || len(b.Target) > text.MaxName {
			continue
		}
		k := b.key()
		of := r.pendingBudgets[k.target]
		if _, known := of[k.config]; !known {
			if n++; n > maxPlans {
				return
			}
		}
		if of == nil {
			of = make(map[budget.Config]pendingBudget)
			r.pendingBudgets[k.target] = of
		}
		of[k.config] = pendingBudget{b, now}
	}
}

func (r *registry) restoreBackendsLocked(all []BackendRecord) {
	if r.balancing == nil {
		return
	}
	var sound []fleet.Record
	for _, b := range all {
		if b.Age >= 0 && b.Age <= MaxStateAge && len(b.Target) <= text.MaxName && len(b.Backend) <= text.MaxName {
			b.Left = bounded(b.Left)
			sound = append(sound, fleet.Record(b))
		}
	}
	r.balancing.registry.AddPending(sound)
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

// addPendingLocked keeps what is reported of a breaker until a call uses it. A breaker
// in use is not overruled.
func (r *registry) addPendingLocked(now time.Duration, k key, a pendingBreaker) {
	if r.plans[k] != nil {
		return
	}
	if len(k.target) > text.MaxName || len(k.method) > text.MaxName && !r.namedLocked(k.method) {
		return // no call has such a name
	}
	most := maxPlans
	if r.namedLocked(k.method) { // other instances hear strange names, too
		most = 2 * maxPlans
	}
	old, known := r.pending[k]
	if known && !old.expired(now) {
		a = a.merge(old)
	}
	if !known && len(r.pending) >= most {
		if now-r.purged < time.Second { // it looks at all of them
			return
		}
		r.purged = now
		maps.DeleteFunc(r.pending, func(_ key, old pendingBreaker) bool { return old.expired(now) })
		if len(r.pending) >= most {
			return
		}
	}
	r.pending[k] = a
}

// merge joins two reports of one breaker.
func (a pendingBreaker) merge(b pendingBreaker) pendingBreaker {
	switch {
	case a.forced != breaker.NotForced: // nobody but its owner knows better
		return a
	case b.forced != breaker.NotForced:
		return b
	case a.from == hint:
		return b
	case b.from == hint:
		return a
	}
	return pendingBreaker{max(a.until, b.until), max(a.openings, b.openings), max(a.born, b.born), min(a.from, b.from), breaker.NotForced}
}

// applyPendingLocked applies to an endpoint's new breaker what stores have reported of it.
func (r *registry) applyPendingLocked(now time.Duration, e *endpoint) (restored breaker.Transition) {
	k := key{e.target, e.method}
	a, ok := r.pending[k]
	if !ok {
		return restored
	}
	delete(r.pending, k)
	snapshot := breaker.Snapshot{Left: a.until - now, Openings: a.openings, Forced: a.forced}
	switch {
	case a.expired(now):
	case a.from == hint:
		e.breaker.Hint(now)
	case a.from == quorum:
		restored = e.breaker.Restore(now, snapshot, breaker.Fleet)
	default:
		restored = e.breaker.Restore(now, snapshot, breaker.Restored)
	}
	return restored
}

// newBudgetLocked returns a full budget, or one that begins with what an earlier
// suite's held.
func (r *registry) newBudgetLocked(now time.Duration, k budgetKey) *budget.Guard {
	g := budget.NewGuard(now, k.config)
	of := r.pendingBudgets[k.target]
	if a, ok := of[k.config]; ok {
		if delete(of, k.config); len(of) == 0 {
			delete(r.pendingBudgets, k.target)
		}
		if !a.expired(now) {
			g.AtMost(now, a.level(now))
		}
		return g
	}
	for _, a := range of {
		if level := a.level(now); level < a.Burst && !a.expired(now) {
			g.AtMost(now, level)
		}
	}
	return g
}

// applyRemote opens a breaker, or makes it wary, because of other instances' reports.
func (r *registry) applyRemote(b BreakerRecord, from reportSource) {
	r.mu.Lock()
	now, k := r.Now(), key{b.Target, b.Method}
	p := r.plans[k]
	if p == nil {
		r.addPendingLocked(now, k, pendingBreaker{now + bounded(b.Left), b.Openings, now, from, breaker.NotForced})
	}
	r.mu.Unlock()
	switch {
	case p == nil || p.Breaker == nil: // turned off, or the suite is closed
	case from == hint:
		p.Breaker.Hint(now)
	default:
		t := p.Breaker.Restore(now, breaker.Snapshot{Left: b.Left, Openings: b.Openings}, breaker.Fleet)
		r.reportRestored(p.endpoint)
		r.report(p.endpoint, t)
		r.changed(p.endpoint, p.Breaker, t, true)
	}
}

// changed reports a transition to the log and the stores.
func (r *registry) changed(e *endpoint, g *breaker.Guard, t breaker.Transition, remote bool) {
	if !remote {
		r.logChange(e, g, t)
	}
	if len(r.stores) == 0 || !t.Happened() {
		return
	}
	c := Change{Target: e.target, Method: e.method, From: observe.BreakerState(t.From), To: observe.BreakerState(t.To), Remote: remote}
	if t.To == breaker.Open {
		m, _ := g.Snapshot(r.Now())
		c.Left, c.Openings = m.Left, m.Openings
	}
	r.handOn(c)
}

// reportRestored reports once that an endpoint's breaker was restored, if it was.
func (r *registry) reportRestored(e *endpoint) {
	r.mu.Lock()
	t := e.restored
	e.restored = breaker.Transition{}
	r.mu.Unlock()
	r.report(e, t)
}

// report emits a transition that no call brought about. It is called without the
// lock, as observers and loggers may come back.
func (r *registry) report(e *endpoint, t breaker.Transition) {
	if t.Happened() {
		r.ask(e)
		r.logChange(e, e.breaker, t)
		e.recorders.Emit(context.Background(), engine.BreakerChange(e.breaker, r.Now(), t))
	}
}

// forceOf is what the text of a record says.
func forceOf(s string) breaker.Force {
	switch s {
	case breaker.ForcedOpen.String():
		return breaker.ForcedOpen
	case breaker.ForcedClosed.String():
		return breaker.ForcedClosed
	}
	return breaker.NotForced
}

// logChange logs a transition, unless an observer does. It returns at once.
func (r *registry) logChange(e *endpoint, g *breaker.Guard, t breaker.Transition) {
	if r.LogChange != nil && t.Happened() {
		r.LogChange(e.method, e.target, engine.BreakerChange(g, r.Now(), t))
	}
}
