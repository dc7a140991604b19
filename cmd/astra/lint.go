package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/astra-grpc/astra/config"
)

// finding is what lint reports.
type finding struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Level  string `json:"level"` // "fault" or "warning"
	Rule   string `json:"rule"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
}

func (f finding) String() string {
	at := f.File
	if f.Line > 0 {
		at += fmt.Sprintf(":%d:%d", f.Line, max(f.Column, 1))
	}
	return fmt.Sprintf("%s: %s: %s [%s]", at, f.Level, f.Text, f.Rule)
}

type linter struct {
	descriptors *descriptors
	off         []string
	format      string
	quiet       bool
}

var lintCommand = command{
	name: "lint", args: "FILE...", short: "find faults and warnings in policy files",
	long: `Lint reads policy files, JSON or YAML, as a program would, and reports every
fault and warning with its place. "-" is the standard input. With -descriptors,
a FileDescriptorSet from "buf build -o set.binpb" or from "protoc
--include_imports --descriptor_set_out=set.binpb", it also finds names that no
service has, methods that no entry covers, repeats and hedges of methods that
are not declared idempotent, and timeouts on streams.

"astra rules" lists the rules. Switch one off with -off, or in the file with a
comment anywhere:  # astra:off timeout-on-stream

Exits with 0 if nothing was found, 1 if something was, 2 on wrong usage.`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		l := &linter{}
		path := f.String("descriptors", "", "`file` with a FileDescriptorSet: check methods, too")
		off := f.String("off", "", "`rules` not to look for, separated by commas")
		f.StringVar(&l.format, "o", "text", "`format` of the output: text, json or sarif")
		f.BoolVar(&l.quiet, "q", false, "print nothing: the exit code says it")
		return func(s *streams, args []string) error {
			if len(args) == 0 {
				return usagef("no file given")
			}
			if !slices.Contains([]string{"text", "json", "sarif"}, l.format) {
				return usagef("-o %q: want text, json or sarif", l.format)
			}
			var err error
			if l.off, err = readRules(*off); err != nil {
				return usagef("-off: %v", err)
			}
			if *path != "" {
				if l.descriptors, err = readDescriptors(*path); err != nil {
					return usagef("-descriptors: %v", err)
				}
			}
			return l.run(s, args)
		}
	},
}

// readRules reads names of rules that can be switched off.
func readRules(list string) (all []string, err error) {
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		switch r, ok := ruleNamed(name); {
		case !ok:
			return nil, fmt.Errorf("%q is not a rule: see astra rules", name)
		case r.fault:
			return nil, fmt.Errorf("%q is a fault: no program can read such a file", name)
		}
		all = append(all, name)
	}
	return all, nil
}

func (l *linter) run(s *streams, paths []string) error {
	all := []finding{} // an empty list in JSON
	for _, path := range paths {
		data, name, err := read(s, path)
		if err != nil {
			all = append(all, finding{File: name, Level: "fault", Rule: "invalid", Text: err.Error()})
			continue
		}
		all = append(all, l.lint(name, data)...)
	}
	if !l.quiet {
		if err := l.write(s, all); err != nil {
			return err
		}
	}
	if len(all) > 0 {
		return errFindings
	}
	return nil
}

// maxRead bounds what is read of a file: far more than any has, but a device has
// no end.
const maxRead = 64 << 20

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxRead+1))
	if err == nil && len(data) > maxRead {
		err = fmt.Errorf("cannot be read: has more than %d bytes", maxRead)
	}
	return data, err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return readAll(f)
}

// read returns a file's content, and its name for messages.
func read(s *streams, path string) (data []byte, name string, err error) {
	if path == "-" {
		data, err = readAll(s.in)
		return data, "<stdin>", err
	}
	data, err = readFile(path)
	var at *os.PathError
	if errors.As(err, &at) {
		err = fmt.Errorf("cannot be read: %w", at.Err)
	}
	return data, path, err
}

var offComment = regexp.MustCompile(`(?m)(?:^|\s)#\s*astra:off\s+(.*)$`)

// lint returns all that is found in a file, in its order.
func (l *linter) lint(name string, data []byte) (all []finding) {
	off := slices.Clone(l.off)
	for _, m := range offComment.FindAllSubmatchIndex(data, -1) {
		more, err := readRules(string(bytes.TrimSpace(data[m[2]:m[3]])))
		if err != nil {
			line := bytes.Count(data[:m[2]], []byte("\n")) + 1
			all = append(all, finding{File: name, Line: line, Column: 1, Level: "fault", Rule: "invalid", Text: "astra:off: " + err.Error()})
		}
		off = append(off, more...)
	}
	doc, err := config.Decode(data)
	for _, f := range faultsOf(err) {
		all = append(all, findingOf(name, f, true))
	}
	if doc != nil {
		for _, w := range doc.Warnings() {
			all = append(all, findingOf(name, w, false))
		}
		if l.descriptors != nil {
			for _, f := range l.descriptors.check(doc) {
				f.File = name
				all = append(all, f)
			}
		}
	}
	all = slices.DeleteFunc(all, func(f finding) bool { return slices.Contains(off, f.Rule) })
	slices.SortStableFunc(all, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(all, func(a, b finding) bool { return a.Line == b.Line && a.Rule == b.Rule && a.Text == b.Text })
}

// faultsOf takes apart what package config joined.
func faultsOf(err error) (all []config.Fault) {
	if err == nil {
		return nil
	}
	each := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		each = joined.Unwrap()
	}
	for _, e := range each {
		var f *config.Fault
		if errors.As(e, &f) {
			all = append(all, *f)
		} else {
			all = append(all, config.Fault{Problem: e.Error(), Rule: "invalid"})
		}
	}
	return all
}

func findingOf(name string, f config.Fault, fault bool) finding {
	level := "warning"
	if fault {
		level = "fault"
	}
	text := f
	text.File, text.Line, text.Column = "", 0, 0
	return finding{File: name, Line: f.Line, Column: f.Column, Level: level, Rule: f.Rule, Key: f.Key, Text: text.Error()}
}

func (l *linter) write(s *streams, all []finding) error {
	switch l.format {
	case "json":
		return writeJSON(s.out, all)
	case "sarif":
		return writeJSON(s.out, sarifOf(all))
	}
	for _, f := range all {
		line := f.String()
		if s.color {
			line = strings.Replace(line, f.Level+":", "\x1b["+map[string]string{"fault": "31", "warning": "33"}[f.Level]+"m"+f.Level+":\x1b[0m", 1)
		}
		fmt.Fprintln(s.out, line)
	}
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
