package main

import (
	"flag"
	"fmt"
	"strings"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/internal/importer"
)

var importCommand = &command{
	name: "import", args: "FILE",
	short: "make a policy file of gRPC's, Envoy's, Linkerd's or Istio's configuration",
	long: `
Reads a service config of gRPC (-from grpc), routes and clusters of Envoy (envoy),
annotated Services, routes and ServiceProfiles of Linkerd (linkerd), or
VirtualServices and DestinationRules of Istio (istio), in YAML or JSON, and prints
a policy file. What has no counterpart is a comment in it, and a line on standard
error; the exit code is 1 then.`,
	flags: func(fs *flag.FlagSet) func(*streams, []string) (int, error) {
		from := fs.String("from", "", "`format`: "+strings.Join(importer.Formats, ", "))
		quiet := fs.Bool("q", false, "print the policy file alone")
		return func(s *streams, files []string) (int, error) {
			if len(files) != 1 || *from == "" {
				return 0, errUsage{"want -from and one file"}
			}
			data, err := s.read(files[0])
			if err != nil {
				return 0, err
			}
			out, notes, err := importer.Import(*from, data)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", files[0], err)
			}
			if _, err := config.Decode(out); err != nil {
				return 0, fmt.Errorf("%s: what it comes to is no valid policy file; correct it by hand:\n%w\n\n%s", files[0], err, out)
			}
			if _, err := s.out.Write(out); err != nil || len(notes) == 0 {
				return exitOK, err
			}
			if !*quiet {
				for _, n := range notes {
					fmt.Fprintf(s.err, "%s: %v\n", files[0], n)
				}
			}
			return exitFindings, nil
		}
	},
}
