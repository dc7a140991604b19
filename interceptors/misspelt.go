package interceptors

import (
	"log/slog"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// misspelt is a pattern that names a method which its service does not have.
type misspelt struct {
	what, pattern string
	has           []string // the service's methods
}

// misspeltIn returns the patterns of a table that name a method which the
// descriptor of its service, if the program has it, does not. Whether a whole
// service exists cannot be known: programs may call it without its descriptor.
func misspeltIn[V any](what string, t patternTable[V]) (all []misspelt) {
	for _, pattern := range slices.Sorted(maps.Keys(t)) {
		service, method, _ := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
		if method == "" || method == "*" {
			continue
		}
		s := serviceNamed(service)
		if s == nil || s.Methods().ByName(protoreflect.Name(method)) != nil {
			continue
		}
		m := misspelt{what: what, pattern: pattern}
		for i := range s.Methods().Len() {
			m.has = append(m.has, string(s.Methods().Get(i).Name()))
		}
		all = append(all, m)
	}
	return all
}

// misspellings are the patterns that have been logged.
type misspellings map[string]bool

// replace makes the patterns those that are misspelt now, and returns those that
// were not before.
func (all *misspellings) replace(now []misspelt) (unknown []misspelt) {
	before := *all
	*all = make(misspellings, len(now))
	for _, m := range now {
		(*all)[m.pattern] = true
		if !before[m.pattern] {
			unknown = append(unknown, m)
		}
	}
	return unknown
}

func warnMisspelt(log *slog.Logger, all []misspelt) {
	for _, m := range all {
		log.Warn("astra: method not found in its service's descriptor: what is given for it applies to no call",
			"what", m.what, "method", m.pattern, "has", m.has)
	}
}
