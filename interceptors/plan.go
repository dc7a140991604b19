package interceptors

import (
	"sync"
	"sync/atomic"

	"github.com/astra-grpc/astra/internal/breaker"
	"github.com/astra-grpc/astra/internal/budget"
	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/fleet"
	"github.com/astra-grpc/astra/internal/hedge"
	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/internal/limit"
	"github.com/astra-grpc/astra/internal/retry"
	"google.golang.org/grpc"
)

// compiled is a policy as calls use it, and its variants. It is immutable.
type compiled struct {
	engine.Policy

	single     *compiled // the same with one attempt
	idempotent *compiled // for methods declared so
	undeclared *compiled // for others, unless a pattern names them exactly

	raw             *Policy // what it was made of
	pattern, source string  // that it was given for, and where
	variant         string  // "", or "idempotent" or "undeclared"
	silent          bool    // it says nothing of retries
}

// compile wants a valid policy with its defaults filled in.
func compile(p Policy) *compiled {
	c := compileOne(p)
	c.single = single(c)
	c.silent = p.Retry.Repeat == RepeatAuto && p.Retry.MaxAttempts > 1
	c.idempotent, c.undeclared = c, c
	if more := p.Retry.IdempotentCodes; more != 0 || p.Retry.Repeat == RepeatAuto {
		wider := p
		wider.Retry.Codes |= more
		if p.Retry.Repeat == RepeatAuto {
			wider.Retry.Repeat = RepeatAny
		}
		c.idempotent = compileOne(wider)
		c.idempotent.single = c.single
		c.idempotent.variant, c.idempotent.silent = "idempotent", c.silent
	}
	if c.Hedges() {
		plain := p
		plain.Hedge = Hedge{}
		c.undeclared = compileOne(plain)
		c.undeclared.single = c.single
		c.undeclared.variant = "undeclared"
	}
	return c
}

func single(c *compiled) *compiled {
	s := *c
	s.Retry.MaxAttempts, s.Hedge.MaxAttempts = 1, 0
	s.single, s.idempotent, s.undeclared = &s, &s, &s
	return &s
}

// from says where a policy was given, in all its variants.
func (c *compiled) from(pattern, source string) *compiled {
	for _, v := range []*compiled{c, c.idempotent, c.undeclared, c.single} {
		v.pattern, v.source = pattern, source
	}
	return c
}

// compileOne leaves the variants to be filled in.
func compileOne(p Policy) *compiled {
	b, l := p.Breaker, p.Limit
	return &compiled{raw: &p, Policy: engine.Policy{
		Retry: retry.Policy{
			MaxAttempts: p.Retry.MaxAttempts,
			Codes:       p.Retry.Codes,
			Backoff:     p.Retry.Backoff,
			PerCode:     p.Retry.PerCode,
		},
		Timeout:        p.Timeout,
		AttemptTimeout: p.AttemptTimeout,
		Failures:       b.Failures,
		SlowCall:       b.SlowCall,
		Breaker: breaker.Config{
			FailureRate: b.FailureRate,
			SlowRate:    b.SlowRate,
			MinCalls:    b.MinCalls,
			Window:      b.Window,
			Consecutive: b.Consecutive,
			OpenFor:     b.OpenFor,
			MaxOpenFor:  b.MaxOpenFor,
			ProbeShare:  b.ProbeShare,
			LateProbe:   true,
			Probes:      b.Probes,
			ProbeTTL:    max(minProbeTTL, p.Timeout),
		},
		Budget:         budget.Config{Ratio: p.Budget.Ratio, MinPerSecond: p.Budget.MinPerSecond, Burst: p.Budget.Burst},
		BreakerOff:     b.Disabled,
		BreakerObserve: b.Mode == ModeObserve,
		LimitObserve:   l.Mode == ModeObserve,
		BudgetOff:      p.Budget.Disabled,
		Repeat:         p.Retry.Repeat.verdict(),
		BufferBytes:    p.Retry.BufferBytes,
		Limit: limit.Config{
			MaxConcurrent: l.MaxConcurrent,
			Adaptive:      l.Adaptive,
			MaxQueue:      l.MaxQueue,
			MaxWait:       l.MaxWait,
			Rate:          l.Rate,
			Burst:         l.burst(),
		},
		Hedge:      hedge.Config{MaxAttempts: p.Hedge.MaxAttempts, NonFatal: p.Hedge.NonFatal},
		HedgeDelay: p.Hedge.Delay,
	}}
}

