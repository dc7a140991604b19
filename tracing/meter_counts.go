package tracing

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// maxPairs bounds the pairs of method and target that are counted apart, as their
// counters stay when the suite has forgotten them.
const maxPairs = 2000

// other is the method and target of the others.
const other = "other"

// The counters.
const (
	countCalls = iota
	countAttempts
	countKinds
	countSuppressed
	countExhaustions
	countHedges
	countRefused
	countTransitions
	countLimited
	countWouldRefuse
	countSuite
	counters // how many
)

// counts are what a meter adds up itself, and reports to the provider when that asks:
// so a call that succeeds at once costs one addition.
type counts struct {
	counters [counters]metric.Int64ObservableCounter

	state, open, inFlight, queued, most, backend, successful metric.Int64ObservableGauge
	since, tokens, capacity, empty                           metric.Float64ObservableGauge

	mu        sync.Mutex // guards what follows
	pairs     map[pairKey]*pair
	endpoints map[*methodMeter]struct{} // in use
	events    map[observe.SuiteEvent]int64
	faulty    map[uint64]bool // suites whose last reload failed
}

type pairKey struct{ method, target string }

// newCounts makes the instruments and registers what answers for them.
func newCounts(of metric.Meter) (*counts, error) {
	c := &counts{
		pairs: make(map[pairKey]*pair), endpoints: make(map[*methodMeter]struct{}),
		events: make(map[observe.SuiteEvent]int64), faulty: make(map[uint64]bool),
	}
	var all []metric.Observable
	var faults []error
	counter := func(which int, name, unit, what string) {
		i, err := of.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		c.counters[which], all, faults = i, append(all, i), append(faults, err)
	}
	gauge := func(to *metric.Int64ObservableGauge, name, unit, what string) {
		i, err := of.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		*to, all, faults = i, append(all, i), append(faults, err)
	}
	amount := func(to *metric.Float64ObservableGauge, name, unit, what string) {
		i, err := of.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		*to, all, faults = i, append(all, i), append(faults, err)
	}
	counter(countCalls, "astra.retry.calls", "{call}", "Calls that ended, as their callers see them.")
	counter(countAttempts, "astra.retry.attempts", "{attempt}", "Attempts that ended, retries included.")
	counter(countKinds, "astra.retry.attempt_kinds", "{attempt}", "Attempts that ended, by what they were made for.")
	counter(countSuppressed, "astra.retry.suppressed", "{retry}", "Retries held back, by reason.")
	counter(countExhaustions, "astra.retry.exhaustions", "{call}", "Calls that failed with all their attempts used up.")
	counter(countHedges, "astra.retry.hedges", "{hedge}", "Hedges, by what became of them.")
	counter(countRefused, "astra.breaker.refused", "{call}", "Calls that the breaker refused.")
	counter(countTransitions, "astra.breaker.transitions", "{change}", "Changes of the breaker's state, by reason.")
	counter(countLimited, "astra.limit.refused", "{call}", "Calls that their limit refused, by reason.")
	counter(countWouldRefuse, "astra.would_refuse", "{call}", "Calls that breaker or limit would have refused, were their mode to enforce.")
	counter(countSuite, "astra.suite.events", "{event}", "Reloads, and what happened to stores, by result.")
	gauge(&c.state, "astra.breaker.state", "1", "0 closed, 1 half-open, 2 open.")
	gauge(&c.open, "astra.breaker.open", "1", "1 from the breaker's opening to its recovery, else 0.")
	amount(&c.since, "astra.breaker.open_since", "s", "Unix time of that opening; 0 while closed.")
	amount(&c.tokens, "astra.retry.budget.tokens", "{retry}", "Retries that the target's budget would allow now.")
	amount(&c.capacity, "astra.retry.budget.capacity", "{retry}", "What it holds at most.")
	amount(&c.empty, "astra.retry.budget.empty_since", "s", "Unix time at which it ran empty, if it has not been half full since.")
	gauge(&c.inFlight, "astra.limit.in_flight", "{call}", "Calls that hold a slot of their limit.")
	gauge(&c.queued, "astra.limit.queued", "{call}", "Calls that wait for their limit.")
	gauge(&c.most, "astra.limit.max", "{call}", "Calls that may hold a slot.")
	gauge(&c.backend, "astra.backend.state", "1", "0 in, 1 on trial, 2 ejected.")
	gauge(&c.successful, "astra.config.last_reload_successful", "1", "0 if the last replacement of the policies failed, else 1.")
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	_, err := of.RegisterCallback(c.observe, all...)
	return c, err
}

// pair is what is counted of a method of a target.
type pair struct {
	labels  []attribute.KeyValue
	set     metric.MeasurementOption
	firsts  [8]lane // calls whose first attempt succeeded
	entries sync.Map
}

// lane is a counter that calls on different processors mostly do not share.
type lane struct {
	n atomic.Int64
	_ [120]byte
}

