package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// counts are of calls that ended and attempts that ended.
type counts struct {
	calls, attempts int
	outcomes        [observe.Rescued + 1]int
	refused         int               // by the breaker; if the cache had an answer, these are rescued too
	at              [backendCount]int // attempts, by backend
}

func (c *counts) add(o counts) {
	c.calls += o.calls
	c.attempts += o.attempts
	c.refused += o.refused
	for i, n := range o.outcomes {
		c.outcomes[i] += n
	}
	for i, n := range o.at {
		c.at[i] += n
	}
}

// goodput is the number of calls that the server itself answered.
func (c *counts) goodput() int {
	return c.outcomes[observe.SuccessFirst] + c.outcomes[observe.SuccessAfterRetry] + c.outcomes[observe.SuccessHedge]
}

func (c *counts) cached() int { return c.outcomes[observe.Rescued] }

// failed is the number of calls whose callers saw an error.
func (c *counts) failed() int {
	return c.outcomes[observe.Failed] + c.outcomes[observe.RejectedBreaker] + c.outcomes[observe.RejectedLimit]
}

// tally is what happened in an act.
type tally struct {
	counts
	name string
	took []time.Duration // each unary call
	seen int             // attempts, as the server counted them
	bad  badTally
}

// badTally is of the attempts while a backend was bad: all, and those that went
// to it.
type badTally struct{ all, met int }

// slotsPerSecond is how finely the view looks at time; at a pace above 1, at
// the story's.
const slotsPerSecond = 4

// ledger keeps the books of the story. It is an observer with inline hooks: it
// misses nothing, and the times it takes are the calls' own.
type ledger struct {
	began time.Time
	slot  time.Duration

	mu       sync.Mutex // guards what follows
	endpoint *observe.Endpoint
	backends []string // addresses, if they are known
	acts     []*tally
	act      *tally // nil: not known
	entered  time.Time
	slots    []counts // from the beginning on
	streams  streamCounts
	journal  journal

	generation uint64    // of policies
	refusal    string    // why the last ones that were refused were
	openUntil  time.Time // the breaker, as an earlier process left it
}

var _ observe.Observer = (*ledger)(nil)

func newLedger(pace float64) *ledger {
	slot := time.Duration(float64(time.Second) / slotsPerSecond / pace)
	return &ledger{began: time.Now(), slot: slot, journal: newJournal(slot), generation: 1}
}

