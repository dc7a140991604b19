package tracing

import (
	"context"
	"maps"
	"slices"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/metadata"
)

// carrier lets a propagator write to metadata. In gRPC, values of keys that end
// in "-bin" are bytes; propagators that have such keys know.
type carrier metadata.MD

func (c carrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

func (c carrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

func (c carrier) Keys() []string { return slices.Collect(maps.Keys(c)) }

// inject writes ctx's span, and whatever else the propagator knows, to the
// metadata that go out, in place of what another span has left there.
func inject(ctx context.Context, p propagation.TextMapPropagator) context.Context {
	md, ok := metadata.FromOutgoingContext(ctx) // a copy
	if !ok {
		md = metadata.MD{}
	}
	p.Inject(ctx, carrier(md))
	return metadata.NewOutgoingContext(ctx, md)
}
