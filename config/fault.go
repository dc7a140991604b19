package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fault is one thing that is wrong with a document or, in [Document.Warnings],
// that is probably not meant. [Parse], [Load], [Decode] and [Watch] join one
// for each; errors.As finds the first, errors.Join's Unwrap all.
type Fault struct {
	File         string // as it was named; "" for Parse and Decode
	Line, Column int    // from 1, in characters; 0 if that is not known
	Key          string // as the document has it, in full: "methodConfig[0].retryPolicy.maxAttempts"; "": the document
	Value        string // as written, strings in quotes, cut if it is long; "" if there is none
	Problem      string // what is wrong with it, and what is allowed
	Rule         string // its name among those that `astra rules` lists, by which tools switch off a warning

	cause error // why the file cannot be read
}

// Unwrap returns why a file cannot be read: fs.ErrNotExist, say. It is nil for
// all other faults.
func (f *Fault) Unwrap() error { return f.cause }

// Error returns "policy.yaml:7:9: key: value problem", or "line 7, column 9: …"
// where no file is known.
func (f *Fault) Error() string {
	var b strings.Builder
	switch {
	case f.File != "" && f.Line > 0:
		fmt.Fprintf(&b, "%s:%d", f.File, f.Line)
		if f.Column > 0 {
			fmt.Fprintf(&b, ":%d", f.Column)
		}
	case f.Line > 0:
		fmt.Fprintf(&b, "line %d", f.Line)
		if f.Column > 0 {
			fmt.Fprintf(&b, ", column %d", f.Column)
		}
	default:
		b.WriteString(f.File)
	}
	for _, part := range []string{f.Key, f.Value} {
		if part != "" && b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(part)
	}
	switch {
	case f.Value != "":
		b.WriteString(" ")
	case b.Len() > 0:
		b.WriteString(": ")
	}
	b.WriteString(f.Problem)
	return b.String()
}

// maxFaults bounds what is reported of one document: enough to mend it by, and
// no log flooded by a file of another kind.
const maxFaults = 100

// faults collects what is wrong with a document.
type faults struct {
	file string
	all  []*Fault
}

// The rules of faults that have one of their own; see Fault.Rule.
const (
	ruleInvalid       = "invalid" // of all others
	ruleDuplicateName = "duplicate-name"
	ruleSaidTwice     = "said-twice"
	ruleRetryAndHedge = "retry-and-hedge"
	ruleUnknownKey    = "unknown-key"
	ruleMissingKey    = "missing-key"
)

// add adds a fault of what stands at a position.
func (f *faults) add(at position, key *path, value, problem string) {
	f.addTo(ruleInvalid, at, key, value, problem)
}

// addTo is add for a fault of a rule of its own.
func (f *faults) addTo(rule string, at position, key *path, value, problem string) {
	f.all = append(f.all, &Fault{File: f.file, Line: at.line, Column: at.column, Key: key.String(), Value: value, Problem: problem, Rule: rule})
}

// of adds a fault of a node. A problem begins with a verb: "is missing".
func (f *faults) of(n *node, key *path, format string, args ...any) {
	f.add(n.position, key, n.written(), fmt.Sprintf(format, args...))
}

// err joins the faults in the order of the document; nil if there is none.
func (f *faults) err() error {
	slices.SortStableFunc(f.all, inOrder)
	var errs []error
	for i, each := range f.all {
		if i == maxFaults {
			errs = append(errs, &Fault{File: f.file, Problem: fmt.Sprintf("has %d more faults", len(f.all)-i), Rule: ruleInvalid})
			break
		}
		errs = append(errs, each)
	}
	return errors.Join(errs...)
}

// inOrder compares places in a document.
func inOrder(a, b *Fault) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// maxValue is how much of a value is reported, in characters.
const maxValue = 60

func quoted(text string) string { return strconv.Quote(shortened(text)) }

func shortened(text string) string { return cutAt(text, maxValue) }

func cutAt(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}

// path leads from the document to a value. nil is the document.
type path struct {
	up    *path
	key   string
	index int // of a list; key is ""
}

func (p *path) member(key string) *path { return &path{up: p, key: key} }

func (p *path) item(index int) *path { return &path{up: p, index: index} }

func (p *path) String() string {
	switch {
	case p == nil:
		return ""
	case p.key == "":
		return p.up.String() + "[" + strconv.Itoa(p.index) + "]"
	case p.up == nil:
		return shortened(p.key)
	}
	return p.up.String() + "." + shortened(p.key)
}
