package config

import (
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/astra-grpc/astra/interceptors"
)

// balancingPath leads to the fields of [interceptors.Balancing], which stand
// beside policies.
const balancingPath = "Balancing."

// choices are the strings that a field may hold.
var choices = map[string][]string{balancingPath + "Policy": {"round_robin", "p2c"}}

var balancingShape = structShape(reflect.TypeFor[interceptors.Balancing](), balancingPath)

// choice is a string among a few.
type choice struct{ names []string }

func (s choice) read(r *reader, n *node, key *path) (any, bool) {
	want := strings.Join(s.names, " or ")
	if !r.kindOf(n, key, text, ": "+want) {
		return nil, false
	}
	if !slices.Contains(s.names, n.text) {
		r.faults.of(n, key, "is unknown: want %s", want)
		return nil, false
	}
	return n.text, true
}

// balancing reads how load is balanced; nil: the document does not say.
func (r *reader) balancing(doc *record) *interceptors.Balancing {
	rec, from, ok := get[*record](doc, "balancing")
	if !ok {
		return nil
	}
	b := structOf(reflect.TypeFor[interceptors.Balancing](), balancingShape, rec).Interface().(interceptors.Balancing)
	for _, err := range unjoin(b.Validate()) {
		var f *interceptors.FieldError
		if errors.As(err, &f) {
			r.balancingFault(rec, from, f.Naming(keyOfField))
		}
	}
	return &b
}

// balancingFault reports a fault of a field where that stands, unless a value
// that it is about could not be read.
func (r *reader) balancingFault(rec *record, from value, f *interceptors.FieldError) {
	for _, path := range f.Depends {
		if v, _ := rec.find(path); v.at != nil && !v.ok {
			return
		}
	}
	problem := f.Problem
	if f.Want != "" {
		problem += ": want " + f.Want
	}
	v, key := rec.find(f.Field)
	switch {
	case v.at != nil && v.ok:
		r.faults.add(v.place(), v.at, v.written(), problem)
	case v.at == nil:
		if held := f.Held(); held != "" {
			problem = held + " " + problem
		}
		r.faults.add(from.key, key, "", "left out: "+problem)
	}
}

// find returns what stands at the path of a Go field, and its key; a zero value
// if nothing does.
func (r *record) find(fieldPath string) (v value, key *path) {
	key = r.at
	rec := r
	for name := range strings.SplitSeq(fieldPath, ".") {
		key = key.member(keyOf(name))
		v = value{}
		if rec != nil {
			v = rec.values[keyOf(name)]
		}
		rec, _ = v.v.(*record)
	}
	return v, key
}

func keyOfField(path string) string { return keyOf(path[strings.LastIndexByte(path, '.')+1:]) }
