package interceptors

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/observe"
)

// Snapshot returns what the suite is doing now. It is meant for a page or a
// command, and for a few calls a second at most: with 4096 pairs it takes some
// milliseconds. It holds no lock of the suite meanwhile; budgets, limits, and
// breakers of methods that are unwell, are read under their own, for as long as
// a copy takes.
func (s *Suite) Snapshot() Snapshot {
	t := taking{suite: s, now: s.Now(), policies: map[*compiled]string{}, budgets: map[*budget.Guard]*BudgetSnapshot{}, canonical: map[string]string{}}
	t.Time = s.at(t.now)
	t.Started, t.Overflow = s.Epoch, s.overflowLogged.Load()
	v := s.view.Load()
	t.Closed = v.closed
	t.generation = v.generation
	t.Policies = []PolicySnapshot{}
	t.methods()
	t.unused(v.policies)
	t.targets()
	t.Backends = s.backendSnapshots()
	t.Calls = s.calls(s.Journal.Notes())
	t.Stores = make([]StoreSnapshot, len(s.stores))
	for i, st := range s.stores {
		t.Stores[i].Store = fmt.Sprintf("%T", st)
	}
	s.history.fill(&t.Snapshot)
	return t.Snapshot
}

// MethodCalls returns the last notable calls of a pair, the latest first,
// twelve at most; ok is false if the suite does not know the pair. See
// [CallSnapshot].
func (s *Suite) MethodCalls(target, method string) (calls []CallSnapshot, ok bool) {
	p := s.known(target, method)
	if p == nil {
		return nil, false
	}
	return s.calls(p.record.Notes()), true
}

// known returns the plan of a pair by its names; nil: there is none. It takes no
// lock, and its time.
func (r *registry) known(target, method string) (found *plan) {
	r.table.Load().all(func(p *plan) bool {
		if p.target == target && p.method == method {
			found = p
		}
		return found == nil
	})
	return found
}

// backendSnapshots is where balancers that the suite has a say in are asked.
func (s *Suite) backendSnapshots() []BackendSnapshot {
	all := []BackendSnapshot{}
	if s.balancing == nil {
		return all
	}
	for _, f := range s.balancing.registry.Fleets() {
		for _, b := range f.Backends() {
			st := b.Standing(s.Now())
			one := BackendSnapshot{
				Target: f.Target, Address: b.Name, Connected: b.Connected(), Believed: b.Believed(), Mode: mode(f.Registry().Config().Observe),
				State:     [...]string{breaker.Closed: "in", breaker.HalfOpen: "on_trial", breaker.Open: "out"}[st.State],
				Succeeded: b.Count(fleet.Success), Failed: b.Count(fleet.Failure), WouldAvoid: b.Avoidable(),
			}
			if st.Why != breaker.None {
				one.Since, one.Why = s.at(st.Since), engine.BreakerReason(st.Why).String()
			}
			if st.State == breaker.Open {
				one.NextProbe = s.at(st.Until)
			}
			if st.Forced == breaker.ForcedOpen {
				one.Forced, one.ForcedUntil = "out", s.at(st.Release)
			}
			if st.State != breaker.Closed {
				one.NotInSince, one.Cause = s.at(st.Opened), engine.BreakerReason(st.Cause).String()
			}
			all = append(all, one)
		}
	}
	return all
}

// at returns the time of day that a time of the cores' is.
func (r *registry) at(d time.Duration) time.Time { return r.Epoch.Add(d) }

// taking is a snapshot that is being taken.
type taking struct {
	Snapshot
	suite      *Suite
	now        time.Duration
	generation uint64
	policies   map[*compiled]string
	budgets    map[*budget.Guard]*BudgetSnapshot
	canonical  map[string]string // of targets
}

