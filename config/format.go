package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
)

// Format returns a policy as an entry of a document's methodConfig, in YAML,
// for the methods that pattern names: "/pkg.Service/Method", "/pkg.Service/*"
// or "*". After "methodConfig:", [Parse] reads it back as the same policy. It
// is meant for policies whose defaults are filled in, as
// [interceptors.Suite.Snapshot] and [interceptors.Suite.Explain] return them:
// what is zero is left out, and so are Retry of a policy that hedges, Hedge of
// one that does not, and SlowRate without SlowCall.
func Format(pattern string, p interceptors.Policy) string {
	if p.Hedge.MaxAttempts > 1 {
		p.Retry = interceptors.Retry{}
	} else {
		p.Hedge = interceptors.Hedge{}
	}
	if p.Breaker.SlowCall == 0 {
		p.Breaker.SlowRate = 0
	}
	var b strings.Builder
	fmt.Fprintf(&b, "- name: [%s]\n", nameOf(pattern))
	writeField(&b, "astra", reflect.ValueOf(p), "  ")
	return b.String()
}

func nameOf(pattern string) string {
	service, method, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	switch {
	case pattern == everyMethod:
		return "{}"
	case method == "*":
		return "{service: " + strconv.Quote(service) + "}"
	}
	return "{service: " + strconv.Quote(service) + ", method: " + strconv.Quote(method) + "}"
}

func writeField(b *strings.Builder, key string, v reflect.Value, indent string) {
	var inner []string
	members := map[string]reflect.Value{}
	switch x, perCode := v.Interface().(map[codes.Code]jitter.Backoff); {
	case perCode:
		for _, c := range slices.Sorted(maps.Keys(x)) {
			inner = append(inner, astracodes.Name(c))
			members[astracodes.Name(c)] = reflect.ValueOf(x[c])
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if name := keyOf(v.Type().Field(i).Name); !v.Field(i).IsZero() {
				inner = append(inner, name)
				members[name] = v.Field(i)
			}
		}
	default:
		fmt.Fprintf(b, "%s%s: %s\n", indent, key, scalarText(v))
		return
	}
	if len(inner) == 0 {
		fmt.Fprintf(b, "%s%s: {}\n", indent, key)
		return
	}
	fmt.Fprintf(b, "%s%s:\n", indent, key)
	for _, name := range inner {
		writeField(b, name, members[name], indent+"  ")
	}
}

func scalarText(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case float64:
		return strconv.FormatFloat(x, 'f', -1, 64)
	case astracodes.Set:
		var names []string
		for c := range x.Without(codes.OK).All() {
			names = append(names, astracodes.Name(c))
		}
		return "[" + strings.Join(names, ", ") + "]"
	case encoding.TextMarshaler:
		if text, err := x.MarshalText(); err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v.Interface())
}
