package config

import (
	"fmt"
	"strings"

	spell "github.com/astra-grpc/astra/internal/text"
)

// objectShape is an object with the keys that it may have: a *record.
type objectShape struct {
	fields []field
	grpc   bool // its keys are gRPC's, which may be in any case, as grpc-go reads them
}

// field is a key of an object.
type field struct {
	key      string
	ours     bool   // in an object of gRPC's, and so in one case only
	shape    shape  // nil: accepted, whatever it holds
	required string // what is wanted, if it is: "want a number, 2 or more"
	channel  bool   // only the channel can honour it
	doc      string // for the schema
	member   string // the Go field it stands for, if it does for one
}

// record is an object that was read.
type record struct {
	*node
	at     *path
	values map[string]value // by the keys of its shape
}

// value is what was read of a key or an item. ok is false if it has faults,
// which have been reported.
type value struct {
	v   any
	ok  bool
	key position // an item's own
	*node
	at *path
}

// place is where a fault of the value is shown: where a scalar is written, and
// the key of all else.
func (v value) place() position {
	if v.written() != "" {
		return v.position
	}
	return v.key
}

// has reports whether the object has the key, be it with faults.
func (r *record) has(key string) bool {
	if r == nil {
		return false
	}
	_, has := r.values[key]
	return has
}

// get returns what a key holds, if that was read without faults.
func get[T any](r *record, key string) (v T, from value, ok bool) {
	if r == nil {
		return v, from, false
	}
	from = r.values[key]
	if !from.ok {
		return v, from, false
	}
	v, ok = from.v.(T)
	return v, from, ok
}

func (s *objectShape) read(r *reader, n *node, key *path) (any, bool) {
	if !r.kindOf(n, key, object, "") {
		return nil, false
	}
	rec := &record{n, key, make(map[string]value, len(n.members))}
	first := make(map[*field]member, len(n.members))
	for _, m := range n.members {
		at := key.member(m.key)
		f := s.field(m.key)
		if f == nil {
			r.faults.addTo(ruleUnknownKey, m.position, at, "", "is unknown"+s.suggest(m.key))
			continue
		}
		if before, twice := first[f]; twice { // exactly so spelled, it would not be here
			r.faults.add(m.position, at, "", fmt.Sprintf("is written twice, first as %s in line %d: write each key once", before.key, before.line))
			continue
		}
		first[f] = m
		switch {
		case f.channel:
			r.notOurs(m, f, at)
		case f.shape != nil:
			v, ok := f.shape.read(r, m.value, at)
			rec.values[f.key] = value{v, ok, m.position, m.value, at}
		}
	}
	for _, f := range s.fields {
		if f.required != "" && !rec.has(f.key) {
			r.faults.addTo(ruleMissingKey, n.position, key.member(f.key), "", "is missing: "+f.required)
		}
	}
	return rec, true
}

func (s *objectShape) field(key string) *field {
	for i := range s.fields {
		f := &s.fields[i]
		if f.key == key || s.grpc && !f.ours && strings.EqualFold(f.key, key) {
			return f
		}
	}
	return nil
}

// suggest says what an unknown key may have been meant to be: a key that is
// spelled nearly so, or one of the same name a level down.
func (s *objectShape) suggest(key string) string {
	var keys []string
	for _, f := range s.fields {
		keys = append(keys, f.key)
		if inner, ok := f.shape.(*objectShape); ok {
			if meant := inner.field(key); meant != nil {
				return fmt.Sprintf(": did you mean %s.%s?", f.key, meant.key)
			}
		}
	}
	return suggest(key, keys)
}

// suggest says which of some names is spelled nearly like one that is none of
// them, or else all.
func suggest(name string, names []string) string {
	if best := spell.Nearest(name, names, len(name)/3); best != "" {
		return ": did you mean " + best + "?"
	}
	return ": want one of " + strings.Join(names, ", ")
}

// warning is a fault that hinders nothing.
type warning struct {
	Fault
	channelKey string // of what is not ours
}

func (r *reader) warn(rule string, at position, key *path, value, problem string) {
	r.warnings = append(r.warnings, warning{Fault: Fault{File: r.faults.file, Line: at.line, Column: at.column, Key: key.String(), Value: value, Problem: problem, Rule: rule}})
}

// notOurs warns, once for each key, of what only the channel can honour.
func (r *reader) notOurs(m member, f *field, at *path) {
	for _, w := range r.warnings {
		if w.channelKey == f.key {
			return
		}
	}
	r.warn("channel-key", m.position, at, "", "has no effect here: only the channel can honour it; pass it to grpc.WithDefaultServiceConfig")
	r.warnings[len(r.warnings)-1].channelKey = f.key
}
