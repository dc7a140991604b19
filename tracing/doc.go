// Package tracing reports what an interceptors.Suite does to OpenTelemetry and
// [log/slog]: as spans, histograms and log records. Each is an observer of its
// own; use those you need:
//
//	meter, err := tracing.NewMeter(meterProvider)
//	…
//	suite, err := interceptors.New(interceptors.WithObserver(
//		tracing.New(tracerProvider),
//		meter,
//		tracing.NewLogger(slog.Default()),
//	))
//
// It needs only OpenTelemetry's API; the providers given to it decide what
// becomes of spans and histograms.
//
// # Spans
//
// Names and status are those of gRFC A72. A call that was saved by a retry,
// with otelgrpc's stats handler installed beneath:
//
//	Sent.helloworld.Greeter.SayHello             internal  OK
//	├─ Attempt.helloworld.Greeter.SayHello       internal  UNAVAILABLE
//	│  └─ helloworld.Greeter/SayHello            client    otelgrpc's
//	├─ (event) backoff                           astra.backoff_ms=412
//	└─ Attempt.helloworld.Greeter.SayHello       internal  OK
//	   └─ helloworld.Greeter/SayHello            client    otelgrpc's
//
// A stream's span lasts until the stream ends, by io.EOF, an error or the end
// of its context. Both spans have rpc.system, rpc.service, rpc.method and, at
// their end, rpc.grpc.status_code, the number. Also:
//
//	call     grpc.target, astra.outcome (see [observe.Outcome]), astra.attempts
//	attempt  previous-rpc-attempts, transparent-retry, astra.attempt_kind (first, retry, resume, hedge)
//
// transparent-retry is false always: grpc-go's transparent retries happen
// beneath an attempt, unseen. The events of a call's span:
//
//	backoff           astra.attempt, astra.backoff_ms (planned), rpc.grpc.status_code
//	retry suppressed  astra.attempt, astra.suppress_reason, rpc.grpc.status_code
//	replay            astra.attempt, astra.replayed_messages; missing if the stream ends in that moment
//	breaker changed   astra.breaker.from, astra.breaker.to, astra.breaker.reason
//	breaker rejected  the call, before any attempt
//	queued, dequeued  before the first attempt, by a limit; astra.queued_ms
//	limit rejected    astra.limit_reason
//	hedge won, hedge lost, hedge suppressed
//	                  astra.attempt; astra.suppress_reason
//	fallback          rpc.grpc.status_code: what the call was rescued from
//
// A rescued call's span is OK, as its caller saw no error. Messages sent and
// received are not counted here: a stats handler sees each with its size.
//
// Kinds: the span of a call is internal, since a call may send no request (a
// breaker refused it) or several. The span of an attempt is a client span if
// the server's span becomes its child, which needs [WithPropagator]. Otherwise
// it is internal, so that otelgrpc's client span beneath is the only one of its
// request, and service graphs count each request once. (grpc-go's own plugin
// makes the call the client span; A72 does not say.)
//
// # Sampling
//
// Samplers see the name and kind of a call's span; only spans that record get
// attributes. If a call's span does not record, its attempts get no spans, and
// spans beneath are children of the call's: unsampled, too, under a
// parent-based sampler.
//
// # Text
//
// All strings that this package exports are valid UTF-8, since an invalid one
// fails the whole export. Names are cut at 512 bytes, messages of errors at
// 1024.
//
// # Propagation
//
// The suite adds no header of its own. Either install otelgrpc's stats handler,
// whose client spans become children of the attempts and which propagates
// them to the server:
//
//	opts := append(suite.DialOptions(), grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
//
// or let this package do it: [WithPropagator]. With both, otelgrpc's headers
// replace these. grpc-go's OpenTelemetry plugin makes spans of these very names:
// use its metrics, given before the suite's DialOptions, not its traces.
package tracing
