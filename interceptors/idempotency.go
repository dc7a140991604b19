package interceptors

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// serviceNamed returns the descriptor of a service; nil: the program has none.
func serviceNamed(name string) protoreflect.ServiceDescriptor {
	d, _ := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name)) // nil with an error
	s, _ := d.(protoreflect.ServiceDescriptor)
	return s
}

// describe reports whether the program has the method's descriptor, and whether
// that declares it idempotent.
func describe(method string) (known, declared bool) {
	service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !ok {
		return false, false
	}
	s := serviceNamed(service)
	if s == nil {
		return false, false
	}
	m := s.Methods().ByName(protoreflect.Name(name))
	return m != nil, m != nil && idempotent(m)
}

// idempotent reports whether a descriptor sets idempotency_level to
// NO_SIDE_EFFECTS or IDEMPOTENT.
func idempotent(m protoreflect.MethodDescriptor) bool {
	opts, ok := m.Options().(*descriptorpb.MethodOptions)
	return ok && opts.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}
