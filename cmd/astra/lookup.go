package main

import (
	"fmt"
	"path"
	"slices"
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
func lookup(doc *config.Document, method string) (config.Entry, bool) {
	entries := doc.Entries()
	for _, pattern := range []string{method, path.Dir(method) + "/*", "*"} {
		if i := slices.IndexFunc(entries, func(e config.Entry) bool { return e.Pattern == pattern }); i >= 0 {
			return entries[i], true
		}
	}
	return config.Entry{}, false
}

// methodName returns "/pkg.Service/Method" of what may lack the slash.
func methodName(s string) (string, error) {
	name := "/" + strings.TrimPrefix(s, "/")
	if service, method, ok := strings.Cut(name[1:], "/"); !ok || service == "" || method == "" || strings.ContainsAny(name, "* ") || strings.Contains(method, "/") {
		return "", usagef("invalid method %q: want pkg.Service/Method", s)
	}
	return name, nil
}
