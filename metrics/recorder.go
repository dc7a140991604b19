package metrics

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
)

// function holds what one value of the function label is counted with. It is
// immutable: what changes is behind pointers, so that reading it stays cheap.
type function struct {
	name      string
	since     time.Time
	firsts    *atomic.Uint64 // first attempts, but those of calls that they ended well
	backoffs  *backoffs
	exhausted prometheus.ExemplarAdder
	delays    prometheus.ExemplarObserver
	durations *durations // nil: not wanted
}

// newFunction makes a method's series, as far as their labels are known.
func (m *Metrics) newFunction(name string) *function {
	for c := codes.Canceled; c <= codes.Unauthenticated; c++ {
		m.attempts.WithLabelValues(name, outcomeFailed, c.String())
	}
	for _, o := range observe.Outcomes() {
		if o != observe.SuccessFirst {
			m.calls.WithLabelValues(name, o.String())
		}
	}
	for k := observe.RetryAttempt; k <= observe.HedgeAttempt; k++ {
		m.kinds.WithLabelValues(name, k.String())
	}
	for r := observe.HedgeWon; r <= observe.HedgeSuppressed; r++ {
		m.hedges.WithLabelValues(name, r.String())
	}
	for r := observe.ReasonNotRetryable; r <= observe.ReasonAmbiguous; r++ {
		m.suppressed.WithLabelValues(name, r.String())
	}
	m.replayed.WithLabelValues(name)
	return &function{
		name:      name,
		since:     time.Now(),
		firsts:    new(atomic.Uint64),
		backoffs:  &backoffs{calls: make(map[int]int)},
		exhausted: m.exhaustions.WithLabelValues(name).(prometheus.ExemplarAdder),
		delays:    m.delays.WithLabelValues(name).(prometheus.ExemplarObserver),
		durations: m.durations.of(name),
	}
}

// pairKey names a pair by its labels.
type pairKey struct{ function, target string }

// pair is what a function and a target are counted with.
type pair struct {
	*function
	target  string
	hot     tally
	failed  atomic.Uint64 // attempts
	refused prometheus.Counter
	changes sync.Once // makes the series of its breaker
}

// pairLocked returns the pair of an endpoint, by its labels.
func (m *Metrics) pairLocked(e observe.Endpoint) *pair {
	name := label(m.functions, e.Method(), m.maxMethods)
	f := m.functions[name]
	if f == nil {
		f = m.newFunction(name)
		m.functions[name] = f
	}
	target := label(m.targets, e.Target(), m.maxTargets)
	if _, known := m.targets[target]; !known {
		m.targets[target] = time.Now()
	}
	k := pairKey{name, target}
	p := m.pairs[k]
	if p == nil {
		m.observed.breaker.WithLabelValues(name, target)
		p = &pair{function: f, target: target, refused: m.refused.WithLabelValues(name, target)}
		m.pairs[k] = p
	}
	return p
}

// changes are the transitions that a breaker can make by itself or by a store;
// those by hand are few, and known to whoever makes them.
var changes = []struct {
	from, to observe.BreakerState
	reasons  []observe.Reason
}{
	{observe.BreakerClosed, observe.BreakerOpen, []observe.Reason{
		observe.ReasonConsecutive, observe.ReasonFailureRate, observe.ReasonFailureBalance, observe.ReasonSlowRate,
		observe.ReasonRestored, observe.ReasonFleet}},
	{observe.BreakerOpen, observe.BreakerHalfOpen, []observe.Reason{observe.ReasonOpenTimeOver, observe.ReasonEnoughRefused}},
	{observe.BreakerHalfOpen, observe.BreakerOpen, []observe.Reason{observe.ReasonProbeFailed}},
	{observe.BreakerHalfOpen, observe.BreakerClosed, []observe.Reason{observe.ReasonRecovered}},
}

// breakerSeries makes the series of a breaker's transitions, once.
func (m *Metrics) breakerSeries(p *pair) {
	p.changes.Do(func() {
		for _, c := range changes {
			for _, why := range c.reasons {
				m.transitions.WithLabelValues(p.name, p.target, c.from.String(), c.to.String(), why.String())
			}
		}
	})
}

