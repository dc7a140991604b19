package main

import (
	"bytes"
	"flag"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/astra-grpc/astra/config"
)

var convertCommand = command{
	name: "convert", args: "FILE", short: "write a policy file as JSON, or as YAML",
	long: `Convert prints a policy file, YAML or JSON, in the other format, or in the one
that -to names. Aliases and merge keys of YAML are resolved; comments are lost in
JSON. What comes out means what went in: it is read back and compared.`,
	setup: func(f *flag.FlagSet) func(*streams, []string) error {
		to := f.String("to", "", "`format`: json or yaml (default the other one)")
		return func(s *streams, args []string) error {
			if len(args) != 1 {
				return usagef("want one FILE")
			}
			if *to != "" && *to != "json" && *to != "yaml" {
				return usagef("-to %q: want json or yaml", *to)
			}
			data, name, err := read(s, args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			before, err := config.Decode(data)
			if err != nil {
				for _, f := range faultsOf(err) {
					fmt.Fprintln(s.err, findingOf(name, f, true))
				}
				return errFindings
			}
			out, err := convert(data, *to)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			after, err := config.Decode(out)
			if err != nil || fmt.Sprint(after.Policies()) != fmt.Sprint(before.Policies()) {
				return fmt.Errorf("%s: cannot be converted without changing it (%w)", name, err)
			}
			_, err = s.out.Write(out)
			return err
		}
	},
}

func convert(data []byte, to string) ([]byte, error) {
	if to == "" {
		to = "json"
		if strings.HasPrefix(strings.TrimSpace(string(data)), "{") {
			to = "yaml"
		}
	}
	var doc map[string]any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if to == "json" {
		err := writeJSON(&b, doc)
		return b.Bytes(), err
	}
	err := encode(&b, ordered(doc))
	return b.Bytes(), err
}
