package tracing

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/changelog"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// logger is an observer that logs the calls that did not succeed at once.
type logger struct {
	to       *slog.Logger // nil: the default at the time
	messages bool
	silent   astracodes.Set

	rate    float64
	burst   int
	calls   [3]*changelog.Sampler // by sort
	changes *changelog.Changes
}

// Calls are sampled apart by what became of them: in an outage those refused, or
// rescued, are many, and must not use up what those that failed need.
const (
	failed = iota
	refused
	rescued
)

func sort(o observe.Outcome) int {
	switch o {
	case observe.SuccessAfterRetry, observe.SuccessHedge, observe.Rescued:
		return rescued
	case observe.RejectedBreaker, observe.RejectedLimit:
		return refused
	}
	return failed
}

// LogOption configures [NewLogger].
type LogOption func(*logger)

// LogRate bounds the records of each sort, see [NewLogger]: perSecond in the long
// run, burst at once. Values that are not above 0, or 1, are the defaults: 10 a
// second, 50 at once.
func LogRate(perSecond float64, burst int) LogOption {
	return func(l *logger) { l.rate, l.burst = perSecond, burst }
}

// LogMessages adds the message of the call's error, as "error". Servers may
// write into it what no log should hold. Default: the code alone.
func LogMessages() LogOption {
	return func(l *logger) { l.messages = true }
}

// LogExcept leaves out calls that failed with one of these codes, as a
// NOT_FOUND may be an answer like any other. A call that was rescued from it is
// logged.
func LogExcept(cs ...codes.Code) LogOption {
	return func(l *logger) { l.silent = astracodes.Of(cs...) }
}

// NewLogger returns an observer that logs one record for each call that failed
// ("call failed", at level Warn) or that a retry, a hedge or a fallback rescued
// ("call rescued", Info). A nil logger is [slog.Default] at the time of the
// record. The attributes:
//
//	method    "/pkg.Service/Method"
//	target    as the connection was given it, or its name by [interceptors.WithTargetName]
//	outcome   success_after_retry, success_hedge, failed, rejected_breaker, rejected_limit or fallback
//	attempts  how many were made
//	code      UNAVAILABLE; of a call that a fallback rescued, what from; OK if a retry did
//	rescued_from
//	          of a call that a retry or a hedge rescued, what from: the code of the last
//	          attempt that failed
//	reason    why the last failure was not retried: exhausted, or as astra_retry_suppressed_total
//	          has it; breaker_open or a limit's reason; absent if there is none
//	backend   address of the last attempt's, if the suite balances load
//	error     of a call that was refused: since when, why, and when the next may pass;
//	          of others with [LogMessages] alone
//	duration  of the whole call
//	backoff   the part of it spent waiting; absent if there was none
//	dropped   records of this sort held back since the last one; absent if none were
//	trace_id, span_id
//	          of the call's span, if there is one; of the caller's without [New]
//
// It also logs each change of a breaker: that it opened ("breaker opened",
// Warn) and recovered ("breaker closed", Info), and at level Debug what its
// probes find out ("breaker probes", "breaker stays open"). So it does for a
// backend ("backend ejected", "backend back in use"). Their attributes are
// method, target, backend, from, to and reason, as
// astra_breaker_transitions_total has them, next_probe_in (at the latest) or
// open_for, and dropped. That the target's budget refuses a retry ("retry
// budget empty", Warn) has the code that is not retried, and that it is half
// full again ("retry budget recovered", Info) has empty_for. A suite without
// such an observer logs them to its own logger, which also has what happens to
// policies and stores; see [interceptors.WithLogger].
//
// Neither messages nor metadata are logged, nor the text of errors that are not
// the suite's own unless [LogMessages] says so.
//
// Records beyond [LogRate] are counted and dropped before they are made. Failed
// calls, refused calls, rescued calls, changes of breakers and results of
// probes have a rate each. The handler runs on a goroutine of the suite's, so
// that a slow one delays no call, and gets the call's context, which may have
// ended. Suite.Close waits for records that are queued.
func NewLogger(to *slog.Logger, opts ...LogOption) observe.Observer {
	l := &logger{to: to}
	for _, o := range opts {
		if o != nil {
			o(l)
		}
	}
	for i := range l.calls {
		l.calls[i] = changelog.NewSampler(l.rate, l.burst)
	}
	l.changes = changelog.NewChanges(l.log, "", l.rate, l.burst)
	return l
}

