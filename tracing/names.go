package tracing

import (
	"net"
	"strconv"
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
	keyPeer        = attribute.Key("network.peer.address")
	keyPeerPort    = attribute.Key("network.peer.port")
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
	keyWhy      = attribute.Key("astra.reason") // of metrics, as the next three
	keyResult   = attribute.Key("astra.result")
	keyEvent    = attribute.Key("astra.event")
	keyBackend  = attribute.Key("astra.backend")
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

// peerOf returns the attributes of an attempt's backend; none if it is not known.
func peerOf(address string) []attribute.KeyValue {
	if address == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	number, bad := strconv.Atoi(port)
	if err != nil || bad != nil { // a socket's path, or a name of the resolver's own
		return []attribute.KeyValue{keyPeer.String(address)}
	}
	return []attribute.KeyValue{keyPeer.String(host), keyPeerPort.Int(number)}
}

func code(c codes.Code) attribute.KeyValue { return keyCode.Int64(int64(c)) }
