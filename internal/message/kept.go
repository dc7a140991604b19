package message

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Kept is a message that was sent, as it was then. It holds a reference to its
// encoding, if it has one.
type Kept struct {
	form    form
	what    any
	encoded mem.BufferSlice
	size    int
}

type form uint8

const (
	// encodedProto: what is the protoreflect.MessageType. grpc-go's own codec
	// decodes what it has encoded.
	encodedProto form = iota + 1
	// callers: what is the caller's own message. Nothing says that another codec
	// can decode what it encodes. If it cannot, this is what is sent again: it
	// must not be changed once it is sent, says grpc-go, and its encoding is
	// kept in any case.
	callers
	// copied: what is a copy of ours, since the message itself did not reach the
	// codec: an interceptor beneath made something else of it.
	copied
)

// Keep keeps a message that was sent, whose encoding, if own, is the one given;
// the reference to that is Keep's from then on. ok is false if the message
// cannot be kept as it was.
func Keep(m any, base encoding.CodecV2, encoded mem.BufferSlice, own bool) (k Kept, ok bool) {
	if own {
		k = Kept{form: callers, what: m, encoded: encoded, size: encoded.Len()}
		if p, is := m.(proto.Message); is && grpcs(base) {
			if t := p.ProtoReflect().Type(); reflect.TypeOf(t.Zero().Interface()) == reflect.TypeOf(m) {
				k.form, k.what = encodedProto, t
			}
		}
		return k, true
	}
	switch m := m.(type) {
	case proto.Message:
		like := proto.Clone(m)
		return Kept{form: copied, what: like, size: proto.Size(m)}, reflect.TypeOf(like) == reflect.TypeOf(m)
	case []byte:
		return Kept{form: copied, what: bytes.Clone(m), size: len(m)}, true
	case string:
		return Kept{form: copied, what: m, size: len(m)}, true
	}
	return Kept{}, false
}

// grpcs reports whether a codec is grpc-go's own, whatever is registered in its
// place.
func grpcs(base encoding.CodecV2) bool {
	t := reflect.TypeOf(base)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().PkgPath() == "google.golang.org/grpc/encoding/proto"
}

// Size returns the size of what is kept.
func (k *Kept) Size() int { return k.size }

// Empty reports whether nothing is kept.
func (k *Kept) Empty() bool { return k.form == 0 }

// Ref adds a reference to the encoding.
func (k *Kept) Ref() { k.encoded.Ref() }

// Free gives a reference back.
func (k *Kept) Free() { k.encoded.Free() }

// Send sends the message again, through c. An error that is no io.EOF is the
// message's.
func (k *Kept) Send(c *Tee, send func(any) error) error {
	m, err := k.Copy(c.Base)
	switch {
	case k.form == copied:
		return send(m)
	case err != nil && k.form == encodedProto: // never, as grpc-go's codec goes
		return status.Errorf(codes.Internal, "astra: replaying a message failed: %v", err)
	case err != nil:
		m = k.what
	}
	return c.Resend(m, k.encoded, send)
}

// Copy returns a message equal to the one kept, and nobody else's. The error
// says why there can be none.
func (k *Kept) Copy(base encoding.CodecV2) (any, error) {
	switch k.form {
	case encodedProto:
		m := k.what.(protoreflect.MessageType).New().Interface()
		return m, base.Unmarshal(k.encoded, m)
	case callers:
		if b, ok := k.what.([]byte); ok {
			return bytes.Clone(b), nil
		}
		return checked(k.what, k.encoded, base)
	}
	switch m := k.what.(type) {
	case proto.Message:
		return proto.Clone(m), nil
	case []byte:
		return bytes.Clone(m), nil
	}
	return k.what, nil
}

// checked is decoded, and no error only if what has been decoded is encoded as
// before: a type may mean nothing without what was never encoded.
func checked(m any, data mem.BufferSlice, base encoding.CodecV2) (any, error) {
	like, err := decoded(m, data, base)
	if err != nil {
		return nil, err
	}
	again, err := encoded(like, base)
	if err != nil {
		return nil, err
	}
	defer again.Free()
	if !bytes.Equal(again.Materialize(), data.Materialize()) {
		return nil, errors.New("its decoded copy encodes differently")
	}
	return like, nil
}

// decoded decodes a message of m's type. A codec that cannot may say so with a
// panic.
func decoded(m any, data mem.BufferSlice, base encoding.CodecV2) (like any, err error) {
	t := reflect.TypeOf(m)
	switch {
	case base == nil:
		return nil, errors.New("the call has no codec")
	case t.Kind() != reflect.Pointer:
		return nil, errors.New("not a pointer")
	}
	if _, ok := m.(*grpc.PreparedMsg); ok {
		return m, nil
	}
	defer recovered(&err)
	like = reflect.New(t.Elem()).Interface()
	if p, ok := m.(proto.Message); ok { // whose type may be known to it alone
		like = p.ProtoReflect().Type().New().Interface()
	}
	return like, base.Unmarshal(data, like)
}

// recovered makes an error of a panic.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("its codec panicked: %v", p)
	}
}
