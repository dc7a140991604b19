package main

import (
	"fmt"
	"strings"
)

// share is a backend's part of n attempts.
func share(n *counts, backend int) string {
	sum := 0
	for _, at := range n.at {
		sum += at
	}
	if sum == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(n.at[backend])/float64(sum))
}

// backendsLine shows the backends' states and shares of the last second's
// attempts.
func (v *view) backendsLine(g glimpse) string {
	if len(g.backends) == 0 {
		return ""
	}
	line := " backends "
	for i, state := range g.backends {
		paint := v.palette.green
		switch state {
		case "out":
			paint = v.palette.red
		case "on trial":
			paint = v.palette.yellow
		case "":
			paint = v.palette.dim
		}
		line += backendName(i) + " " + paint(pad("● "+state, 11)) + pad(share(&g.last, i), -5) + "    "
	}
	return strings.TrimRight(line, " ")
}

// shares is backendsLine for lines: "A 33 %, B 33 %, C 33 %", with the state of
// those that are not in.
func shares(g glimpse) string {
	var parts []string
	for i, state := range g.backends {
		part := backendName(i) + " " + share(&g.last, i)
		if state != "in" && state != "" {
			part += " (" + state + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
