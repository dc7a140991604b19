// Package lint looks at a policy file: for what is wrong with it, and for what is
// allowed and still seldom meant. Each finding is by a rule, which can be switched
// off by its name, by the program or in the file:
//
//	# astra-lint: off stream-timeout, double-write
package lint

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/astra-grpc/astra/config"
)

// Finding is what a rule has found. Its place is counted from 1; 0 if the finding
// is about the whole file.
type Finding struct {
	Rule    string `json:"rule"`
	Error   bool   `json:"error"` // the file is refused; else it is a warning
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`
}

// String returns "file:line:column: error: message (rule)", as editors take it.
func (f Finding) String() string {
	kind := "warning"
	if f.Error {
		kind = "error"
	}
	at := f.File
	if f.Line > 0 {
		at = fmt.Sprintf("%s:%d:%d", f.File, f.Line, max(1, f.Column))
	}
	return fmt.Sprintf("%s: %s: %s (%s)", at, kind, f.Message, f.Rule)
}

// Options are what to look with. The zero Options look at the file alone.
type Options struct {
	Off     []string    // names of rules
	Methods Descriptors // nil: which methods there are is not known
}

// Check returns what is found in a file, in its order. Its content is given, and
// read as [config.Decode] reads it. What is off is not returned, except for
// faults, for which the file is refused anyway.
func Check(file string, data []byte, o Options) []Finding {
	off := append(switchedOff(data), o.Off...)
	doc, err := config.Decode(data)
	if err != nil {
		return faults(file, err)
	}
	all := warnings(file, doc)
	if o.Methods != nil {
		all = append(all, o.Methods.check(file, doc)...)
	}
	all = append(all, unknownRules(file, off)...)
	all = slices.DeleteFunc(all, func(f Finding) bool { return slices.Contains(off, f.Rule) })
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Rule, b.Rule))
	})
	return slices.CompactFunc(all, func(a, b Finding) bool { // a descriptor linked in says the same
		return a.Rule == b.Rule && a.Line == b.Line && a.Rule == "stream-timeout"
	})
}

func faults(file string, err error) (all []Finding) {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []Finding{{Rule: "invalid", Error: true, File: file, Message: err.Error()}}
	}
	for _, each := range joined.Unwrap() {
		f := Finding{Rule: "invalid", Error: true, File: file, Message: each.Error()}
		var fault *config.Fault
		if errors.As(each, &fault) {
			f.Line, f.Column, f.Message = fault.Line, fault.Column, message(fault)
		}
		all = append(all, f)
	}
	return all
}

func warnings(file string, doc *config.Document) (all []Finding) {
	for _, w := range doc.Warnings() {
		all = append(all, Finding{Rule: w.Rule, File: file, Line: w.Line, Column: w.Column, Message: message(&w)})
	}
	return all
}

// message is a fault without its place.
func message(f *config.Fault) string {
	here := *f
	here.File, here.Line, here.Column = "", 0, 0
	return here.Error()
}

var offComment = regexp.MustCompile(`(?m)#\s*astra-lint:\s*off\s+(.*)$`)

// switchedOff returns the rules that comments of the file switch off.
func switchedOff(data []byte) (rules []string) {
	for _, m := range offComment.FindAllSubmatch(data, -1) {
		for _, name := range bytes.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' || r == '\r' || r == '\t' }) {
			rules = append(rules, string(name))
		}
	}
	return rules
}

// unknownRules finds names of rules that there are none of: what they were to
// switch off is still on.
func unknownRules(file string, names []string) (all []Finding) {
	for _, name := range names {
		if !slices.ContainsFunc(Rules, func(r Rule) bool { return r.Name == name }) {
			all = append(all, Finding{Rule: "unknown-rule", File: file, Message: fmt.Sprintf("%q is switched off, and is no rule", name)})
		}
	}
	return all
}

// Descriptors are services that there are.
type Descriptors map[string]protoreflect.ServiceDescriptor // by full name

// ParseDescriptors reads a FileDescriptorSet, as "buf build -o set.binpb" and
// "protoc --include_imports -o set.binpb" write it.
func ParseDescriptors(data []byte) (Descriptors, error) {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("descriptors: not a FileDescriptorSet: %w", err)
	}
	files, err := (protodesc.FileOptions{AllowUnresolvable: true}).NewFiles(&set)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	all := Descriptors{}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			s := f.Services().Get(i)
			all[string(s.FullName())] = s
		}
		return true
	})
	if len(all) == 0 {
		return nil, errors.New("descriptors: no service in the set")
	}
	return all, nil
}

// split returns a pattern's service and method.
func split(pattern string) (service, method string) {
	service, method, _ = strings.Cut(strings.TrimPrefix(pattern, "/"), "/")
	return service, method
}
