package metrics

import (
	"context"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/observe"
)

// function holds what one value of the function label is counted with. It is
// immutable: what changes is behind pointers, so that reading it stays cheap.
type function struct {
	name      string
	since     time.Time
	hot       shards
	firsts    *atomic.Uint64 // first attempts, but those of calls that they ended well
	backoffs  *backoffs
	exhausted prometheus.ExemplarAdder
	delays    prometheus.ExemplarObserver
}

func (m *Metrics) newFunction(name string) *function {
	for _, o := range observe.Outcomes() {
		if o != observe.SuccessFirst {
			m.calls.WithLabelValues(name, o.String())
		}
	}
	m.kinds.WithLabelValues(name, observe.RetryAttempt.String())
	m.replayed.WithLabelValues(name)
	return &function{
		name:      name,
		since:     time.Now(),
		hot:       newShards(),
		firsts:    new(atomic.Uint64),
		backoffs:  &backoffs{calls: make(map[int]int)},
		exhausted: m.exhaustions.WithLabelValues(name).(prometheus.ExemplarAdder),
		delays:    m.delays.WithLabelValues(name).(prometheus.ExemplarObserver),
	}
}

// recorder counts for one method of one target.
type recorder struct {
	metrics  *Metrics
	function *function
	endpoint observe.Endpoint
	target   string // the label
}

// firstSuccess is [observe.Hooks.FirstSuccess]: one addition stands for the
// attempt and the call.
func (r *recorder) firstSuccess(shard uint32) { r.function.hot.of(shard).firsts.Add(1) }

// event is [observe.Hooks.Event].
func (r *recorder) event(ctx context.Context, e observe.Event) {
	switch e.Kind {
	case observe.AttemptEnd:
		if e.AttemptKind == observe.FirstAttempt {
			r.function.firsts.Add(1)
		} else {
			r.metrics.kinds.WithLabelValues(r.function.name, e.AttemptKind.String()).Inc()
		}
		if e.Err == nil {
			r.function.hot.of(e.Shard).others.Add(1)
			return
		}
		add(ctx, r.metrics.attempts.WithLabelValues(r.function.name, outcomeFailed, grpcCode(e.Code)))
	case observe.CallEnd:
		if e.Outcome == observe.SuccessFirst { // a wrapper has no FirstSuccess
			r.function.hot.of(e.Shard).alone.Add(1)
			return
		}
		add(ctx, r.metrics.calls.WithLabelValues(r.function.name, e.Outcome.String()))
		if e.Exhausted {
			r.function.exhausted.AddWithExemplar(1, exemplar(ctx))
		}
	case observe.BackoffStart:
		r.function.backoffs.add(e.Attempt, 1)
		r.function.delays.ObserveWithExemplar(e.Delay.Seconds(), exemplar(ctx))
	case observe.BackoffEnd:
		r.function.backoffs.add(e.Attempt, -1)
	case observe.Replayed:
		r.metrics.replayed.WithLabelValues(r.function.name).Add(float64(e.Messages))
	case observe.Dequeued, observe.Limited:
		r.metrics.limits.record(ctx, r.function.name, e)
	case observe.Hedged:
		r.metrics.hedges.WithLabelValues(r.function.name, e.Hedge.String()).Inc()
	case observe.Suppressed:
		r.metrics.suppressed.WithLabelValues(r.function.name, e.Reason.String()).Inc()
	case observe.WouldRefuse:
		r.metrics.observed.record(r.function.name, r.target, e)
	case observe.BreakerChange:
		r.metrics.transitions.WithLabelValues(r.function.name, r.target, e.From.String(), e.To.String(), e.Reason.String()).Inc()
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

func add(ctx context.Context, c prometheus.Counter) {
	c.(prometheus.ExemplarAdder).AddWithExemplar(1, exemplar(ctx))
}

// exemplar returns the way to the trace of ctx; nil, which leaves an earlier
// exemplar in place, if there is none to be found.
func exemplar(ctx context.Context) prometheus.Labels {
	if s := trace.SpanContextFromContext(ctx); s.IsValid() && s.IsSampled() {
		return prometheus.Labels{labelTraceID: s.TraceID().String()}
	}
	return nil
}

// shards count what happens in every good call. Calls on different processors
// mostly write to different ones, hence to different cache lines. The length is
// a power of two.
type shards []shard

type shard struct {
	firsts atomic.Uint64 // calls whose first attempt succeeded
	others atomic.Uint64 // other attempts that succeeded
	alone  atomic.Uint64 // calls as firsts, whose attempt is among others
	_      [104]byte     // a cache line (and its prefetched twin) each
}

// maxShards keeps a method's shards at 8 KiB on the largest machines.
const maxShards = 64

func newShards() shards {
	n := min(runtime.GOMAXPROCS(0), maxShards)
	return make(shards, 1<<bits.Len(uint(n-1)))
}

func (s shards) of(n uint32) *shard { return &s[n&uint32(len(s)-1)] }

// fold returns the attempts that succeeded, the calls whose first did, and those
// of them that firstSuccess counted.
func (s shards) fold() (attempts, calls, firsts uint64) {
	for i := range s {
		first := s[i].firsts.Load()
		firsts += first
		calls += first + s[i].alone.Load()
		attempts += first + s[i].others.Load()
	}
	return attempts, calls, firsts
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
