package report

import (
	"fmt"
	"html"
	"html/template"
	"strings"

	"github.com/astra-grpc/astra/bench/lab"
)

// The drawing's size, and its margins. It grows and shrinks with the page; the
// page's style sheet sets colours, and sizes of text where the page is small.
const (
	svgWidth   = 720.0
	svgHeight  = 320.0
	marginLeft = 56.0
	marginX    = 14.0
	marginTop  = 14.0
	marginEnd  = 46.0
)

// hues is how many colours the page has for peers; hue 0 is ours.
const hues = 7

// look is how a series is drawn.
type look struct {
	Name   string
	Class  string
	Dashed bool
}

// looks gives ours the accent, the second of ours dashed, and peers one of the
// others.
func looks(c lab.Chart) (all []look) {
	ours, peers := 0, 0
	for _, s := range c.Series {
		l := look{Name: s.Name}
		if s.Ours {
			l.Class, l.Dashed = "h0 ours", ours > 0
			ours++
		} else {
			l.Class = fmt.Sprintf("h%d", peers%hues+1)
			l.Dashed = peers >= hues
			peers++
		}
		if l.Dashed {
			l.Class += " dashed"
		}
		all = append(all, l)
	}
	return all
}

// drawing collects SVG.
type drawing struct{ strings.Builder }

func (d *drawing) add(format string, args ...any) { fmt.Fprintf(d, format, args...) }

func (d *drawing) text(class string, x, y float64, anchor, s string) {
	d.add(`<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, class, x, y, anchor, html.EscapeString(s))
}

// drawChart returns the chart as SVG.
func drawChart(c lab.Chart) template.HTML {
	d := &drawing{}
	if len(c.Labels) > 0 {
		d.bars(c)
	} else {
		d.lines(c)
	}
	return template.HTML(d.String()) // escaped text and numbers
}

func (d *drawing) begin(c lab.Chart, height float64) {
	d.add(`<svg viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`, svgWidth, height, html.EscapeString(c.Title))
}

func (d *drawing) lines(c lab.Chart) {
	x0, x1, y0, y1 := extent(c)
	x := newAxis(x0, x1, c.LogX, false, marginLeft, svgWidth-marginX, 9)
	y := newAxis(y0, y1, c.LogY, true, svgHeight-marginEnd, marginTop, 6)
	d.begin(c, svgHeight)
	for _, v := range y.ticks {
		d.add(`<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, marginLeft, svgWidth-marginX, y.at(v), y.at(v))
		d.text("tick", marginLeft-7, y.at(v)+4, "end", tick(v))
	}
	for _, v := range x.ticks {
		d.add(`<line class="grid short" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`, x.at(v), x.at(v), svgHeight-marginEnd, svgHeight-marginEnd+4)
		d.text("tick x", x.at(v), svgHeight-marginEnd+18, "middle", tick(v))
	}
	d.text("axis", (marginLeft+svgWidth-marginX)/2, svgHeight-6, "middle", c.X)
	all := looks(c)
	// Ours last, on top of the others.
	for _, ours := range []bool{false, true} {
		for i, s := range c.Series {
			if s.Ours == ours {
				d.line(c, s, all[i], x, y)
			}
		}
	}
	d.add(`</svg>`)
}

func (d *drawing) line(c lab.Chart, s lab.Series, l look, x, y axis) {
	var points, dots []string
	for _, p := range s.Points {
		if c.LogX && p[0] <= 0 || c.LogY && p[1] <= 0 {
			continue
		}
		points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(p[0]), y.at(p[1])))
		dots = append(dots, fmt.Sprintf(`<circle cx="%.1f" cy="%.1f" r="%s"><title>%s: %s at %s</title></circle>`,
			x.at(p[0]), y.at(p[1]), radius(len(s.Points)), html.EscapeString(s.Name), figure(p[1]), figure(p[0])))
	}
	d.add(`<g class="series %s"><polyline points="%s"/>%s</g>`, l.Class, strings.Join(points, " "), strings.Join(dots, ""))
}

// radius is a point's: where points are many, the line shows enough.
func radius(points int) string {
	if points > 24 {
		return "2"
	}
	return "3"
}

// Of bars, from one to the next and between groups.
const (
	barStep  = 17.0
	groupGap = 30.0
)

// bars are drawn across: names are long, and pages for phones narrow.
func (d *drawing) bars(c lab.Chart) {
	_, _, _, high := extent(c)
	const room = 70 // for the figure at a bar's end
	x := newAxis(0, high, false, false, 4, svgWidth-room, 5)
	all := looks(c)
	var body drawing
	at := 4.0
	for i, name := range c.Labels {
		at += 13
		body.text("group", 4, at, "start", name)
		at += 7
		for j, s := range c.Series {
			for _, p := range s.Points {
				if int(p[0]) != i {
					continue
				}
				body.add(`<g class="bar %s"><rect x="4" y="%.1f" width="%.1f" height="%.1f" rx="2"><title>%s, %s: %s</title></rect>`,
					all[j].Class, at, max(x.at(p[1])-4, 1), barStep-4, html.EscapeString(name), html.EscapeString(s.Name), figure(p[1]))
				body.text("value", x.at(p[1])+6, at+11, "start", figure(p[1]))
				body.add(`</g>`)
				at += barStep
			}
		}
		at += groupGap - 20
	}
	d.begin(c, at)
	d.WriteString(body.String())
	d.add(`</svg>`)
}
