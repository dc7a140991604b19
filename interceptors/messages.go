package interceptors

import (
	"bytes"
	"fmt"
	"reflect"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Attempts that run side by side share no message, and those that may outlive
// their call none of the caller's: they have copies of the request and replies
// of their own, of the caller's types, since interceptors beneath look at them
// and may change them.

// copyRequest returns an equal request that is nobody else's. Any message can
// be copied by the call's codec; a proto.Message is copied faster.
func copyRequest(req any, opts []grpc.CallOption) (any, error) {
	switch m := req.(type) {
	case nil, string, *grpc.PreparedMsg: // never changed
		return req, nil
	case []byte:
		return bytes.Clone(m), nil
	case proto.Message:
		like := proto.Clone(m)
		if reflect.TypeOf(like) != reflect.TypeOf(req) {
			return nil, notCopied(req, "it embeds one that can")
		}
		return like, nil
	}
	if reflect.TypeOf(req).Kind() != reflect.Pointer {
		return nil, notCopied(req, "it is no pointer")
	}
	base, _ := codecOf(opts)
	if base == nil {
		return nil, notCopied(req, "the call has no codec")
	}
	data, err := base.Marshal(req)
	if err != nil {
		return nil, notCopied(req, err)
	}
	defer data.Free()
	like := reflect.New(reflect.TypeOf(req).Elem()).Interface()
	if err := base.Unmarshal(data, like); err != nil {
		return nil, notCopied(req, err)
	}
	return like, nil
}

// replyType makes replies of the caller's type, without looking at the caller's
// own again.
type replyType struct {
	message protoreflect.MessageType // nil: no proto.Message
	other   reflect.Type             // nil: no reply
}

func replyTypeOf(reply any) (t replyType, err error) {
	switch m := reply.(type) {
	case nil:
		return t, nil
	case proto.Message:
		t.message = m.ProtoReflect().Type()
		if reflect.TypeOf(t.message.Zero().Interface()) != reflect.TypeOf(reply) {
			return t, notCopied(reply, "it embeds one that can")
		}
		return t, nil
	}
	if t.other = reflect.TypeOf(reply); t.other.Kind() != reflect.Pointer {
		return t, notCopied(reply, "it is no pointer")
	}
	return t, nil
}

// fresh returns an empty reply.
func (t replyType) fresh() any {
	switch {
	case t.message != nil:
		return t.message.New().Interface()
	case t.other != nil:
		return reflect.New(t.other.Elem()).Interface()
	}
	return nil
}

// original is what a call was given, as it was: a request that nobody changes,
// to be copied.
type original struct {
	request any
	reply   replyType
}

func originalOf(req, reply any, opts []grpc.CallOption) (o original, err error) {
	if o.reply, err = replyTypeOf(reply); err != nil {
		return o, err
	}
	o.request, err = copyRequest(req, opts)
	return o, err
}

// handOver moves what an attempt was answered into the caller's reply. The
// attempt's is not used again, so what it refers to need not be copied.
func handOver(to, from any) {
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
		"astra: hedging needs a message of its own for each attempt, and %T cannot be copied: %v", m, why))
}
