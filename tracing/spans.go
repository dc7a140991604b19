package tracing

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// spans is an observer that makes a span of each call and of each attempt.
type spans struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator // nil: none
	messages   bool
}

// New returns an observer that makes spans: one a call, and one an attempt,
// children of it; see the package's documentation. It may observe several
// suites. A nil provider makes none; otel.GetTracerProvider() is the global one,
// whenever that is set.
//
// A call whose span does not record costs what the provider's Start does, and
// allocates nothing beyond that.
func New(tp trace.TracerProvider, opts ...Option) observe.Observer {
	if tp == nil {
		tp = noop.NewTracerProvider()
	}
	s := &spans{tracer: tp.Tracer(scope)}
	for _, o := range opts {
		if o != nil {
			o(s)
		}
	}
	return s
}

// Observe implements [observe.Observer].
func (s *spans) Observe(e observe.Endpoint) observe.Hooks {
	name := text.Name(e.Method())
	service, method := split(name)
	rpc := []attribute.KeyValue{keySystem.String("grpc"), keyService.String(service), keyMethod.String(method)}
	kind := trace.SpanKindInternal
	if s.propagator != nil {
		kind = trace.SpanKindClient
	}
	m := &methodSpans{
		spans:       s,
		callName:    callPrefix + dotted(name),
		attemptName: attemptPrefix + dotted(name),
		call:        append(rpc[:len(rpc):len(rpc)], keyTarget.String(text.Name(e.CanonicalTarget()))),
		attempt:     []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(rpc...)},
	}
	m.first = m.attemptOptions(1, observe.FirstAttempt)
	return observe.Hooks{Inline: true, Event: m.record, Start: m.start}
}

// methodSpans makes the spans of one method's calls on one target.
type methodSpans struct {
	*spans
	callName, attemptName string
	call                  []attribute.KeyValue
	attempt, first        []trace.SpanStartOption // of any, of the first
}

// open is the span of a call, or of an attempt, that records. Contexts carry it
// beside OpenTelemetry's own entry, under the observer's address: that entry
// may be another observer's.
type open struct {
	trace.Span
	call *open // nil: it is a call's
}

// start is [observe.Hooks.Start].
func (m *methodSpans) start(ctx context.Context, e observe.Event) (own context.Context, more bool) {
	switch e.Kind {
	case observe.CallStart:
		return m.startCall(ctx)
	case observe.AttemptStart:
		ctx = m.startAttempt(ctx, e)
		if m.propagator != nil {
			ctx = inject(ctx, m.propagator)
		}
	}
	return ctx, true
}

// startCall wants no more of a call that does not record, unless its attempts
// must propagate that to the server.
func (m *methodSpans) startCall(outer context.Context) (ctx context.Context, more bool) {
	ctx, span := m.tracer.Start(outer, m.callName)
	switch {
	case span.IsRecording():
		span.SetAttributes(m.call...)
		return context.WithValue(ctx, m.spans, &open{Span: span}), true
	case m.propagator == nil:
		return ctx, false
	case m.of(outer) != nil: // this call is made within one that records
		ctx = context.WithValue(ctx, m.spans, (*open)(nil))
	}
	return ctx, true
}

func (m *methodSpans) startAttempt(ctx context.Context, e observe.Event) context.Context {
	call := m.of(ctx)
	if call == nil {
		return ctx
	}
	if !trace.SpanContextFromContext(ctx).Equal(call.SpanContext()) {
		ctx = trace.ContextWithSpan(ctx, call.Span) // another observer's came between
	}
	opts := m.first
	if e.Attempt != 1 {
		opts = m.attemptOptions(e.Attempt, e.AttemptKind)
	}
	ctx, span := m.tracer.Start(ctx, m.attemptName, opts...)
	return context.WithValue(ctx, m.spans, &open{Span: span, call: call})
}

