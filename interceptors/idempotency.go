package interceptors

import (
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
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
