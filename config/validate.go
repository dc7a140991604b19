package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/astra-grpc/astra/interceptors"
)

// validate reports the policy's own faults and warnings, in the words of the
// document: its keys, and its values as they were written.
func (e *entry) validate() {
	err := e.policy.Validate()
	for _, f := range unjoin(err) {
		var fault *interceptors.FieldError
		if errors.As(f, &fault) && !e.consequence(fault) {
			at, key, value, problem := e.inDocument(fault)
			e.faults.add(at, key, value, problem)
		}
	}
	if err == nil && len(e.broken) == 0 {
		for _, w := range e.policy.Warnings(e.patterns...) {
			at, key, value, problem := e.inDocument(&w)
			e.warn(w.Rule, at, key, value, problem)
		}
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

// consequence reports whether a fault is of a field whose value could not be
// read, or depends on one: then it is about a default that the document does not
// want.
func (e *entry) consequence(f *interceptors.FieldError) bool {
	broken := func(path string) bool { return slices.Contains(e.broken, path) }
	return broken(f.Field) || slices.ContainsFunc(f.Depends, broken)
}

// inDocument returns where a fault of a policy's field stands in the document.
// The zero that stands for a default is Go's, so it is not among what is
// wanted.
func (e *entry) inDocument(f *interceptors.FieldError) (at position, key *path, value, problem string) {
	f = f.Naming(e.keyNow)
	problem = f.Problem
	if f.Want != "" {
		problem += ": want " + f.Want
	}
	from, rest := e.origin(f.Field)
	if len(rest) == 0 {
		return from.place(), from.at, from.written(), problem
	}
	key = from.at
	for _, name := range rest {
		key = key.member(keyOf(name))
	}
	if held := f.Held(); held != "" {
		problem = held + " " + problem
	}
	return from.key, key, "", "left out: " + problem
}

// keyNow returns the key by which the document sets a field, or could.
func (e *entry) keyNow(field string) string {
	if from, ok := e.origins[field]; ok {
		return from.at.key
	}
	return keyOf(field[strings.LastIndexByte(field, '.')+1:])
}

// origin returns what the document says of a field or, if nothing, of what it
// is part of, and the names that lead from that to the field.
func (e *entry) origin(field string) (from value, rest []string) {
	for {
		if from, ok := e.origins[field]; ok {
			return from, rest
		}
		i := strings.LastIndexByte(field, '.')
		rest = slices.Insert(rest, 0, field[i+1:])
		if i >= 0 {
			field = field[:i]
			continue
		}
		if own, ok := e.origins["astra"]; ok {
			return own, rest
		}
		return e.origins[""], slices.Insert(rest, 0, "astra")
	}
}
