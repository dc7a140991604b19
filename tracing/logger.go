package tracing

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// logger is an observer that logs the calls that did not succeed at once.
type logger struct {
	to       *slog.Logger // nil: the default at the time
	bucket   *bucket
	messages bool
	silent   astracodes.Set
	epoch    time.Time
	dropped  atomic.Int64 // since the last record
}

// The records that [NewLogger] lets through, unless [LogRate] says otherwise.
const (
	defaultLogRate  = 10 // a second
	defaultLogBurst = 50
)

// LogOption configures [NewLogger].
type LogOption func(*logger)

// LogRate bounds the records: perSecond in the long run, burst at once. Values
// that are not above 0, or 1, are the defaults: 10 a second, 50 at once.
func LogRate(perSecond float64, burst int) LogOption {
	return func(l *logger) { l.bucket = newBucket(perSecond, burst) }
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
//	reason    why the last failure was not retried: exhausted, or as astra_retry_suppressed_total
//	          has it; breaker_open or a limit's reason; absent if there is none
//	backend   address of the last attempt's, if the suite balances load
//	duration  of the whole call
//	backoff   the part of it spent waiting; absent if there was none
//	dropped   records held back since the last one; absent if none were
//	trace_id, span_id
//	          of the call's span, if there is one; of the caller's without [New]
//
// Neither messages nor metadata are logged, nor the text of errors unless
// [LogMessages] says so.
//
// Records beyond [LogRate] are counted and dropped, before they cost anything.
// The handler runs on a goroutine of the suite's, so that a slow one delays no
// call, and gets the call's context, which may have ended. Suite.Close waits
// for records that are queued.
func NewLogger(to *slog.Logger, opts ...LogOption) observe.Observer {
	l := &logger{to: to, bucket: newBucket(defaultLogRate, defaultLogBurst), epoch: time.Now()}
	for _, o := range opts {
		if o != nil {
			o(l)
		}
	}
	return l
}

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
	if e.Kind != observe.CallEnd || e.Outcome == observe.SuccessFirst {
		return false
	}
	if e.Outcome == observe.Failed && l.silent.Contains(e.Code) {
		return false
	}
	if !l.log().Enabled(context.Background(), level(e.Outcome)) {
		return false
	}
	if !l.bucket.take(time.Since(l.epoch)) {
		l.dropped.Add(1)
		return false
	}
	return true
}

// level is Info for calls that ended well in the end.
func level(o observe.Outcome) slog.Level {
	switch o {
	case observe.SuccessAfterRetry, observe.SuccessHedge, observe.Rescued:
		return slog.LevelInfo
	}
	return slog.LevelWarn
}

// Observe implements [observe.Observer].
func (l *logger) Observe(e observe.Endpoint) observe.Hooks {
	m := &methodLog{l, slog.String("method", text.Name(e.Method())), slog.String("target", text.Name(e.Target()))}
	return observe.Hooks{Elapsed: true, Want: l.wants, Event: m.event}
}

// methodLog logs for one method of one target.
type methodLog struct {
	*logger
	method, target slog.Attr
}

// event is [observe.Hooks.Event].
func (m *methodLog) event(ctx context.Context, e observe.Event) {
	attrs := make([]slog.Attr, 0, 14)
	attrs = append(attrs, m.method, m.target,
		slog.String("outcome", e.Outcome.String()),
		slog.Int("attempts", e.Attempt),
		slog.String("code", astracodes.Name(e.Code)),
	)
	if e.Exhausted {
		attrs = append(attrs, slog.String("reason", "exhausted"))
	} else if e.Reason != observe.ReasonNone {
		attrs = append(attrs, slog.String("reason", e.Reason.String()))
	}
	if e.Backend != "" {
		attrs = append(attrs, slog.String("backend", e.Backend))
	}
	if m.messages && e.Err != nil {
		attrs = append(attrs, slog.String("error", text.Message(status.Convert(e.Err).Message())))
	}
	attrs = append(attrs, slog.Duration("duration", e.Elapsed))
	if e.Waited > 0 {
		attrs = append(attrs, slog.Duration("backoff", e.Waited))
	}
	if n := m.dropped.Swap(0); n > 0 {
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
