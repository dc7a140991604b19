package message

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Attempts that run side by side share no message, and those that may outlive
// their call none of the caller's: they have copies of the request and replies
// of their own, of the caller's types, since interceptors beneath look at them
// and may change them.

// Copy returns an equal message that is nobody else's. Any message can be
// copied by the call's codec, if that decodes what it encodes; a proto.Message
// is copied faster. The error is FAILED_PRECONDITION.
func Copy(m any, opts []grpc.CallOption) (any, error) {
	switch m := m.(type) {
	case nil, string, *grpc.PreparedMsg: // never changed
		return m, nil
	case []byte:
		return bytes.Clone(m), nil
	case proto.Message:
		like := proto.Clone(m)
		if reflect.TypeOf(like) != reflect.TypeOf(m) {
			return nil, notCopied(m, "it embeds a message that can")
		}
		return like, nil
	}
	if reflect.TypeOf(m).Kind() != reflect.Pointer {
		return nil, notCopied(m, "not a pointer")
	}
	base, _ := CodecOf(opts)
	if base == nil {
		return nil, notCopied(m, "the call has no codec")
	}
	data, err := encoded(m, base)
	if err != nil {
		return nil, notCopied(m, err)
	}
	defer data.Free()
	like, err := decoded(m, data, base)
	if err != nil {
		return nil, notCopied(m, err)
	}
	return like, nil
}

func encoded(m any, base encoding.CodecV2) (data mem.BufferSlice, err error) {
	defer recovered(&err)
	return base.Marshal(m)
}

// Type makes replies of the caller's type, without looking at the caller's own
// again.
type Type struct {
	message protoreflect.MessageType // nil: no proto.Message
	other   reflect.Type             // nil: no reply
}

// TypeOf returns the type of a reply. The error is FAILED_PRECONDITION: there
// can be no other reply of its type.
func TypeOf(reply any) (t Type, err error) {
	switch m := reply.(type) {
	case nil:
		return t, nil
	case proto.Message:
		t.message = m.ProtoReflect().Type()
		if reflect.TypeOf(t.message.Zero().Interface()) != reflect.TypeOf(reply) {
			return t, notCopied(reply, "it embeds a message that can")
		}
		return t, nil
	}
	if t.other = reflect.TypeOf(reply); t.other.Kind() != reflect.Pointer {
		return t, notCopied(reply, "not a pointer")
	}
	return t, nil
}

// New returns an empty reply.
func (t Type) New() any {
	switch {
	case t.message != nil:
		return t.message.New().Interface()
	case t.other != nil:
		return reflect.New(t.other.Elem()).Interface()
	}
	return nil
}

// ReplyOf returns an empty message of the type that the method is declared to
// answer with; an Empty if the program has no such declaration.
func ReplyOf(method string) any {
	if service, name, ok := strings.Cut(strings.TrimPrefix(method, "/"), "/"); ok {
		d, _ := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
		if m, ok := d.(protoreflect.MethodDescriptor); ok {
			if t, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName()); err == nil {
				return t.New().Interface()
			}
		}
	}
	return new(emptypb.Empty)
}

// HandOver moves what an attempt was answered into the caller's reply. The
// attempt's is not used again, so what it refers to need not be copied.
func HandOver(to, from any) {
	switch m := to.(type) {
	case nil:
	case proto.Message:
		proto.Reset(m)
		dst, src := m.ProtoReflect(), from.(proto.Message).ProtoReflect()
		src.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			dst.Set(f, v)
			return true
		})
		dst.SetUnknown(src.GetUnknown())
	default:
		reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem())
	}
}

func notCopied(m, why any) error {
	return status.Error(codes.FailedPrecondition, fmt.Sprintf(
		"astra: hedging failed: message %T cannot be copied for each attempt: %v", m, why))
}
