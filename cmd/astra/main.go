// Command astra looks at policy files before they are live: what is wrong with
// them, what they do to a call, and how they came from another system's.
//
//	go run github.com/astra-grpc/astra/cmd/astra@latest lint policy.yaml
//
// See "astra help", and docs/command.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// The exit codes.
const (
	exitOK       = 0
	exitFindings = 1 // there are findings, or the command could not do its work
	exitUsage    = 2
)

// command is a subcommand.
type command struct {
	name, args string
	short      string // in one line
	long       string // of its own help, beside the flags
	flags      func(*flag.FlagSet) func(*streams, []string) (int, error)
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	color    bool // out is a terminal
}

// commands are all there are, in the order of the help.
var commands []*command

func init() { // completion completes them all, itself too
	commands = []*command{lintCommand, convertCommand, importCommand, completionCommand}
}

// errUsage is of a command that was called wrongly.
type errUsage struct{ text string }

func (e errUsage) Error() string { return e.text }

func main() {
	s := &streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, color: isTerminal(os.Stdout)}
	os.Exit(run(s, os.Args[1:]))
}

// isTerminal reports whether a file is one, and colours are wanted.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func run(s *streams, args []string) int {
	if len(args) == 0 {
		usage(s.err)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) > 1 {
			return run(s, []string{args[1], "-h"})
		}
		usage(s.out)
		return exitOK
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(s, args[1:])
		}
	}
	fmt.Fprintf(s.err, "astra: there is no command %q: see astra help\n", args[0])
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "astra looks at policy files before they are live.\n\nUsage: astra COMMAND [flags] [arguments]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-12s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "  help         this, or the help of a command\n\n"+
		"Exit codes: 0 fine, 1 findings or failure, 2 usage. Files named - are standard input.\n"+
		"Documentation: docs/command.md\n")
}

// run runs the command, and reports what fails.
func (c *command) run(s *streams, args []string) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // errors are reported here, once
	do := c.flags(fs)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		c.help(s.out, fs)
		return exitOK
	case err != nil:
		fmt.Fprintf(s.err, "astra %s: %v: see astra %s -h\n", c.name, err, c.name)
		return exitUsage
	}
	code, err := do(s, fs.Args())
	var wrong errUsage
	switch {
	case errors.As(err, &wrong):
		fmt.Fprintf(s.err, "astra %s: %v: see astra %s -h\n", c.name, err, c.name)
		return exitUsage
	case err != nil:
		fmt.Fprintf(s.err, "astra %s: %v\n", c.name, err)
		return exitFindings
	}
	return code
}

func (c *command) help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "Usage: astra %s [flags] %s\n\n%s\n", c.name, c.args, strings.TrimSpace(c.long))
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %-22s %s\n", strings.TrimSpace("-"+f.Name+" "+kind), text)
	})
}

// read returns a file's content; "-" is standard input.
func (s *streams) read(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(s.in)
	}
	return os.ReadFile(path)
}
