package message

import (
	"reflect"

	"google.golang.org/protobuf/proto"
)

// Before is what a reply was before the first attempt: a codec that merges
// would add to what a failed attempt left. The zero value is that of one that
// cannot be emptied.
type Before struct {
	empty bool          // the pointee was zero
	value reflect.Value // what it was otherwise: the caller may have set it up
}

// BeforeOf notes what a reply is. Of a proto.Message there is nothing to note.
func BeforeOf(reply any) (b Before) {
	if _, ok := reply.(proto.Message); ok || reply == nil {
		return b
	}
	return beforeOf(reply)
}

func beforeOf(reply any) (b Before) {
	v := reflect.ValueOf(reply)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return b
	}
	if b.empty = v.Elem().IsZero(); !b.empty {
		b.value = reflect.New(v.Type().Elem()).Elem()
		b.value.Set(v.Elem())
	}
	return b
}

// Restore makes the reply what it was. A proto.Message is reset.
func (b Before) Restore(reply any) {
	if m, ok := reply.(proto.Message); ok {
		if v := reflect.ValueOf(m); v.Kind() != reflect.Pointer || !v.IsNil() { // a nil holds nothing, and only a success needs more
			proto.Reset(m)
		}
		return
	}
	switch {
	case b.empty:
		reflect.ValueOf(reply).Elem().SetZero()
	case b.value.IsValid():
		reflect.ValueOf(reply).Elem().Set(b.value)
	}
}
