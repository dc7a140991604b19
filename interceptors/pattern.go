package interceptors

import (
	"fmt"
	"strings"
)

// A pattern names methods: one exactly, "/pkg.Service/Method"; those of a
// service, "/pkg.Service/*"; or all, "*". In a table the most specific match
// wins, whole: nothing is merged.
type patternTable[V any] map[string]V

// everyMethod is the pattern of what is given for all methods.
const everyMethod = "*"

// lookup returns what is given for a method; the zero value: nothing is.
func (t patternTable[V]) lookup(method string) V {
	for _, pattern := range patternsOf(method) {
		if v, ok := t[pattern]; ok {
			return v
		}
	}
	var none V
	return none
}

// patternsOf returns the patterns that may name a method, the most specific first.
func patternsOf(method string) []string {
	all := []string{method}
	if i := strings.LastIndexByte(method, '/'); i >= 0 {
		all = append(all, method[:i]+"/*")
	}
	return append(all, everyMethod)
}

// checkPattern returns what is wrong with a pattern, or nil.
func checkPattern(pattern string) error {
	if pattern == everyMethod {
		return nil
	}
	service, method, ok := strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	if !ok || pattern[0] != '/' || service == "" || method == "" ||
		strings.ContainsAny(service, "* \t\n") || strings.ContainsAny(method, "/ \t\n") ||
		method != "*" && strings.Contains(method, "*") {
		return fmt.Errorf(`pattern %q is invalid: want "/pkg.Service/Method", "/pkg.Service/*" or "*"`, pattern)
	}
	return nil
}