func (t *taking) methods() {
	table := t.suite.table.Load()
	plans := make([]*plan, 0, table.methods.room())
	table.all(func(p *plan) bool {
		plans = append(plans, p)
		return true
	})
	slices.SortFunc(plans, func(a, b *plan) int {
		return cmp.Or(strings.Compare(a.target, b.target), strings.Compare(a.method, b.method))
	})
	plans = slices.CompactFunc(plans, func(a, b *plan) bool { return a.endpoint == b.endpoint }) // targets of one name share it
	t.Methods = make([]MethodSnapshot, len(plans))
	breakers := make([]BreakerSnapshot, len(plans)) // an allocation for each would be half of the time
	for i, p := range plans {
		m := &t.Methods[i]
		t.method(m, p)
		if g := p.Breaker; g != nil {
			m.Breaker = &breakers[i]
			t.suite.breaker(t.now, p, g, m.Breaker)
		}
		m.Unwell = t.suite.unwell(t.now, p)
	}
}

// unwell reads how a method's calls went lately.
func (r *registry) unwell(now time.Duration, p *plan) *UnwellSnapshot {
	count, since, last := p.record.Stretch(now)
	if count == 0 {
		return nil
	}
	u := &UnwellSnapshot{Since: r.at(since), Last: r.at(last), Count: count}
	g := p.Breaker
	if count < journal.Own || g == nil || g.Standing(now).State != breaker.Closed {
		return u
	}
	notes := p.record.Notes()
	if calls, while := g.Recent(now); calls > 0 && len(notes) > 1 {
		first := notes[len(notes)-1].At // of the last ones
		apart := max(now-first, time.Millisecond) / time.Duration(len(notes)-1)
		u.Share = min(1, float64(while)/float64(calls)/float64(apart))
	}
	return u
}

func (t *taking) method(m *MethodSnapshot, p *plan) {
	*m = MethodSnapshot{
		Target: p.target, Method: p.method, Policy: t.policy(p.policy), Pattern: p.policy.pattern,
		Idempotent: p.idempotent, Fallback: p.fallback != nil,
	}
	if g := p.Budget; g != nil {
		m.Budget = t.budget(g, p.policy.Budget)
	}
	if p.policy.Hedges() {
		m.Hedge = &HedgeSnapshot{Delay: Seconds(p.policy.HedgeDelay)}
		if q := p.latency.Load(); p.policy.HedgeDelay == 0 {
			m.Hedge.Measured = true
			if q != nil {
				if d, ok := q.Value(t.now); ok {
					m.Hedge.Delay = Seconds(d)
				}
			}
		}
	}
	if g := p.Limit; g != nil {
		l := &LimitSnapshot{Mode: mode(p.policy.LimitObserve), Adaptive: p.Adaptive,
			Refused: p.record.LimitRefused.Load(), WouldRefuse: p.record.LimitWouldRefuse.Load()}
		var bounded bool
		if l.InFlight, l.Queued, l.Max, bounded = g.Level(); !bounded {
			l.Max = 0
		}
		m.Limit = l
	}
	t.canonical[p.target] = p.canonical
}

func mode(observes bool) string {
	if observes {
		return ModeObserve.String()
	}
	return ModeEnforce.String()
}

// breaker reads a breaker without its lock.
func (r *registry) breaker(now time.Duration, p *plan, g *breaker.Guard, b *BreakerSnapshot) {
	st := g.Standing(now)
	*b = BreakerSnapshot{
		State: st.State.String(), Mode: mode(p.policy.BreakerObserve), Openings: st.Openings,
		Refused: p.record.BreakerRefused.Load(), WouldRefuse: p.record.BreakerWouldRefuse.Load(),
		Forced: st.Forced.String(),
	}
	if st.Why != breaker.None {
		b.Since, b.Why = r.at(st.Since), engine.BreakerReason(st.Why).String()
	}
	if st.State != breaker.Closed {
		b.NotClosedSince, b.Cause = r.at(st.Opened), engine.BreakerReason(st.Cause).String()
	}
	if st.State == breaker.Open {
		b.NextProbe, b.NoConnection = r.at(st.Until), st.CutOff
		if now >= st.Until {
			b.State = breaker.HalfOpen.String() // the next call is a probe
		}
	}
	if st.Forced != breaker.NotForced {
		b.ForcedUntil = r.at(st.Release)
	}
}

