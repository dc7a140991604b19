package config

import (
	"encoding"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
)

// policyShape is the shape of [interceptors.Policy]: a key for each field, by
// the field's name. A field that is added there has its key here.
var policyShape = sync.OnceValue(func() *objectShape {
	return structShape(reflect.TypeFor[interceptors.Policy](), "")
})

// emptySets are the fields whose empty list says something: no code at all.
// Elsewhere it would be taken for the default.
var emptySets = map[string]bool{"Hedge.NonFatal": true}

func structShape(t reflect.Type, prefix string) *objectShape {
	s := &objectShape{}
	for i := range t.NumField() {
		f := t.Field(i)
		s.fields = append(s.fields, field{
			key:    keyOf(f.Name),
			shape:  fieldShape(f.Type, prefix+f.Name),
			member: f.Name,
		})
	}
	return s
}

// fieldShape returns the shape of a field's type. Ranges are not its business,
// but Validate's.
func fieldShape(t reflect.Type, fieldPath string) shape {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return duration{own: true}
	case t == reflect.TypeFor[astracodes.Set]():
		empty := emptySets[fieldPath]
		from := codes.Canceled
		if empty {
			from = codes.OK
		}
		return codeSet{from: from, empty: empty}
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return word{t}
	}
	switch t.Kind() {
	case reflect.Struct:
		return structShape(t, fieldPath+".")
	case reflect.Map:
		if t.Key() == reflect.TypeFor[codes.Code]() {
			return perCode{fieldShape(t.Elem(), fieldPath+"[]")}
		}
	case reflect.String:
		if names := choices[fieldPath]; names != nil {
			return choice{names}
		}
	case reflect.Bool:
		return boolFlag{}
	case reflect.Int, reflect.Int64, reflect.Int32:
		return integer{own: true}
	case reflect.Float64:
		return real{own: true}
	}
	return nil // a test sees that no field has none
}

// keyOf is a Go name in lower camel case: MaxAttempts maxAttempts, TTL ttl,
// IDLength idLength.
func keyOf(goName string) string {
	runes := []rune(goName)
	for i, c := range runes {
		if i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1]) || unicode.IsLower(c) {
			break
		}
		runes[i] = unicode.ToLower(c)
	}
	return string(runes)
}

// fieldAt returns a field of a policy by its path; the zero Value if there is
// none.
func fieldAt(p *interceptors.Policy, fieldPath string) reflect.Value {
	return fieldIn(reflect.ValueOf(p).Elem(), fieldPath)
}

// fieldIn is fieldAt of any struct.
func fieldIn(v reflect.Value, fieldPath string) reflect.Value {
	for name := range strings.SplitSeq(fieldPath, ".") {
		if v.Kind() != reflect.Struct {
			return reflect.Value{}
		}
		v = v.FieldByName(name)
	}
	return v
}

// structOf makes a value of a struct type from what was read of it.
func structOf(t reflect.Type, s *objectShape, rec *record) reflect.Value {
	v := reflect.New(t).Elem()
	for _, f := range s.fields {
		from, has := rec.values[f.key]
		if !has || !from.ok {
			continue
		}
		target := v.FieldByName(f.member)
		if inner, ok := from.v.(*record); ok {
			target.Set(structOf(target.Type(), f.shape.(*objectShape), inner))
		} else {
			target.Set(reflect.ValueOf(from.v).Convert(target.Type()))
		}
	}
	return v
}