func (p *pair) firstSuccess(shard uint32) { p.firsts[shard%uint32(len(p.firsts))].n.Add(1) }

// entry is a counter beside those: of an instrument, with labels.
type entry struct {
	of     int
	labels [3]attribute.KeyValue
}

// add counts what happens seldom.
func (p *pair) add(of int, labels ...attribute.KeyValue) {
	e := entry{of: of}
	copy(e.labels[:], labels)
	v, ok := p.entries.Load(e)
	if !ok {
		v, _ = p.entries.LoadOrStore(e, new(atomic.Int64))
	}
	v.(*atomic.Int64).Add(1)
}

// pairOf returns the pair of an endpoint, or that of all others.
func (c *counts) pairOf(e observe.Endpoint) *pair {
	k := pairKey{strings.TrimPrefix(text.Name(e.Method()), "/"), text.Name(e.CanonicalTarget())}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pairs[k] == nil && len(c.pairs) >= maxPairs {
		k = pairKey{other, other}
	}
	p := c.pairs[k]
	if p == nil {
		p = &pair{labels: []attribute.KeyValue{keyGRPCMethod.String(k.method), keyTarget.String(k.target)}}
		p.set = metric.WithAttributeSet(attribute.NewSet(p.labels...))
		c.pairs[k] = p
	}
	return p
}

// event counts what a call's event says.
func (c *counts) event(p *pair, e observe.Event) {
	reason := keyWhy.String(e.Reason.String())
	switch e.Kind {
	case observe.AttemptEnd:
		p.add(countKinds, keyKind.String(e.AttemptKind.String()))
		p.add(countAttempts, code(known(e.Code)))
	case observe.CallEnd:
		p.add(countCalls, keyOutcome.String(e.Outcome.String()))
		if e.Exhausted {
			p.add(countExhaustions)
		}
		if e.Reason == observe.ReasonBreakerOpen {
			p.add(countRefused)
		}
	case observe.Suppressed:
		p.add(countSuppressed, reason)
	case observe.Hedged:
		p.add(countHedges, keyResult.String(e.Hedge.String()))
	case observe.BreakerChange:
		p.add(countTransitions, keyFrom.String(e.From.String()), keyTo.String(e.To.String()), reason)
	case observe.Limited:
		p.add(countLimited, reason)
	case observe.WouldRefuse:
		p.add(countWouldRefuse, reason)
	}
}

// known keeps servers from making labels without end.
func known(c codes.Code) codes.Code {
	if c > codes.Unauthenticated {
		return codes.Unknown
	}
	return c
}

// suiteEvent counts what concerns a suite.
func (c *counts) suiteEvent(e observe.SuiteEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.Kind == observe.SuiteClosed, e.Kind == observe.Reloaded && e.Result == observe.ResultSuccess:
		delete(c.faulty, e.Suite)
	case e.Kind == observe.Reloaded:
		c.faulty[e.Suite] = true
	}
	c.events[observe.SuiteEvent{Kind: e.Kind, Result: e.Result}]++
}

// observe answers the provider.
func (c *counts) observe(_ context.Context, to metric.Observer) error {
	c.mu.Lock()
	pairs := slices.Collect(maps.Values(c.pairs))
	endpoints := slices.Collect(maps.Keys(c.endpoints))
	successful := int64(1)
	if len(c.faulty) > 0 {
		successful = 0
	}
	for e, n := range c.events {
		to.ObserveInt64(c.counters[countSuite], n, metric.WithAttributes(keyEvent.String(e.Kind.String()), keyResult.String(e.Result.String())))
	}
	c.mu.Unlock()
	to.ObserveInt64(c.successful, successful)
	for _, p := range pairs {
		c.observePair(to, p)
	}
	c.observeState(to, endpoints)
	return nil
}

func (c *counts) observePair(to metric.Observer, p *pair) {
	var firsts int64
	for i := range p.firsts {
		firsts += p.firsts[i].n.Load()
	}
	// Of these, calls that FirstSuccess did not count are entries too.
	summed := map[entry]int64{
		{of: countCalls, labels: [3]attribute.KeyValue{keyOutcome.String(observe.SuccessFirst.String())}}: firsts,
		{of: countAttempts, labels: [3]attribute.KeyValue{code(codes.OK)}}:                                firsts,
		{of: countKinds, labels: [3]attribute.KeyValue{keyKind.String(observe.FirstAttempt.String())}}:    firsts,
	}
	p.entries.Range(func(k, v any) bool {
		summed[k.(entry)] += v.(*atomic.Int64).Load()
		return true
	})
	for e, n := range summed {
		labels := slices.Clone(p.labels)
		for _, l := range e.labels {
			if l.Valid() {
				labels = append(labels, l)
			}
		}
		to.ObserveInt64(c.counters[e.of], n, metric.WithAttributes(labels...))
	}
}
