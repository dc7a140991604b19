package main

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/text"
)

// descriptors are the methods of a FileDescriptorSet.
type descriptors struct {
	methods  map[string]method // by full name, "/pkg.Service/Method"
	services map[string][]string
	order    []string // of methods, as declared
}

type method struct {
	idempotent, streams bool
}

func readDescriptors(path string) (*descriptors, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%s is not a FileDescriptorSet: %w", path, err)
	}
	d := &descriptors{methods: map[string]method{}, services: map[string][]string{}}
	for _, file := range set.GetFile() {
		for _, s := range file.GetService() {
			service := strings.TrimPrefix(file.GetPackage()+"."+s.GetName(), ".")
			for _, m := range s.GetMethod() {
				full := "/" + service + "/" + m.GetName()
				d.methods[full] = method{
					idempotent: m.GetOptions().GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN,
					streams:    m.GetClientStreaming() || m.GetServerStreaming(),
				}
				d.services[service] = append(d.services[service], full)
				d.order = append(d.order, full)
			}
		}
	}
	if len(d.methods) == 0 {
		return nil, fmt.Errorf("%s declares no method", path)
	}
	return d, nil
}

// check holds a document against the descriptors.
func (d *descriptors) check(doc *config.Document) (all []finding) {
	entries := doc.Entries()
	for _, e := range entries {
		if !d.knows(e.Pattern) {
			all = append(all, at(e.Origin, "unknown-method", "%s: the descriptors have no such %s%s", e.Pattern, kindOf(e.Pattern), d.suggest(e.Pattern)))
		}
	}
	found := map[string][]string{} // methods by pattern and rule
	for _, m := range d.order {
		e, ok := lookup(doc, m)
		if !ok {
			all = append(all, finding{Line: 1, Column: 1, Level: "warning", Rule: "uncovered-method", Text: m + " is named by no entry, so it has the default policy"})
			continue
		}
		for _, r := range d.risks(m, e) {
			found[e.Pattern+" "+r] = append(found[e.Pattern+" "+r], m)
		}
	}
	for _, e := range entries {
		for _, r := range []string{"repeat-not-idempotent", "hedge-write", "timeout-on-stream"} {
			if methods := found[e.Pattern+" "+r]; len(methods) > 0 {
				all = append(all, riskOf(e, r, methods))
			}
		}
	}
	return all
}

func at(o config.Origin, rule, format string, args ...any) finding {
	return finding{Line: o.Line, Column: o.Column, Level: "warning", Rule: rule, Key: o.Key, Text: fmt.Sprintf(format, args...)}
}

// risks are the rules that a method's policy breaks.
func (d *descriptors) risks(name string, e config.Entry) (all []string) {
	m, p := d.methods[name], e.Policy
	if !m.idempotent {
		// Repeats of what is never retried, or known not to have run, are none.
		if asks(p.Retry) && p.Hedge.MaxAttempts <= 1 {
			all = append(all, "repeat-not-idempotent")
		}
		if p.Hedge.MaxAttempts > 1 && e.Pattern == name {
			all = append(all, "hedge-write")
		}
	}
	if m.streams && p.Timeout > 0 {
		all = append(all, "timeout-on-stream")
	}
	return all
}

// asks reports whether requests that may have run are repeated.
func asks(r interceptors.Retry) bool {
	if r.MaxAttempts == 1 {
		return false
	}
	return r.Repeat == interceptors.RepeatAny || r.Repeat == interceptors.RepeatAuto && (r.MaxAttempts != 0 || r.Codes != 0 || r.Backoff != (interceptors.Retry{}).Backoff)
}

func riskOf(e config.Entry, rule string, methods []string) finding {
	field, what := "Retry", "repeats requests that may have run, of methods that are not declared idempotent"
	switch rule {
	case "hedge-write":
		field, what = "Hedge", "runs attempts side by side of a method that is not declared idempotent"
	case "timeout-on-stream":
		field, what = "Timeout", "ends healthy streams: want attemptTimeout, which stops at the first answer"
	}
	o, ok := e.Of(field)
	if !ok {
		o = e.Origin
	}
	return at(o, rule, "%s %s: %s", o.Key, what, text.List(methods, 3))
}

func kindOf(pattern string) string {
	if strings.HasSuffix(pattern, "/*") {
		return "service"
	}
	return "method"
}

// knows reports whether a pattern's name is among the descriptors.
func (d *descriptors) knows(pattern string) (ok bool) {
	if pattern == "*" {
		return true
	}
	if service, isService := strings.CutSuffix(strings.TrimPrefix(pattern, "/"), "/*"); isService {
		_, ok = d.services[service]
		return ok
	}
	_, ok = d.methods[pattern]
	return ok
}

// suggest returns the name that is meant, if one is near.
func (d *descriptors) suggest(pattern string) string {
	candidates := slices.Clone(d.order)
	for s := range d.services {
		candidates = append(candidates, "/"+s+"/*")
	}
	slices.Sort(candidates)
	if best := text.Nearest(pattern, candidates, 3); best != "" {
		return ": did you mean " + best + "?"
	}
	return ""
}
