package overhead

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// String returns the table of what was measured.
func (o *Overhead) String() string {
	var out strings.Builder
	out.WriteString("times are the fastest round's, allocations the median round's\n\n")
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)

	fmt.Fprintln(w, "success, no-op invoker\tns/op\tns/op parallel\tB/op\tallocs/op")
	for i, c := range o.winners {
		s := o.serial[i]
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\n", c.Name, s.ns(), o.parallel[i].ns(), s.bytes(), s.allocs())
	}
	fmt.Fprintln(w, "\nfailure, two retries at once\tns/op\t\tB/op\tallocs/op")
	for i, c := range o.losers {
		s := o.failing[i]
		fmt.Fprintf(w, "%s\t%.0f\t\t%.0f\t%.0f\n", c.Name, s.ns(), s.bytes(), s.allocs())
	}
	for _, part := range o.overLoopback() {
		fmt.Fprintf(w, "\n%s\tns/op\t\tB/op\tallocs/op\n", part.title)
		for i, s := range part.series {
			fmt.Fprintf(w, "%s\t%.0f\t\t%.0f\t%.1f\n", o.loopback[i].name, s.ns(), s.bytes(), s.allocs())
		}
	}
	_ = w.Flush()
	return out.String()
}

// table shows promises beside what was measured.
type table []gate

func (t table) String() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\npromise\tmeasured\tat most\t\t")
	for _, g := range t {
		verdict := "kept"
		if !g.holds() {
			verdict = "BROKEN"
		}
		fmt.Fprintf(w, "%s\t%.3g\t%v\t%s\t(%s)\n", g.what, g.value, g.limit, verdict, g.note)
	}
	_ = w.Flush()
	return out.String()
}
