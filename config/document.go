package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/astra-grpc/astra/chaos"
	"github.com/astra-grpc/astra/interceptors"
)

// Document is a policy file without faults.
type Document struct {
	file      string // "": it was none
	entries   []*entry
	balancing *interceptors.Balancing // nil: it does not say
	warnings  []warning
	chaos     *chaos.Plan // nil: none
	chaosAt   Fault       // where it stands
}

// Parse reads a document, JSON or YAML, and returns options for
// [interceptors.New] or [interceptors.Suite.Reload]. The error joins a [*Fault]
// for everything that is wrong with it.
func Parse(data []byte) ([]interceptors.Option, error) {
	return optionsOf(decode(data, ""))
}

// optionsOf returns a document's options, or why there are none. A document
// with a chaos object is none for a program of which only options are known.
func optionsOf(d *Document, err error) ([]interceptors.Option, error) {
	if err != nil {
		return nil, err
	}
	if d.chaos != nil {
		return nil, d.errNoConsent()
	}
	return d.Options(), nil
}

// Decode is [Parse] for programs that need more than options, such as warnings.
// A chaos object, which Parse refuses, is no fault: see [Document.Chaos].
func Decode(data []byte) (*Document, error) { return decode(data, "") }

// Options returns the document's policies and balancing as options.
func (d *Document) Options() []interceptors.Option {
	var opts []interceptors.Option
	if d.balancing != nil {
		opts = append(opts, interceptors.WithBalancing(*d.balancing))
	}
	for _, e := range d.entries {
		for _, pattern := range e.patterns {
			o := interceptors.WithPolicy(e.policy)
			if pattern != everyMethod {
				o = interceptors.WithMethodPolicy(pattern, e.policy)
			}
			opts = append(opts, interceptors.WithPolicySource(d.source(e), o))
		}
	}
	return opts
}

// source is where an entry stands.
func (d *Document) source(e *entry) string {
	file := d.file
	if file == "" {
		file = "document"
	}
	return fmt.Sprintf("%s:%d", file, e.origins[""].key.line)
}

// Balancing returns the document's balancing; nil if it has none.
func (d *Document) Balancing() *interceptors.Balancing {
	if d.balancing == nil {
		return nil
	}
	return new(*d.balancing)
}

// Policies returns the document's policies by pattern: "/pkg.Service/Method",
// "/pkg.Service/*" or "*".
func (d *Document) Policies() map[string]interceptors.Policy {
	all := make(map[string]interceptors.Policy)
	for _, e := range d.entries {
		for _, pattern := range e.patterns {
			all[pattern] = e.policy
		}
	}
	return all
}

// Warnings returns what is allowed but probably not meant, in the order of the
// document: keys that only the channel can honour, each once; values that count
// as others; and the policies' own, see [interceptors.Policy.Warnings].
func (d *Document) Warnings() []Fault {
	var all []Fault
	for _, w := range d.warnings {
		all = append(all, w.Fault)
	}
	return all
}

const everyMethod = "*"

func decode(data []byte, file string) (*Document, error) {
	r := &reader{faults: &faults{file: file}}
	d := &Document{file: file}
	if root := tree(data, r.faults); root != nil {
		if v, ok := document.read(r, root, nil); ok {
			d.entries = r.entries(v.(*record))
			d.balancing = r.balancing(v.(*record))
			var at value
			d.chaos, at = r.chaos(v.(*record))
			d.chaosAt = Fault{File: file, Line: at.key.line, Column: at.key.column, Key: at.at.String()}
		}
	}
	if err := r.faults.err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(r.warnings, func(a, b warning) int { return inOrder(&a.Fault, &b.Fault) })
	d.warnings = r.warnings
	return d, nil
}

// entries reads the policies and whom they are for.
func (r *reader) entries(doc *record) (all []*entry) {
	throttle, throttleAt, _ := get[*record](doc, "retryThrottling")
	if throttle != nil {
		r.ratio(throttle)
	}
	list, _, _ := get[[]value](doc, "methodConfig")
	named := map[string]position{}
	for _, item := range list {
		rec, ok := item.v.(*record)
		if !ok {
			continue
		}
		e := r.entry(rec, throttle)
		e.patterns = r.patterns(rec, named)
		all = append(all, e)
	}
	// In gRPC all methods of a server share the throttle, and methods share a
	// budget if their policies agree on it: so those that no entry names have it,
	// too.
	if _, ok := named[everyMethod]; !ok && throttle != nil {
		e := &entry{reader: r, origins: map[string]value{"": throttleAt}, patterns: []string{everyMethod}}
		e.throttle(throttle)
		e.validate()
		all = append(all, e)
	}
	return all
}

// ratio warns of what is not taken of a tokenRatio as it is written.
func (r *reader) ratio(throttle *record) {
	ratio, from, ok := get[float64](throttle, "tokenRatio")
	switch cutDown := cut(ratio); {
	case !ok:
	case cutDown > maxRatio:
		r.warn("cut-value", from.place(), from.at, from.written(), fmt.Sprintf("is reduced to %d, the maximum", maxRatio))
	case cutDown != ratio:
		r.warn("cut-value", from.place(), from.at, from.written(), fmt.Sprintf("is cut to %v: gRFC A6 keeps three decimals", cutDown))
	}
}

// patterns returns whom an entry is for. named are those of the entries before.
func (r *reader) patterns(rec *record, named map[string]position) (all []string) {
	names, from, ok := get[[]value](rec, "name")
	if !rec.has("name") || ok && len(names) == 0 {
		at, key := rec.position, rec.at
		if from.node != nil {
			at, key = from.key, from.at
		}
		r.warn("unnamed-entry", at, key, "", "has no name, so it applies to no method: add a name")
	}
	for _, each := range names {
		n, ok := each.v.(*record)
		if !ok || !wellNamed(n) {
			continue
		}
		service, _, _ := get[string](n, "service")
		method, from, _ := get[string](n, "method")
		pattern := everyMethod
		switch {
		case service == "" && method != "":
			r.faults.of(from.node, from.at, "has no service: add the key service beside it")
			continue
		case method != "":
			pattern = "/" + service + "/" + method
		case service != "":
			pattern = "/" + service + "/*"
		}
		if before, twice := named[pattern]; twice {
			r.faults.addTo(ruleDuplicateName, n.position, n.at, "", fmt.Sprintf("names %s, which line %d names already: name each once", pattern, before.line))
			continue
		}
		named[pattern] = n.position
		all = append(all, pattern)
	}
	return all
}

// wellNamed reports whether a name was read without faults.
func wellNamed(n *record) bool {
	for _, v := range n.values {
		if !v.ok {
			return false
		}
	}
	return len(n.values) == len(n.members) // no key was unknown
}

// Chaos returns the plan of the document's chaos object; nil if there is none.
// Of the functions of this package only [Watch] starts it, with [WithChaos].
func (d *Document) Chaos() *chaos.Plan { return d.chaos }

// errNoConsent is the fault of a document that asks for chaos where the program
// has not consented.
func (d *Document) errNoConsent() error {
	f := d.chaosAt
	f.Problem = "is rejected, as this program has not consented to fault injection: remove it, or see chaos.WithConsent and config.WithChaos"
	return errors.Join(&f)
}
