package interceptors

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/astra-grpc/astra/internal/text"
)

// describe reports whether the program has the method's descriptor, and whether
// that sets idempotency_level to NO_SIDE_EFFECTS or IDEMPOTENT.
func describe(method string) (known, idempotent bool) {
	service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !ok {
		return false, false
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return false, false
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return false, false
	}
	opts, ok := m.Options().(*descriptorpb.MethodOptions)
	return true, ok && opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// maxUnhedged bounds the methods that are warned of: a proxy's clients may make
// up names without end.
const maxUnhedged = 100

// warnUnhedged says that a policy for many methods leaves one of them out.
func (r *registry) warnUnhedged(p *plan) {
	n := r.unhedged.Add(1)
	if n > maxUnhedged {
		return
	}
	r.Log().Warn("astra: a policy that hedges names this method only by a wildcard, and its descriptor does not declare it"+
		" NO_SIDE_EFFECTS or IDEMPOTENT: it is neither hedged nor retried; name it exactly to hedge it",
		"method", text.Name(p.method), "target", text.Name(p.target))
	if n == maxUnhedged {
		r.Log().Warn("astra: many methods are not hedged: further ones are not named until the next Reload", "named", n)
	}
}
