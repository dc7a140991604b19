package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/inside"
)

// explained is the policy of a method, with all defaults filled in.
type explained struct {
	File    string   `json:"file"`
	Method  string   `json:"method"`
	Pattern string   `json:"pattern"` // of the entry that holds; "": none does
	At      string   `json:"at,omitempty"`
	Fields  []field  `json:"fields"`
	Words   []string `json:"words"`
	Worst   string   `json:"worst"` // how long a call can take
	Starts  []string `json:"starts"`
	policy  *interceptors.Policy
	steps   []step
}

// field is one of a policy's, and where its value comes from.
type field struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

var explainCommand = command{
	name: "explain", args: "FILE METHOD", short: "show a method's policy, and what a call goes through",
	long: `Explain shows the policy that holds for a method, pkg.Service/Method, field by
field with where each value comes from: a line of the file, or the default. Then,
in plain words, what a call goes through: when each attempt starts, how long a
call can take, what the policy adds to the load, and when the breaker opens and
closes; and a timeline of a call whose attempts all fail.`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		format := f.String("o", "text", "`format` of the output: text or json")
		svg := f.String("svg", "", "write the timeline to this `file`, too, as SVG")
		idempotent := f.Bool("idempotent", false, "the method is declared idempotent in its .proto")
		all := f.Bool("all", false, "show also fields that have their defaults")
		return func(s *streams, args []string) error {
			switch {
			case len(args) != 2:
				return usagef("want FILE and METHOD")
			case *format != "text" && *format != "json":
				return usagef("-o %q: want text or json", *format)
			}
			method, err := methodName(args[1])
			if err != nil {
				return err
			}
			doc, err := load(s, args[0])
			if err != nil {
				return err
			}
			x := explain(doc, args[0], method, *idempotent)
			if *svg != "" {
				if err := os.WriteFile(*svg, []byte(timelineSVG(x)), 0o644); err != nil {
					return err
				}
			}
			if *format == "json" {
				return writeJSON(s.out, x)
			}
			x.write(s.out, *all)
			return nil
		}
	},
}

func explain(doc *config.Document, file, method string, idempotent bool) *explained {
	x := &explained{File: file, Method: method}
	e, ok := lookup(doc, method)
	var given interceptors.Policy
	if ok {
		x.Pattern, x.At = e.Pattern, fmt.Sprintf("%s:%d:%d", file, e.Origin.Line, max(e.Origin.Column, 1))
		given = e.Policy
	}
	full := inside.Complete(given).(interceptors.Policy)
	x.policy = &full
	x.fields(reflect.ValueOf(full), "", func(name string) string {
		if !ok {
			return "default"
		}
		o, set := e.Of(name)
		if !set {
			if name == "Retry.MaxAttempts" && given.Retry.MaxAttempts == 1 {
				return "default of a file: the entry does not ask for retries"
			}
			return "default"
		}
		return fmt.Sprintf("%s:%d %s", file, o.Line, o.Key)
	})
	x.say(idempotent, inside.PolicyOf(given, idempotent, e.Pattern == method))
	return x
}

// fields lists a struct's.
func (x *explained) fields(v reflect.Value, prefix string, origin func(string) string) {
	for i := range v.NumField() {
		f, name := v.Field(i), prefix+v.Type().Field(i).Name
		switch {
		case f.Kind() == reflect.Struct && !f.Type().Implements(reflect.TypeFor[fmt.Stringer]()):
			x.fields(f, name+".", origin)
		case f.Kind() == reflect.Map && f.Len() == 0:
		default:
			x.Fields = append(x.Fields, field{name, show(name, f.Interface()), origin(name)})
		}
	}
}

// show is a value as a person reads it.
func show(name string, v any) string {
	switch v := v.(type) {
	case time.Duration:
		if v == 0 {
			if name == "Hedge.Delay" {
				return "the method's own p95"
			}
			return "none"
		}
		return v.String()
	case fmt.Stringer:
		return v.String()
	case int:
		if v == 0 && !strings.HasPrefix(name, "Retry.") {
			return "none"
		}
	}
	return fmt.Sprint(v)
}

func (x *explained) write(w io.Writer, all bool) {
	switch x.Pattern {
	case "":
		fmt.Fprintf(w, "%s: no entry of %s names it, so it has the default policy.\n\n", x.Method, x.File)
	default:
		fmt.Fprintf(w, "%s: the entry for %s holds (%s).\n\n", x.Method, x.Pattern, x.At)
	}
	rest := 0
	for _, f := range x.Fields {
		if f.Origin == "default" && !all {
			rest++
			continue
		}
		fmt.Fprintf(w, "  %-24s %-22s %s\n", f.Name, f.Value, f.Origin)
	}
	if rest > 0 {
		fmt.Fprintf(w, "  %d others have their defaults: see -all.\n", rest)
	}
	fmt.Fprintln(w)
	for _, line := range x.Words {
		fmt.Fprintln(w, wrap(line, 88))
	}
	fmt.Fprint(w, "\n", timelineText(x))
}

// wrap breaks a sentence into lines, with a bullet.
func wrap(s string, width int) string {
	var b strings.Builder
	line := "-"
	for word := range strings.FieldsSeq(s) {
		if len([]rune(line))+1+len([]rune(word)) > width {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + word
	}
	return b.String() + line
}

// MarshalJSON leaves out nothing that is a list.
func (x *explained) MarshalJSON() ([]byte, error) {
	type plain explained
	p := plain(*x)
	p.Fields, p.Words, p.Starts = slices.Clip(p.Fields), slices.Clip(p.Words), slices.Clip(p.Starts)
	return json.Marshal(p)
}
