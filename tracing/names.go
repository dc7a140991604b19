package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/grpc/codes"
)

// scope is the name of the instrumentation, for tracers and meters.
const scope = "github.com/astra-grpc/astra/tracing"

// What spans are named after (gRFC A72).
const (
	callPrefix    = "Sent."
	attemptPrefix = "Attempt."
)

// Attributes. Those without a dot and grpc.target are gRFC A72's and A66's, rpc.*
// OpenTelemetry's.
const (
	keySystem  = attribute.Key("rpc.system")
	keyService = attribute.Key("rpc.service")
	keyMethod  = attribute.Key("rpc.method")
	keyCode    = attribute.Key("rpc.grpc.status_code")

	keyTarget      = attribute.Key("grpc.target")
	keyGRPCMethod  = attribute.Key("grpc.method") // of metrics
	keyPrevious    = attribute.Key("previous-rpc-attempts")
	keyTransparent = attribute.Key("transparent-retry")

	keyOutcome  = attribute.Key("astra.outcome")
	keyAttempts = attribute.Key("astra.attempts")
	keyAttempt  = attribute.Key("astra.attempt")
	keyKind     = attribute.Key("astra.attempt_kind")
	keyBackoff  = attribute.Key("astra.backoff_ms")
	keySuppress = attribute.Key("astra.suppress_reason")
	keyReplayed = attribute.Key("astra.replayed_messages")
	keyFrom     = attribute.Key("astra.breaker.from")
	keyTo       = attribute.Key("astra.breaker.to")
	keyReason   = attribute.Key("astra.breaker.reason")
	keyQueued   = attribute.Key("astra.queued_ms")
	keyLimit    = attribute.Key("astra.limit_reason")
)

// Events of a call's span.
const (
	eventBackoff         = "backoff"
	eventSuppressed      = "retry suppressed"
	eventReplay          = "replay"
	eventBreakerChanged  = "breaker changed"
	eventBreakerRejected = "breaker rejected"
	eventLimitRejected   = "limit rejected"
	eventQueued          = "queued"
	eventDequeued        = "dequeued"
	eventHedge           = "hedge " // and what became of it
	eventFallback        = "fallback"
)

// split takes "/pkg.Service/Method" apart. What has no such form, which gRPC
// would not send, is all method.
func split(fullMethod string) (service, method string) {
	name := strings.TrimPrefix(fullMethod, "/")
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// dotted is the full method as A72 writes it: "pkg.Service.Method".
func dotted(fullMethod string) string {
	return strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", ".")
}

func code(c codes.Code) attribute.KeyValue { return keyCode.Int64(int64(c)) }
