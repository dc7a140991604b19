package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
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
