// Package field has the error that says what is wrong with a field of a struct
// of settings, so that whoever passes it on can put the same thing in words of
// its own.
package field

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Error is one thing that is wrong with a field. It must not be changed once
// others have it.
type Error struct {
	Policy  string   // whose field it is: "policy /pkg.Service/*"; "" if that is not known
	Field   string   // its path: "Retry.MaxAttempts", "Retry.PerCode[NOT_FOUND].Base"
	Value   any      // what it holds; nil if the problem is not its value
	Problem string   // what is wrong: "is out of range"
	Want    string   // what is allowed: "from 1 to 100"; "" if everything is
	ZeroIs  string   // what zero, allowed besides, stands for: "500ms", "the default"; "" if it is not
	Rule    string   // of a warning: its name, "attempt-never-starts"; "" of a fault
	Depends []string // paths of other fields that Problem and Want name, in their order

	format string // of Problem
	args   []any  // of format
	ranged bool   // format is that of Want
}

// A Ref among the arguments of a format names another field, by its path. It is
// printed as the path's last name, unless [Error.Naming] has a better one.
type Ref string

// String returns the field's own name.
func (r Ref) String() string { return string(r[strings.LastIndexByte(string(r), '.')+1:]) }

// New returns an error whose Problem is a sentence of its own. The value is nil
// if the sentence does not go on from it.
func New(path string, value any, format string, args ...any) *Error {
	e := &Error{Field: path, Value: value, format: format, args: args}
	e.word(Ref.String)
	return e
}

// OutOfRange returns an error of a value that is not what the format wants.
func OutOfRange(path string, value any, zeroIs, format string, args ...any) *Error {
	e := &Error{Field: path, Value: value, Problem: "is out of range", ZeroIs: zeroIs, ranged: true, format: format, args: args}
	e.word(Ref.String)
	return e
}

// All returns the errors that are joined in err.
func All(err error) (all []*Error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, each := range joined.Unwrap() {
			all = append(all, All(each)...)
		}
		return all
	}
	var e *Error
	if errors.As(err, &e) {
		all = append(all, e)
	}
	return all
}

// Naming returns the same error in which Problem and Want call the fields of
// Depends what name returns for their paths.
func (e *Error) Naming(name func(path string) string) *Error {
	named := *e
	named.word(func(r Ref) string { return name(string(r)) })
	return &named
}

// Within returns the same error as one of the whole that a part belongs to: of
// that policy, and prefix leads to the part.
func Within(e *Error, policy, prefix string) *Error {
	in := *e
	in.Policy, in.Field = policy, prefix+e.Field
	in.args = slices.Clone(e.args)
	for i, a := range in.args {
		if r, ok := a.(Ref); ok {
			in.args[i] = Ref(prefix) + r
		}
	}
	in.word(Ref.String)
	return &in
}

// word makes Problem or Want of the format, and Depends of what it names.
func (e *Error) word(name func(Ref) string) {
	if e.format == "" {
		return
	}
	e.Depends = nil
	args := slices.Clone(e.args)
	for i, a := range args {
		if r, ok := a.(Ref); ok {
			args[i] = name(r)
			e.Depends = append(e.Depends, string(r))
		}
	}
	if text := fmt.Sprintf(e.format, args...); e.ranged {
		e.Want = text
	} else {
		e.Problem = text
	}
}

// Held returns the value as text: "1s", or "0, which is 8s," where the fault is
// in what zero stands for; "" if there is none.
func (e *Error) Held() string {
	switch {
	case e.Value == nil:
		return ""
	case e.aboutZero():
		return "0, which is " + e.ZeroIs + ","
	}
	return fmt.Sprint(e.Value)
}

// aboutZero reports whether it is the default that is at fault.
func (e *Error) aboutZero() bool {
	return e.ZeroIs != "" && (e.Value == any(0) || e.Value == any(0.0) || e.Value == any(time.Duration(0)))
}

// Error returns "policy: field: value problem: want allowed, or 0 for default",
// without what there is none of.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Policy != "" {
		b.WriteString(e.Policy + ": ")
	}
	b.WriteString(e.Field + ": ")
	if held := e.Held(); held != "" {
		b.WriteString(held + " ")
	}
	b.WriteString(e.Problem)
	if e.Want != "" {
		b.WriteString(": want " + e.Want)
		if e.ZeroIs != "" && !e.aboutZero() {
			b.WriteString(", or 0 for " + e.ZeroIs)
		}
	}
	return b.String()
}