// endpoint is what the suite keeps for a method of a target for as long as it
// is in use, reloads included.
type endpoint struct {
	target, method string // names
	canonical      string // the target's, with its scheme
	recorders      hooks.Recorders
	asking         sync.Once          // of the observers, for recorders
	restored       breaker.Transition // guarded by registry.mu: of the breaker, not reported yet
	breaker        *breaker.Guard     // also while a policy turns it off; nil: never had one
	budget         *budget.Guard      // likewise
	limit          *limit.Guard       // likewise, as calls may hold its slots
	known          bool               // the program has the method's descriptor
	idempotent     bool               // which says so
	overflow       bool               // made for one call
	record         journal.Record
	losses         atomic.Uint64                  // connections lost with calls on them
	lastGood       fleet.LastGood                 // the backend on which it last succeeded
	peers          fleet.Peers                    // of attempts whose backends are not the suite's to choose
	located        atomic.Pointer[located]        // where its backends are known; nil: not asked yet
	latency        atomic.Pointer[hedge.Quantile] // of its attempts; nil: nobody has asked for it

	currentBreaker atomic.Pointer[breaker.Guard] // what the current plan has
	currentBudget  atomic.Pointer[budget.Guard]
	currentLimit   atomic.Pointer[limit.Guard]
}

// latencies returns how long the method's attempts lately took; nil: nothing is
// kept for it.
func (e *endpoint) latencies() *hedge.Quantile {
	if e.overflow {
		return nil
	}
	if q := e.latency.Load(); q != nil {
		return q
	}
	e.latency.CompareAndSwap(nil, hedge.NewQuantile())
	return e.latency.Load()
}

// evict has the observers forget endpoints. Those that no observer has been asked
// about yet will have none. It is called without the suite's lock, as observers
// and loggers may come back.
func evict(all []*endpoint) {
	for _, e := range all {
		e.asking.Do(func() {})
		e.recorders.Evict()
	}
}

// plan is all that a call of one method on one target needs to know. It is
// immutable except its flags; calls that run keep theirs through a reload.
type plan struct {
	engine.Plan
	*endpoint
	policy     *compiled
	fallback   Fallback    // nil: none
	resume     Resume      // nil: none
	classifier *classifier // nil: none
	balancing  *balancing  // nil: where calls go is not for the suite to say
	unhedged   bool        // its policy hedges, but not methods like this one
	flags      atomic.Uint32
}

// fleetOf returns the fleet of a connection; nil: the suite does not balance load.
func (p *plan) fleetOf(cc *grpc.ClientConn) *fleet.Fleet {
	if p.balancing == nil || cc == nil {
		return nil
	}
	return p.balancedFleetOf(cc)
}

func (p *plan) balancedFleetOf(cc *grpc.ClientConn) *fleet.Fleet {
	b := p.balancing
	if b.registry.Closed() {
		return nil
	}
	if l := p.located.Load(); l != nil && l.target == cc.Target() {
		return l.fleet
	}
	f := b.registry.Fleet(cc.CanonicalTarget())
	p.located.Store(&located{cc.Target(), f})
	return f
}

// The marks of a plan, looked at by every call and seldom written.
const (
	flagUsed    = 1 << iota // since the last look for idle plans
	flagChecked             // for retries of grpc-go beneath
	flagNative              // the connection's service config has a retry policy, which holds
	flagsAll    = flagUsed | flagChecked
)
