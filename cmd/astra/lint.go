package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/astra-grpc/astra/internal/lint"
)

var lintCommand = &command{
	name: "lint", args: "FILE…",
	short: "find what is wrong with policy files, and what is seldom meant",
	long: `
Each finding is a line, file:line:column: kind: message (rule). Exit code 1 if
there is any. A rule is switched off by -off, or in the file by a comment:

    # astra-lint: off stream-timeout, double-write

With the descriptors of your services, as "buf build -o set.binpb" writes them,
more is known: methods that do not exist, that no entry is for, that are repeated
or hedged and not declared idempotent.`,
	flags: func(fs *flag.FlagSet) func(*streams, []string) (int, error) {
		var l linter
		fs.StringVar(&l.format, "o", "text", "`format`: text, json, sarif")
		fs.BoolVar(&l.quiet, "q", false, "print nothing: the exit code says it")
		fs.StringVar(&l.descriptors, "descriptors", "", "`file`, a FileDescriptorSet")
		fs.StringVar(&l.off, "off", "", "`rules` to switch off, with commas between")
		fs.BoolVar(&l.rules, "rules", false, "list the rules, and why they are")
		return l.run
	},
}

type linter struct {
	format, descriptors, off string
	quiet, rules             bool
}

func (l *linter) run(s *streams, files []string) (int, error) {
	if l.rules {
		printRules(s.out)
		return exitOK, nil
	}
	if len(files) == 0 {
		return 0, errUsage{"no file: want one or more"}
	}
	print, ok := map[string]func(*streams, []lint.Finding) error{"text": printFindings, "json": printJSON, "sarif": printSARIF}[l.format]
	if !ok {
		return 0, errUsage{fmt.Sprintf("-o %s: want text, json or sarif", l.format)}
	}
	o := lint.Options{}
	if l.off != "" {
		o.Off = strings.Split(l.off, ",")
	}
	if l.descriptors != "" {
		data, err := s.read(l.descriptors)
		if err == nil {
			o.Methods, err = lint.ParseDescriptors(data)
		}
		if err != nil {
			return 0, err
		}
	}
	all := []lint.Finding{}
	for _, file := range files {
		data, err := s.read(file)
		if err != nil {
			return 0, err
		}
		all = append(all, lint.Check(file, data, o)...)
	}
	if !l.quiet {
		if err := print(s, all); err != nil {
			return 0, err
		}
	}
	if len(all) > 0 {
		return exitFindings, nil
	}
	return exitOK, nil
}

// The colours of a terminal.
const (
	red, yellow, faint, plain = "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
)

func printFindings(s *streams, all []lint.Finding) error {
	for _, f := range all {
		line := f.String()
		if s.color {
			line = strings.Replace(line, " error: ", red+" error: "+plain, 1)
			line = strings.Replace(line, " warning: ", yellow+" warning: "+plain, 1)
			line = strings.Replace(line, "("+f.Rule+")", faint+"("+f.Rule+")"+plain, 1)
		}
		if _, err := fmt.Fprintln(s.out, line); err != nil {
			return err
		}
	}
	return nil
}

func printRules(w io.Writer) {
	for _, r := range lint.Rules {
		needs := ""
		if r.Needed != "" {
			needs = " [needs -" + r.Needed + "]"
		}
		fmt.Fprintf(w, "%-22s %s%s\n%-22s %s\n", r.Name, r.Short, needs, "", r.Why)
	}
}

func printJSON(s *streams, all []lint.Finding) error { return writeJSON(s.out, all) }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