// Observe implements [observe.Observer]. There is one target; of its
// methods the view shows the breaker of sayHello.
func (l *ledger) Observe(e observe.Endpoint) observe.Hooks {
	if e.Method() != sayHello {
		b := streamBook{l, e.Method()}
		return observe.Hooks{Inline: true, Event: b.event, Start: b.start}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endpoint = &e
	return observe.Hooks{Inline: true, Event: l.event, Start: l.start}
}

// call is what a call carries in its context.
type call struct {
	began time.Time
	act   *tally // that it is counted for; nil: not known yet
}

type callKey struct{}

// callOf returns nil for what happens outside calls: see BreakerChange.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// start is [observe.Hooks.Start].
func (l *ledger) start(ctx context.Context, e observe.Event) (own context.Context, more bool) {
	if e.Kind != observe.CallStart {
		return ctx, true
	}
	l.mu.Lock()
	c := &call{time.Now(), l.act}
	l.mu.Unlock()
	if c.act != nil {
		ctx = metadata.AppendToOutgoingContext(ctx, actKey, c.act.name)
	}
	return context.WithValue(ctx, callKey{}, c), true
}

// event is [observe.Hooks.Event].
func (l *ledger) event(ctx context.Context, e observe.Event) {
	c, now := callOf(ctx), time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if c == nil {
		if e.Kind == observe.BreakerChange && e.To == observe.BreakerOpen {
			l.restored(now)
		}
		return
	}
	if e.Kind == observe.BackendChange {
		l.journal.write(entry{now.Sub(l.began), entryBreaker, l.backendChanged(e)})
		return
	}
	took := now.Sub(c.began)
	l.journal.event(now.Sub(l.began), e, took)
	l.count(c, now, e)
	if e.Kind == observe.CallEnd {
		c.act.took = append(c.act.took, took)
	}
}

// count counts what ended, with mu held.
func (l *ledger) count(c *call, now time.Time, e observe.Event) {
	var n counts
	switch e.Kind {
	case observe.AttemptEnd:
		n.attempts = 1
		if i := slices.Index(l.backends, e.Backend); i >= 0 {
			n.at[i] = 1
		}
	case observe.CallEnd:
		n.calls = 1
		n.outcomes[e.Outcome] = 1
		if errors.Is(e.Err, interceptors.ErrBreakerOpen) {
			n.refused = 1
		}
	default:
		return
	}
	if c.act == nil {
		c.act = l.tally()
	}
	c.act.add(n)
	l.slotAt(now).add(n)
}

// unknownAct is where calls are counted that no act is known for: a server in
// another process has not answered yet, or plays no story.
const unknownAct = "unknown"

func (l *ledger) tally() *tally {
	if l.act != nil {
		return l.act
	}
	return l.tallyOf(unknownAct)
}

func (l *ledger) tallyOf(name string) *tally {
	for _, t := range l.acts {
		if t.name == name {
			return t
		}
	}
	t := &tally{name: name}
	l.acts = append(l.acts, t)
	return t
}

func (l *ledger) slotAt(t time.Time) *counts {
	i := int(t.Sub(l.began) / l.slot)
	for len(l.slots) <= i {
		l.slots = append(l.slots, counts{})
	}
	return &l.slots[i]
}

// enter begins an act. Calls that run stay in theirs.
func (l *ledger) enter(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.act != nil && l.act.name == name {
		return
	}
	l.act = l.tallyOf(name)
	l.entered = time.Now()
	l.journal.act(l.entered.Sub(l.began), name)
}

// fixed writes that the bad backend serves again, which nobody has reported to
// the client.
func (l *ledger) fixed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.act.bad = badTally{l.act.attempts, l.act.at[badBackend]}
	l.journal.write(entry{time.Since(l.began), entryAct, "backend " + backendName(badBackend) + " serves again: a probe finds out"})
}

// follow is an interceptor inside the suite that learns of the acts from a
// server in another process.
func (l *ledger) follow(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	var trailer metadata.MD
	err := invoke(ctx, method, req, reply, cc, append(slices.Clip(opts), grpc.Trailer(&trailer))...)
	if name := trailer.Get(actKey); len(name) == 1 && aboutAct(name[0]) != "" && l.settled() {
		l.enter(name[0])
	}
	return err
}

// settled is false in the first moments of an act, in which slow answers of the
// one before still come in.
func (l *ledger) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.entered) > l.slot
}

// glimpse is what a view shows.
type glimpse struct {
	at      time.Duration
	act     string // "": not known
	last    counts // of the last second
	slots   []counts
	streams streamCounts
	journal journal
	breaker string
	tokens  float64

	backends []string // states of those that are known, in order

	generation uint64 // of policies
}

func (l *ledger) glimpse() glimpse {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	g := glimpse{at: now.Sub(l.began), streams: l.streams, breaker: "unknown", generation: l.generation, backends: l.backendStates()}
	l.slotAt(now)
	g.slots = slices.Clone(l.slots[:len(l.slots)-1]) // the whole ones
	for _, s := range g.slots[max(0, len(g.slots)-slotsPerSecond):] {
		g.last.add(s)
	}
	g.journal = l.journal.copy()
	if l.act != nil {
		g.act = l.act.name
	}
	if l.endpoint != nil {
		if state, ok := l.endpoint.BreakerState(); ok {
			g.breaker = state.String()
		}
		g.tokens, _ = l.endpoint.BudgetTokens()
	}
	return g
}

// results are the tallies of acts that had calls, in order, and the streams of
// them all, the story over.
func (l *ledger) results() ([]*tally, streamCounts) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.acts), func(t *tally) bool { return t.calls == 0 }), l.streams
}
