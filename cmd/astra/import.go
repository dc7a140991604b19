package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/internal/importer"
)

var importCommand = command{
	name: "import", args: "FILE",
	short: "make a policy file of gRPC's, Envoy's, Linkerd's or Istio's configuration",
	long: `
Reads a service config of gRPC (-from grpc), routes and clusters of Envoy (envoy),
annotated Services, routes and ServiceProfiles of Linkerd (linkerd), or
VirtualServices and DestinationRules of Istio (istio), in YAML or JSON, and prints
a policy file. What has no counterpart is a comment in it, and a line on standard
error; the exit code is 1 then.`,
	setup: func(fs *flag.FlagSet) func(*streams, []string) error {
		from := fs.String("from", "", "`format`: "+strings.Join(importer.Formats, ", "))
		quiet := fs.Bool("q", false, "print the policy file alone")
		return func(s *streams, files []string) error {
			if len(files) != 1 || *from == "" {
				return usagef("want -from and one file")
			}
			data, name, err := read(s, files[0])
			if err != nil {
				return err
			}
			out, notes, err := importer.Import(*from, data)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if _, err := config.Decode(out); err != nil {
				return fmt.Errorf("%s: result is not a valid policy file; correct it by hand:\n%w\n\n%s", name, err, out)
			}
			if _, err := s.out.Write(out); err != nil || len(notes) == 0 {
				return err
			}
			if !*quiet {
				for _, n := range notes {
					fmt.Fprintf(s.err, "%s: %v\n", name, n)
				}
			}
			return errFindings
		}
	},
}
