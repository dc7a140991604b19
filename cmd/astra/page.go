package main

import (
	"fmt"
	"html"
	"strings"
	"time"

	"github.com/astra-grpc/astra/internal/sim"
)

const pageStyle = `body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.2rem .7rem;border-bottom:1px solid #ddd;text-align:right}
td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}.a{stroke:#06c}.b{stroke:#d60}path{fill:none;stroke-width:1.8}
.fault{fill:#f5d9d9}text{font-size:11px;fill:#555}.key{font-size:13px}.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(20rem,1fr));gap:1rem}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}td,th{border-color:#444}.fault{fill:#4a2a2a}text{fill:#aaa}.a{stroke:#6af}.b{stroke:#fa6}}`

// pageOf is a page that needs nothing else.
func pageOf(all []*simulated, w sim.World) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>astra simulate</title><style>%s</style>\n", pageStyle)
	fmt.Fprintf(&b, "<h1>What %s does</h1>\n<p>%v calls/s by %d client(s) on %d backend(s) of %v calls/s in all, %v each; a fault of %v; the shipped engine in virtual time.</p>\n",
		html.EscapeString(all[0].File), w.Rate, w.Clients, w.Backends, w.Capacity, w.Latency, w.Fault)
	for i, one := range all {
		fmt.Fprintf(&b, "<p class=\"key\"><svg viewBox=\"0 0 30 10\" style=\"width:30px\"><path class=\"%c\" d=\"M0 5H30\"/></svg> %s, %s</p>\n<ul>\n", 'a'+i, html.EscapeString(one.File), html.EscapeString(one.Method))
		for _, a := range one.Advice {
			fmt.Fprintf(&b, "<li>%s</li>\n", html.EscapeString(a))
		}
		b.WriteString("</ul>\n")
	}
	for i, first := range all[0].Outcomes {
		sc, _ := sim.Find(first.Scenario)
		fmt.Fprintf(&b, "<h2>%s</h2>\n<p>%s.</p>\n<table><tr><th></th><th>success</th><th>in the fault</th><th>attempts per call in it</th><th>peak</th><th>p50</th><th>p99</th><th>opens</th><th>back</th></tr>\n",
			sc.Name, html.EscapeString(sc.About))
		var runs []*sim.Outcome
		for _, one := range all {
			o := one.Outcomes[i]
			runs = append(runs, o)
			fmt.Fprintf(&b, "<tr><td>%s</td><td>%.2f %%</td><td>%.1f %%</td><td>%.2f</td><td>%.2f</td><td>%s</td><td>%s</td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(one.File),
				100*o.Success, 100*o.During, o.Load, o.Peak, brief(o.P50), brief(o.P99), seconds(o.Opens), seconds(o.Back))
		}
		b.WriteString("</table>\n<div class=\"pair\">\n")
		b.WriteString(plot("calls that succeed, %", runs, func(o *sim.Outcome, from, to time.Duration) float64 {
			return 100 * sim.Success(sim.Between(o.Result().Samples, from, to))
		}))
		b.WriteString(plot("attempts that reach the backends, per second", runs, func(o *sim.Outcome, from, to time.Duration) float64 {
			r, n := o.Result(), 0
			for _, loads := range r.Loads {
				for _, load := range loads[int(from/r.Bin):int(to/r.Bin)] {
					n += load
				}
			}
			return float64(n) / (to - from).Seconds()
		}))
		b.WriteString(plot("p99 of callers, ms", runs, func(o *sim.Outcome, from, to time.Duration) float64 {
			return float64(sim.Quantile(sim.Between(o.Result().Samples, from, to), 0.99).Milliseconds())
		}))
		b.WriteString("</div>\n")
	}
	b.WriteString("</html>\n")
	return b.String()
}

// points is how many a line has, at most.
const points = 400

// plot draws a value over time, of each second or, of long runs, of a few hundred
// spans: a line a run, and the fault behind.
func plot(title string, runs []*sim.Outcome, value func(o *sim.Outcome, from, to time.Duration) float64) string {
	const width, height, left, low = 360.0, 170.0, 44.0, 22.0
	first := runs[0].Result()
	step := first.Bin * time.Duration(1+int(first.Setup.Length/first.Bin)/points)
	n := int(first.Setup.Length / step)
	values, high := make([][]float64, len(runs)), 1.0
	for i, o := range runs {
		for t := range n {
			v := value(o, time.Duration(t)*step, time.Duration(t+1)*step)
			values[i], high = append(values[i], v), max(high, v)
		}
	}
	length := float64(n) * step.Seconds()
	x := func(s float64) float64 { return left + (width-left-6)*s/length }
	y := func(v float64) float64 { return height - low - (height-low-22)*v/high }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, width, height, html.EscapeString(title))
	from, to := runs[0].Fault()
	fmt.Fprintf(&b, `<rect class="fault" x="%.1f" y="22" width="%.1f" height="%.1f"/>`, x(from.Seconds()), x(to.Seconds())-x(from.Seconds()), height-low-22)
	fmt.Fprintf(&b, `<text x="4" y="14">%s</text><text x="%.0f" y="30" text-anchor="end">%.0f</text><text x="%.0f" y="%.0f" text-anchor="end">0</text>`, html.EscapeString(title), left-4, high, left-4, height-low)
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f">0 s</text><text x="%.0f" y="%.0f" text-anchor="end">%.0f s</text>`, left, height-6, width-6, height-6, length)
	for i, line := range values {
		d := make([]string, 0, len(line))
		for t, v := range line {
			d = append(d, fmt.Sprintf("%.1f %.1f", x((float64(t)+0.5)*step.Seconds()), y(v)))
		}
		fmt.Fprintf(&b, `<path class="%c" d="M%s"/>`, 'a'+i, strings.Join(d, "L"))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
