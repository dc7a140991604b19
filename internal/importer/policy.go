package importer

import (
	"fmt"
	"strings"
)

// retry is how a source retries, on its way into an entry.
type retry struct {
	attempts       int // the first included; 0: not said
	codes          []string
	base, max      string // durations
	attemptTimeout string
	timeout        string
}

// pairs returns the entry's. A source whose retries have no schedule of their own
// has the default one here.
func (t retry) pairs() (all, own []pair) {
	set(&all, "timeout", t.timeout)
	set(&own, "attemptTimeout", t.attemptTimeout)
	var retried []pair
	set(&retried, "maxAttempts", t.attempts)
	set(&retried, "codes", t.codes)
	var backoff []pair
	set(&backoff, "base", t.base)
	set(&backoff, "max", t.max)
	set(&retried, "backoff", backoff)
	if t.attempts > 1 || t.attempts == 0 && len(t.codes) > 0 {
		own = append(own, pair{"retry", retried})
	}
	return all, own
}

// grpcCodes are conditions by which Envoy, and so Istio and Linkerd, retry gRPC.
var grpcCodes = map[string]string{
	"cancelled": "CANCELLED", "deadline-exceeded": "DEADLINE_EXCEEDED", "internal": "INTERNAL",
	"resource-exhausted": "RESOURCE_EXHAUSTED", "unavailable": "UNAVAILABLE",
}

// transport are conditions of HTTP and of connections that a gRPC client sees as
// UNAVAILABLE.
var transport = map[string]bool{
	"5xx": true, "gateway-error": true, "reset": true, "reset-before-request": true, "connect-failure": true, "refused-stream": true,
	"retriable-4xx": false, "http3-post-connect-failure": true, "503": true, "502": true, "504": true,
}

// codesOf returns the codes of a list of conditions, with commas between.
func (r *reader) codesOf(at, conditions string) (codes []string) {
	seen := map[string]bool{}
	add := func(c string) {
		if !seen[c] {
			seen[c] = true
			codes = append(codes, c)
		}
	}
	for _, c := range strings.FieldsFunc(conditions, func(r rune) bool { return r == ',' || r == ' ' }) {
		switch {
		case grpcCodes[c] != "":
			add(grpcCodes[c])
		case transport[c]:
			add("UNAVAILABLE")
			r.note(at, fmt.Sprintf("%s is of HTTP: to a gRPC client it is UNAVAILABLE", c))
		default:
			r.note(at, fmt.Sprintf("%s has no counterpart, and is left out", c))
		}
	}
	return codes
}

// nameOf returns the service and method of a path, "/pkg.Service/Method", or of a
// prefix of one.
func (r *reader) nameOf(at, path string, prefix bool) ([2]string, bool) {
	service, method, more := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "" || path == "/":
		return [2]string{}, true
	case !strings.Contains(service, ".") && !more:
		r.note(at, fmt.Sprintf("%q is neither a method nor a service of gRPC: the entry is left out", path))
		return [2]string{}, false
	case prefix && method != "":
		r.note(at, fmt.Sprintf("%q is a prefix of methods: taken as the method of that name", path))
	case prefix && !more:
		r.note(at, fmt.Sprintf("%q is a prefix of services: taken as the service of that name", path))
	}
	return [2]string{service, method}, true
}

// add adds an entry, unless it is for nobody or says nothing.
func (r *reader) add(names [][2]string, all, own []pair) {
	if len(names) == 0 || len(all)+len(own) == 0 {
		return
	}
	if len(own) > 0 {
		all = append(all, pair{"astra", own})
	}
	r.entries = append(r.entries, &entry{names, all})
}