func (m *methodSpans) attemptOptions(n int, kind observe.AttemptKind) []trace.SpanStartOption {
	return append(m.attempt[:len(m.attempt):len(m.attempt)], trace.WithAttributes(
		keyPrevious.Int(n-1), keyTransparent.Bool(false), keyKind.String(kind.String()),
	))
}

// of returns the innermost span that records, of a call or of an attempt; nil
// if there is none.
func (s *spans) of(ctx context.Context) *open {
	o, _ := ctx.Value(s).(*open)
	return o
}

// record is [observe.Hooks.Event].
func (m *methodSpans) record(ctx context.Context, e observe.Event) {
	span := m.of(ctx)
	if span == nil {
		return
	}
	if e.Kind == observe.AttemptEnd {
		if span.call != nil {
			span.SetAttributes(peerOf(e.Backend)...)
			m.end(span, e.Code, e.Err)
		}
		return
	}
	if span.call != nil {
		span = span.call
	}
	if e.Kind == observe.CallEnd {
		m.endCall(span, e)
		return
	}
	m.event(span, e)
}

// event adds to a call's span what happens between its beginning and its end.
// Kinds that it does not know are other observers' concern.
func (m *methodSpans) event(call *open, e observe.Event) {
	switch attempt := keyAttempt.Int(e.Attempt); e.Kind {
	case observe.BackoffStart:
		call.add(eventBackoff, attempt, keyBackoff.Int64(milliseconds(e.Delay)), code(e.Code))
	case observe.Suppressed:
		call.add(eventSuppressed, attempt, keySuppress.String(e.Reason.String()), code(e.Code))
	case observe.Replayed:
		call.add(eventReplay, attempt, keyReplayed.Int(e.Messages))
	case observe.BreakerChange:
		call.add(eventBreakerChanged, keyFrom.String(e.From.String()), keyTo.String(e.To.String()), keyReason.String(e.Reason.String()))
	case observe.Queued:
		call.add(eventQueued)
	case observe.Dequeued:
		call.add(eventDequeued, keyQueued.Int64(milliseconds(e.Delay)))
	case observe.Limited:
		call.add(eventLimitRejected, keyLimit.String(e.Reason.String()))
	case observe.Hedged:
		attributes := []attribute.KeyValue{attempt}
		if e.Hedge == observe.HedgeSuppressed {
			attributes = append(attributes, keySuppress.String(e.Reason.String()))
		}
		call.add(eventHedge+e.Hedge.String(), attributes...)
	}
}

func (m *methodSpans) endCall(call *open, e observe.Event) {
	seen, err := e.Code, e.Err
	switch e.Outcome {
	case observe.RejectedBreaker:
		call.add(eventBreakerRejected)
	case observe.Rescued:
		call.add(eventFallback, code(e.Code))
		seen, err = codes.OK, nil // by the caller
	}
	call.SetAttributes(keyOutcome.String(e.Outcome.String()), keyAttempts.Int(e.Attempt))
	m.end(call, seen, err)
}

func (m *methodSpans) end(span *open, c codes.Code, err error) {
	span.SetAttributes(code(c))
	if c == codes.OK {
		span.SetStatus(otelcodes.Ok, "")
	} else {
		span.SetStatus(otelcodes.Error, m.describe(c, err))
	}
	span.End()
}

// describe is the description of a failure: A72 wants the code in it, and may
// have the message.
func (m *methodSpans) describe(c codes.Code, err error) string {
	name := astracodes.Name(c)
	if !m.messages {
		return name
	}
	return name + ", " + text.Message(status.Convert(err).Message())
}

func (o *open) add(name string, attributes ...attribute.KeyValue) {
	if len(attributes) == 0 {
		o.AddEvent(name)
		return
	}
	o.AddEvent(name, trace.WithAttributes(attributes...))
}

// milliseconds rounds, to the nearest.
func milliseconds(d time.Duration) int64 { return d.Round(time.Millisecond).Milliseconds() }
