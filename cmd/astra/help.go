package main

import (
	"fmt"
	"io"
	"strings"
)

func overview(w io.Writer) {
	fmt.Fprint(w, "Astra shows what a policy file will do before it is live.\n\nUsage: astra COMMAND [flags] [arguments]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\nExit codes: 0 fine; 1 findings, or failed; 2 wrong usage.\n"+
		"Messages are lines of the form file:line:column: text, which editors read.\n"+
		"\"astra help COMMAND\" or \"astra COMMAND -h\" shows the flags; \"astra help all\" shows everything.\n")
}

func help(s *streams, args []string) int {
	switch {
	case len(args) == 0:
		overview(s.out)
		return exitFine
	case args[0] == "all":
		overview(s.out)
		for _, c := range commands() {
			fmt.Fprintf(s.out, "\n--- %s ---\n\n", c.name)
			c.help(s.out)
		}
		return exitFine
	}
	c, ok := find(args[0])
	if !ok {
		fmt.Fprintf(s.err, "astra help: %q is no command: want one of %s, or all\n", args[0], strings.Join(names(), ", "))
		return exitUsage
	}
	c.help(s.out)
	return exitFine
}
