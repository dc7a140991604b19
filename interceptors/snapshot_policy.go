package interceptors

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
)

// PolicyFields is a [Policy] that is written as JSON: names in snake case,
// durations as seconds, codes and strategies by name. What stands for nothing
// (0 of a limit, say) is left out.
type PolicyFields struct{ Policy }

// MarshalJSON implements [json.Marshaler].
func (p PolicyFields) MarshalJSON() ([]byte, error) {
	return json.Marshal(plain(reflect.ValueOf(p.Policy)))
}

// plain makes of a policy's value what is written of it.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.Seconds()
	case astracodes.Set:
		return x
	case encoding.TextMarshaler:
		return x
	}
	switch v.Kind() {
	case reflect.Struct:
		m := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			name := snake(f.Name)
			if f.Type == reflect.TypeFor[time.Duration]() {
				name += "_seconds"
			}
			if _, words := v.Field(i).Interface().(encoding.TextMarshaler); words || !v.Field(i).IsZero() || f.Type.Kind() == reflect.Bool || f.Type.Kind() == reflect.Struct {
				m[name] = plain(v.Field(i))
			}
		}
		return m
	case reflect.Map:
		m := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			m[astracodes.Name(it.Key().Interface().(codes.Code))] = plain(it.Value())
		}
		return m
	}
	return v.Interface()
}

func snake(goName string) string {
	var b strings.Builder
	for i, c := range goName {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}
