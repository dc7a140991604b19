package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Exit codes.
const (
	exitFine     = 0
	exitFindings = 1 // of lint; or what was asked for could not be had
	exitUsage    = 2
)

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
	color    bool // out is a terminal
}

// errFindings ends a command with exitFindings; what was found has been printed.
var errFindings = errors.New("findings")

// usageError ends a command with exitUsage.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// command is a subcommand.
type command struct {
	name  string
	args  string // after the flags
	short string // in a line
	long  string // what -h says above the flags
	// setup declares flags and returns what runs with the arguments left.
	setup func(*flag.FlagSet) func(s *streams, args []string) error
}

func (c command) flags() (*flag.FlagSet, func(*streams, []string) error) {
	f := flag.NewFlagSet(c.name, flag.ContinueOnError)
	f.Usage = func() {}
	return f, c.setup(f)
}

// help writes what -h shows: one screen.
func (c command) help(w io.Writer) {
	fmt.Fprintf(w, "Usage: astra %s [flags] %s\n\n%s\n", c.name, c.args, strings.TrimSpace(c.long))
	f, _ := c.flags()
	first := true
	f.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprint(w, "\nFlags:\n")
			first = false
		}
		value, usage := flag.UnquoteUsage(f)
		name := "-" + f.Name
		if value != "" {
			name += " " + value
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "0s" {
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(w, "  %-22s %s\n", name, usage)
	})
}