func (t *taking) budget(g *budget.Guard, c budget.Config) *BudgetSnapshot {
	b := t.budgets[g]
	if b == nil {
		b = &BudgetSnapshot{Tokens: g.Level(t.now), Capacity: c.Burst, Ratio: c.Ratio, MinPerSecond: c.MinPerSecond}
		if since, empty := g.Empty(t.now); empty {
			b.EmptySince = t.suite.at(since)
		}
		t.budgets[g] = b
	}
	return b
}

// policy returns the ID of a policy.
func (t *taking) policy(c *compiled) string {
	id, ok := t.policies[c]
	if !ok {
		id = "p" + strconv.Itoa(len(t.policies)+1)
		t.policies[c] = id
		t.Policies = append(t.Policies, c.snapshot(id, t.generation))
	}
	return id
}

func (c *compiled) snapshot(id string, generation uint64) PolicySnapshot {
	full := c.raw.clone()
	b := &full.Retry.Backoff
	b.Base, b.Max, b.Multiplier = cmp.Or(b.Base, b.Delay(1)), cmp.Or(b.Max, b.Delay(1000)), cmp.Or(b.Multiplier, 2)
	if full.Retry.Repeat == RepeatAuto {
		full.Retry.Repeat = RepeatAnswered // declared methods have a variant of their own
	}
	return PolicySnapshot{ID: id, Pattern: c.pattern, Variant: c.variant, Source: c.source, Revision: generation, Policy: PolicyFields{full}}
}

// unused adds the policies that no method has.
func (t *taking) unused(all patternTable[*compiled]) {
	used := map[string]bool{}
	for _, p := range t.Policies {
		used[p.Pattern] = true
	}
	for pattern, c := range all {
		if !used[pattern] {
			t.policy(c)
		}
	}
	slices.SortStableFunc(t.Policies, func(a, b PolicySnapshot) int {
		return cmp.Or(cmp.Compare(a.Pattern, b.Pattern), cmp.Compare(a.Variant, b.Variant))
	})
}

// targets sums up the methods, which are sorted.
func (t *taking) targets() {
	t.Targets = []TargetSnapshot{}
	has := map[*BudgetSnapshot]bool{}
	for i := range t.Methods {
		m := &t.Methods[i]
		if n := len(t.Targets); n == 0 || t.Targets[n-1].Target != m.Target {
			t.Targets = append(t.Targets, TargetSnapshot{Target: m.Target, Canonical: t.canonical[m.Target], Budgets: []BudgetSnapshot{}})
		}
		to := &t.Targets[len(t.Targets)-1]
		to.Methods++
		if m.Breaker != nil && m.Breaker.State != observe.BreakerClosed.String() {
			to.NotClosed++
		}
		if m.Budget != nil && !has[m.Budget] {
			has[m.Budget] = true
			to.Budgets = append(to.Budgets, *m.Budget)
		}
	}
}

func (r *registry) calls(notes []*journal.Note) []CallSnapshot {
	all := make([]CallSnapshot, len(notes))
	for i, n := range notes {
		c := CallSnapshot{
			Time: r.at(n.At), LastTime: r.at(time.Duration(n.Last.Load())), Count: n.Count.Load(),
			Target: n.Target, Method: n.Method, Outcome: n.Outcome.String(), Code: astracodes.Name(n.Code),
			Exhausted: n.Exhausted, Attempts: n.Attempts, Hedges: n.Hedges, Waited: Seconds(n.Waited),
		}
		if n.Reason != observe.ReasonNone {
			c.Reason = n.Reason.String()
		}
		for _, a := range n.Trail {
			c.Trail = append(c.Trail, AttemptSnapshot{Number: a.Number, Kind: a.Kind.String(), Code: astracodes.Name(a.Code), Time: r.at(a.At), Delay: Seconds(a.Delay)})
		}
		all[i] = c
	}
	return all
}
