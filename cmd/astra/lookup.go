package main

import (
	"fmt"
	"strings"

	"github.com/astra-grpc/astra/config"
)

// load reads a file that must have no faults.
func load(s *streams, path string) (*config.Document, error) {
	data, name, err := read(s, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	doc, err := config.Decode(data)
	if err == nil {
		return doc, nil
	}
	for _, f := range faultsOf(err) {
		fmt.Fprintln(s.err, findingOf(name, f, true))
	}
	return nil, errFindings
}

// lookup returns the entry that holds for a method: the most specific.
func lookup(doc *config.Document, method string) (best config.Entry, ok bool) {
	for _, e := range doc.Entries() {
		if covers(e.Pattern, method) && (!ok || specificity(e.Pattern) > specificity(best.Pattern)) {
			best, ok = e, true
		}
	}
	return best, ok
}

func covers(pattern, method string) bool {
	service, isService := strings.CutSuffix(pattern, "*")
	return pattern == method || isService && strings.HasPrefix(method, service)
}

// specificity orders patterns: all methods, a service's, one.
func specificity(pattern string) int {
	switch {
	case pattern == "*":
		return 0
	case strings.HasSuffix(pattern, "/*"):
		return 1
	}
	return 2
}

// methodName returns "/pkg.Service/Method" of what may lack the slash.
func methodName(s string) (string, error) {
	name := "/" + strings.TrimPrefix(s, "/")
	if service, method, ok := strings.Cut(name[1:], "/"); !ok || service == "" || method == "" || strings.ContainsAny(name, "* ") || strings.Contains(method, "/") {
		return "", usagef("%q is no method: want pkg.Service/Method", s)
	}
	return name, nil
}
