// Astra shows what a policy file will do before it is live: it finds faults,
// explains policies, simulates outages, finds better values, reads other
// projects' files, and looks at programs that run.
//
//	go install github.com/astra-grpc/astra/cmd/astra@latest
//
// It needs nothing but the standard library and what package config does. See
// docs/command.md, or "astra help".
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func commands() []command {
	return []command{
		lintCommand, explainCommand, simulateCommand, tuneCommand, topCommand, breakerCommand, backendCommand, rulesCommand, convertCommand, importCommand, completion(),
	}
}

func main() {
	info, err := os.Stdout.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
	os.Exit(run(&streams{os.Stdin, os.Stdout, os.Stderr, terminal}, os.Args[1:]))
}

// run is the command with its arguments, and returns its exit code.
func run(s *streams, args []string) int {
	if len(args) == 0 {
		overview(s.err)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return help(s, args[1:])
	}
	c, ok := find(args[0])
	if !ok {
		fmt.Fprintf(s.err, "astra: %q is no command: want one of %s\n", args[0], strings.Join(names(), ", "))
		return exitUsage
	}
	flags, do := c.flags()
	flags.SetOutput(io.Discard)
	rest, err := parse(flags, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help(s.out)
		return exitFine
	case err != nil:
		fmt.Fprintf(s.err, "astra %s: %v; see astra %s -h\n", c.name, err, c.name)
		return exitUsage
	}
	return exitCode(s, c.name, do(s, rest))
}

func exitCode(s *streams, name string, err error) int {
	var usage usageError
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errFindings):
		return exitFindings
	case errors.As(err, &usage):
		fmt.Fprintf(s.err, "astra %s: %v; see astra %s -h\n", name, err, name)
		return exitUsage
	}
	fmt.Fprintf(s.err, "astra %s: %v\n", name, err)
	return exitFindings
}

// parse reads flags before, between and after the other arguments.
func parse(flags *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		left := flags.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if used := len(args) - len(left); used > 0 && args[used-1] == "--" {
			return append(rest, left...), nil
		}
		rest, args = append(rest, left[0]), left[1:]
	}
}

func find(name string) (command, bool) {
	for _, c := range commands() {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

func names() (all []string) {
	for _, c := range commands() {
		all = append(all, c.name)
	}
	return all
}