// recorder counts for one method of one target.
type recorder struct {
	metrics  *Metrics
	pair     *pair
	endpoint observe.Endpoint
}

// event is [observe.Hooks.Event].
func (r *recorder) event(ctx context.Context, e observe.Event) {
	m, name := r.metrics, r.pair.name
	switch e.Kind {
	case observe.AttemptEnd:
		r.attempt(ctx, e)
	case observe.CallEnd:
		r.call(ctx, e)
	case observe.BackoffStart:
		r.pair.backoffs.add(e.Attempt, 1)
		r.pair.delays.ObserveWithExemplar(e.Delay.Seconds(), exemplar(ctx))
	case observe.BackoffEnd:
		r.pair.backoffs.add(e.Attempt, -1)
	case observe.Replayed:
		m.replayed.WithLabelValues(name).Add(float64(e.Messages))
	case observe.Dequeued, observe.Limited:
		m.limits.record(ctx, name, e)
	case observe.Hedged:
		m.hedges.WithLabelValues(name, e.Hedge.String()).Inc()
	case observe.Suppressed:
		m.suppressed.WithLabelValues(name, e.Reason.String()).Inc()
	case observe.WouldRefuse:
		m.observed.record(name, r.pair.target, e)
	case observe.BreakerChange:
		m.transitions.WithLabelValues(name, r.pair.target, e.From.String(), e.To.String(), e.Reason.String()).Inc()
	}
}

func (r *recorder) attempt(ctx context.Context, e observe.Event) {
	if d := r.pair.durations; d != nil {
		d.attempt(ctx, e)
	}
	if e.Elsewhere {
		r.metrics.backends.elsewhere.WithLabelValues(r.pair.name).Inc()
	}
	if e.AttemptKind == observe.FirstAttempt {
		r.pair.firsts.Add(1)
	} else {
		r.metrics.kinds.WithLabelValues(r.pair.name, e.AttemptKind.String()).Inc()
	}
	if e.Err == nil {
		r.pair.hot.of(e.Shard).others.Add(1)
		return
	}
	r.pair.failed.Add(1)
	add(ctx, r.metrics.attempts.WithLabelValues(r.pair.name, outcomeFailed, grpcCode(e.Code)))
}

func (r *recorder) call(ctx context.Context, e observe.Event) {
	if d := r.pair.durations; d != nil {
		d.call(ctx, e)
	}
	if e.Outcome == observe.SuccessFirst { // with durations, and of a wrapper, which has no FirstSuccess
		r.pair.hot.of(e.Shard).alone.Add(1)
		return
	}
	add(ctx, r.metrics.calls.WithLabelValues(r.pair.name, e.Outcome.String()))
	if e.Exhausted {
		r.pair.exhausted.AddWithExemplar(1, exemplar(ctx))
	}
	if e.Reason == observe.ReasonBreakerOpen {
		add(ctx, r.pair.refused)
	}
}

// evicted takes the endpoint out of the gauges. A call of it that still runs is
// counted on.
func (r *recorder) evicted() {
	r.metrics.mu.Lock()
	defer r.metrics.mu.Unlock()
	delete(r.metrics.recorders, r)
}

// grpcCode returns the grpc_code label. Servers may send any number: those that
// gRPC does not know are UNKNOWN to it, and would be series without end.
func grpcCode(c codes.Code) string {
	if c > codes.Unauthenticated {
		c = codes.Unknown
	}
	return c.String()
}

// backoffs counts the calls that are backing off, by the number of the retry.
type backoffs struct {
	mu    sync.Mutex
	calls map[int]int
}

func (b *backoffs) add(retry, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[retry] += n
	if b.calls[retry] == 0 {
		delete(b.calls, retry)
	}
}

func (b *backoffs) highest() (retry int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := range b.calls {
		retry = max(retry, n)
	}
	return retry
}
