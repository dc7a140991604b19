package config_test

import (
	"iter"
	"maps"
	"reflect"
	"slices"
)

// sorted yields a map in the order of its keys.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}

// fields calls f with every field of a policy that is no struct itself.
func fields(v reflect.Value, path string, f func(path string, v reflect.Value)) {
	for i := range v.NumField() {
		field, name := v.Field(i), path+v.Type().Field(i).Name
		if field.Kind() == reflect.Struct {
			fields(field, name+".", f)
		} else {
			f(name, field)
		}
	}
}
