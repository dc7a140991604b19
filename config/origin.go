package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/astra-grpc/astra/interceptors"
)

// Entry is a policy of a document for one pattern.
type Entry struct {
	Pattern      string // "/pkg.Service/Method", "/pkg.Service/*" or "*"
	Policy       interceptors.Policy
	Line, Column int // where the pattern was written

	entry *entry
}

// Entries returns the document's policies by pattern, in its order.
func (d *Document) Entries() (all []Entry) {
	for _, e := range d.entries {
		for _, p := range e.patterns {
			at := e.named[p]
			all = append(all, Entry{p, e.policy, at.line, at.column, e})
		}
	}
	return all
}

// Lookup returns the entry that holds for a method, "/pkg.Service/Method": the
// most specific. ok is false if none does; then the default policy holds.
func (d *Document) Lookup(method string) (e Entry, ok bool) {
	service := method[:max(0, strings.LastIndexByte(method, '/'))]
	for _, pattern := range []string{method, service + "/*", everyMethod} {
		for _, e := range d.Entries() {
			if e.Pattern == pattern {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// Origin is where the value of a policy's field comes from.
type Origin struct {
	Key          string // as the document has it: "methodConfig[0].retryPolicy.maxAttempts"
	Line, Column int
}

// String returns "line 7, methodConfig[0].timeout".
func (o Origin) String() string { return fmt.Sprintf("line %d, %s", o.Line, o.Key) }

// Origin returns where the document sets a field of the policy, by its path:
// "Retry.MaxAttempts". ok is false if it does not: then the field has its default.
func (e Entry) Origin(field string) (o Origin, ok bool) {
	from, ok := e.entry.origins[field]
	if !ok || from.at == nil {
		return Origin{}, false
	}
	at := from.place()
	return Origin{from.at.String(), at.line, at.column}, true
}

// Fields returns the paths of all fields of a policy, in their order:
// "Retry.MaxAttempts", "Retry.Backoff.Base", …
func Fields() []string { return fieldsOf(reflect.TypeFor[interceptors.Policy](), "") }

func fieldsOf(t reflect.Type, prefix string) (all []string) {
	for i := range t.NumField() {
		f := t.Field(i)
		switch {
		case !f.IsExported():
		case f.Type.Kind() == reflect.Struct:
			all = append(all, fieldsOf(f.Type, prefix+f.Name+".")...)
		default:
			all = append(all, prefix+f.Name)
		}
	}
	return all
}