// LogsChanges implements [observe.ChangeLogger].
func (l *logger) LogsChanges() {}

func (l *logger) log() *slog.Logger {
	if l.to != nil {
		return l.to
	}
	return slog.Default()
}

// wants is [observe.Hooks.Want]. What is not logged is sorted out here, on the
// caller's goroutine, and not after it was queued: an outage would fill the
// queue.
func (l *logger) wants(e observe.Event) bool {
	if e.Kind != observe.CallEnd {
		return l.changes.Wants(e)
	}
	if e.Outcome == observe.SuccessFirst {
		return false
	}
	if e.Outcome == observe.Failed && l.silent.Contains(e.Code) {
		return false
	}
	if !l.log().Enabled(context.Background(), level(e.Outcome)) {
		return false
	}
	return l.calls[sort(e.Outcome)].Pass()
}

// level is Info for calls that ended well in the end.
func level(o observe.Outcome) slog.Level {
	if sort(o) == rescued {
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// Observe implements [observe.Observer].
func (l *logger) Observe(e observe.Endpoint) observe.Hooks {
	m := &methodLog{l, e.Method(), e.Target(), slog.String("method", text.Name(e.Method())), slog.String("target", text.Name(e.Target()))}
	return observe.Hooks{Elapsed: true, Want: l.wants, Event: m.event}
}

// methodLog logs for one method of one target.
type methodLog struct {
	*logger
	methodName, targetName string
	method, target         slog.Attr
}

// ours reports whether the error is one of the suite's own, which holds nothing
// but the names of method and target, since when, why and until when it
// refuses.
func ours(r observe.Reason) bool {
	switch r {
	case observe.ReasonBreakerOpen, observe.ReasonQueueFull, observe.ReasonQueueTimeout, observe.ReasonRateLimited:
		return true
	}
	return false
}

// event is [observe.Hooks.Event].
func (m *methodLog) event(ctx context.Context, e observe.Event) {
	if e.Kind != observe.CallEnd {
		m.changes.Log(ctx, m.methodName, m.targetName, e)
		return
	}
	attrs := make([]slog.Attr, 0, 15)
	attrs = append(attrs, m.method, m.target,
		slog.String("outcome", e.Outcome.String()),
		slog.Int("attempts", e.Attempt),
		slog.String("code", astracodes.Name(e.Code)),
	)
	if e.Code == codes.OK && e.FailedCode != codes.OK {
		attrs = append(attrs, slog.String("rescued_from", astracodes.Name(e.FailedCode)))
	}
	if e.Exhausted {
		attrs = append(attrs, slog.String("reason", "exhausted"))
	} else if e.Reason != observe.ReasonNone {
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	if e.Backend != "" {
		attrs = append(attrs, slog.String("backend", e.Backend))
	}
	if e.Err != nil && (m.messages || ours(e.Reason)) {
		attrs = append(attrs, slog.String("error", text.Message(status.Convert(e.Err).Message())))
	}
	attrs = append(attrs, slog.Duration("duration", e.Elapsed))
	if e.Waited > 0 {
		attrs = append(attrs, slog.Duration("backoff", e.Waited))
	}
	if n := m.calls[sort(e.Outcome)].Held(); n > 0 {
		attrs = append(attrs, slog.Int64("dropped", n))
	}
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		attrs = append(attrs, slog.String("trace_id", s.TraceID().String()), slog.String("span_id", s.SpanID().String()))
	}
	lvl, text := level(e.Outcome), "call failed"
	if lvl == slog.LevelInfo {
		text = "call rescued"
	}
	m.log().LogAttrs(ctx, lvl, text, attrs...)
}
