package lint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
)

// check holds a file against the services that there are.
func (d Descriptors) check(file string, doc *config.Document) (all []Finding) {
	covered := map[string]bool{}
	for _, e := range doc.Entries() {
		for _, f := range d.entry(e, covered) {
			f.File, f.Line, f.Column = file, e.Line, e.Column
			all = append(all, f)
		}
	}
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(d)) {
		methods := d[name].Methods()
		for i := range methods.Len() {
			if full := "/" + name + "/" + string(methods.Get(i).Name()); !covered[full] {
				missing = append(missing, full)
			}
		}
	}
	if len(missing) > 0 {
		all = append(all, Finding{Rule: "uncovered-method", File: file,
			Message: fmt.Sprintf("no entry is for %s: the default policy holds, which repeats nothing that may have run", some(missing))})
	}
	return all
}

// entry looks at the policy of one pattern, and notes whom it is for.
func (d Descriptors) entry(e config.Entry, covered map[string]bool) (all []Finding) {
	if e.Pattern == "*" {
		for name, s := range d {
			cover(covered, name, s, "*")
		}
		return nil
	}
	service, method := split(e.Pattern)
	s, ok := d[service]
	if !ok {
		return []Finding{{Rule: "unknown-method", Message: fmt.Sprintf("there is no service %s%s", service, near(service, slices.Collect(maps.Keys(d))))}}
	}
	cover(covered, service, s, method)
	var names, undeclared, streaming []string
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		names = append(names, string(m.Name()))
		if method != "*" && method != string(m.Name()) {
			continue
		}
		if !idempotent(m) {
			undeclared = append(undeclared, string(m.Name()))
		}
		if m.IsStreamingClient() || m.IsStreamingServer() {
			streaming = append(streaming, string(m.Name()))
		}
	}
	if method != "*" && !slices.Contains(names, method) {
		return []Finding{{Rule: "unknown-method", Message: fmt.Sprintf("%s has no method %s%s", service, method, near(method, names))}}
	}
	p := e.Policy
	if len(undeclared) > 0 && method != "*" && p.Hedge.MaxAttempts > 1 { // by a wildcard only what is declared is hedged
		all = append(all, Finding{Rule: "undeclared-hedge", Message: fmt.Sprintf("%s is hedged, and not declared idempotent: it is done several times at once", method)})
	}
	if len(undeclared) > 0 && repeatsAll(p) {
		all = append(all, Finding{Rule: "undeclared-repeat", Message: fmt.Sprintf("requests that may have run are repeated, and not declared idempotent: %s; "+
			"declare idempotency_level, or write repeat: answered", some(undeclared))})
	}
	if len(streaming) > 0 && p.Timeout > 0 {
		all = append(all, Finding{Rule: "stream-timeout", Message: fmt.Sprintf("timeout %v ends streams of %s, however well they are: use attemptTimeout, which an answer stops", p.Timeout, some(streaming))})
	}
	return all
}

// repeatsAll reports whether requests are repeated that may have run.
func repeatsAll(p interceptors.Policy) bool {
	r := p.Retry
	if r.MaxAttempts == 1 || p.Hedge.MaxAttempts > 1 {
		return false
	}
	return r.Repeat == interceptors.RepeatAny || r.Repeat == interceptors.RepeatAuto
}

func cover(covered map[string]bool, service string, s protoreflect.ServiceDescriptor, method string) {
	for i := range s.Methods().Len() {
		if name := string(s.Methods().Get(i).Name()); method == "*" || method == name {
			covered["/"+service+"/"+name] = true
		}
	}
}

func idempotent(m protoreflect.MethodDescriptor) bool {
	o, ok := m.Options().(*descriptorpb.MethodOptions)
	return ok && o.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

// some lists names, as far as a line can.
func some(names []string) string {
	const most = 5
	if n := len(names) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}

// near returns "; did you mean …?" for a name that differs little.
func near(name string, known []string) string {
	best, least := "", 1+len(name)/3
	slices.Sort(known)
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
