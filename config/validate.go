package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/astra-grpc/astra/interceptors"
)

// validate tells the policy's own faults and warnings, in the words of the
// document: its keys, and its values as they were written.
func (e *entry) validate() {
	err := e.policy.Validate()
	for _, f := range unjoin(err) {
		var fault *interceptors.Fault
		if errors.As(f, &fault) && !e.consequence(fault) {
			at, key, value, problem := e.inDocument(fault)
			e.faults.add(at, key, value, problem)
		}
	}
	if err == nil && len(e.broken) == 0 {
		for _, w := range e.policy.Warnings() {
			at, key, value, problem := e.inDocument(&w)
			e.warn(at, key, value, problem)
		}
	}
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return nil
}

// consequence reports whether a fault speaks of a field whose value could not
// be read: then it is about a default that the document does not want.
func (e *entry) consequence(f *interceptors.Fault) bool {
	return slices.ContainsFunc(e.broken, func(field string) bool {
		return regexp.MustCompile(`\b` + field[strings.LastIndexByte(field, '.')+1:] + `\b`).MatchString(f.Problem)
	})
}

// inDocument says where a fault of a policy's field stands in the document.
func (e *entry) inDocument(f *interceptors.Fault) (at position, key *path, value, problem string) {
	from, rest := e.origin(f.Field)
	problem = e.translate(f)
	if len(rest) > 0 {
		key = from.at
		for _, name := range rest {
			key = key.member(keyOf(name))
		}
		return from.key, key, "", "left out: " + problem
	}
	// The value as it was written, in place of the problem's own spelling.
	if _, after, ok := strings.Cut(problem, " is out of range: "); ok {
		problem = "is out of range: " + after
	} else if v := fieldAt(&e.policy, f.Field); v.IsValid() {
		problem = strings.TrimPrefix(problem, fmt.Sprint(v)+" ")
	}
	return from.place(), from.at, from.written(), problem
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

var (
	standsForDefault = regexp.MustCompile(`, or 0 for .*$`)
	goName           = regexp.MustCompile(`\b[A-Z][a-z]+[A-Za-z]*\b`)
)

// translate returns a fault's problem with keys in place of the fields that it
// names, and without the zero that stands for a default in Go.
func (e *entry) translate(f *interceptors.Fault) string {
	section := f.Field[:strings.LastIndexByte(f.Field, '.')+1]
	inTable := strings.Contains(section, "[")
	return goName.ReplaceAllStringFunc(standsForDefault.ReplaceAllString(f.Problem, ""), func(word string) string {
		for _, field := range []string{section + word, word} {
			if from, ok := e.origins[field]; ok {
				return from.at.key
			} else if inTable || fieldAt(&e.policy, field).IsValid() {
				return keyOf(word)
			}
		}
		return word
	})
}
