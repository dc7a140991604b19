package interceptors

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// declaredIdempotent reports whether the method's descriptor, if the program
// has it, sets idempotency_level to NO_SIDE_EFFECTS or IDEMPOTENT.
func declaredIdempotent(method string) bool {
	service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !ok {
		return false
	}
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	if err != nil {
		return false
	}
	m, ok := d.(protoreflect.MethodDescriptor)
	if !ok {
		return false
	}
	opts, ok := m.Options().(*descriptorpb.MethodOptions)
	return ok && opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// warnUnhedged says that a policy for many methods leaves one of them out.
func (s *Suite) warnUnhedged(p *plan) {
	s.Log().Warn("astra: a policy that hedges names this method only by a wildcard, and its descriptor does not declare it"+
		" NO_SIDE_EFFECTS or IDEMPOTENT: it is neither hedged nor retried; name it exactly to hedge it",
		"method", p.endpoint.method, "target", p.endpoint.target)
}
