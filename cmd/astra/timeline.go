package main

import (
	"fmt"
	"html"
	"strings"
	"time"
)

// span is how much time the timeline shows.
func (x *explained) span() time.Duration {
	last := x.steps[len(x.steps)-1]
	span := last.to + last.lasts
	if t := x.policy.Timeout; t > 0 {
		span = max(t, last.from)
	}
	if x.policy.AttemptTimeout == 0 {
		span = max(span, last.to*5/4)
	}
	return max(span, time.Millisecond)
}

// end is when an attempt that starts at a time is over on the timeline.
func (x *explained) end(s step, at time.Duration) time.Duration {
	end := x.span()
	if s.lasts > 0 {
		end = at + s.lasts
	} else if !(x.policy.Hedge.MaxAttempts > 1) {
		end = at + x.span()/20 // it fails at once, as far as anyone knows
	}
	if t := x.policy.Timeout; t > 0 {
		end = min(end, t)
	}
	return end
}

const columns = 64

// timelineText draws a call whose attempts all fail as late as they may.
func timelineText(x *explained) string {
	var b strings.Builder
	span := x.span()
	col := func(t time.Duration) int { return min(int(int64(t)*columns/int64(span)), columns) }
	fmt.Fprintf(&b, "A call whose attempts all fail, each as late as it may:\n\n")
	for i, s := range x.steps {
		row := []rune(strings.Repeat(" ", columns+1))
		if !s.never {
			for c := col(s.from); c < col(s.to); c++ {
				row[c] = '·' // it starts somewhere here
			}
			for c := col(s.to); c <= max(col(x.end(s, s.to))-1, col(s.to)) && c <= columns; c++ {
				row[c] = '█'
			}
		}
		note := fmt.Sprintf("%v", s.from)
		switch {
		case s.never:
			note = "never"
		case s.to != s.from:
			note += fmt.Sprintf("–%v", s.to)
		}
		fmt.Fprintf(&b, "  %d |%s| %s\n", i+1, string(row), note)
	}
	fmt.Fprintf(&b, "    0%*s\n", columns+1, span)
	fmt.Fprintf(&b, "  █ an attempt runs   · when it starts, by jitter\n")
	return b.String()
}

// timelineSVG draws the same.
func timelineSVG(x *explained) string {
	const width, left, step = 720.0, 40.0, 30.0
	var b strings.Builder
	span := float64(x.span())
	at := func(t time.Duration) float64 { return left + (width-left-80)*min(float64(t)/span, 1) }
	height := step*float64(len(x.steps)) + 60
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" font-family="sans-serif" font-size="13">`+"\n", width, height)
	fmt.Fprintf(&b, `<title>%s</title>`+"\n", html.EscapeString("A call of "+x.Method+" whose attempts all fail, each as late as it may"))
	for i, s := range x.steps {
		y := 12 + step*float64(i)
		fmt.Fprintf(&b, `<text x="8" y="%.0f">%d</text>`, y+15, i+1)
		if s.never {
			fmt.Fprintf(&b, `<text x="%.0f" y="%.0f" fill="#b00">never starts: it would be at %v</text>`+"\n", left, y+15, s.from)
			continue
		}
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.0f" width="%.1f" height="20" fill="#bcd"/>`, at(s.from), y, at(s.to)-at(s.from))
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.0f" width="%.1f" height="20" fill="#269"/>`, at(s.to), y, max(at(x.end(s, s.to))-at(s.to), 2))
		fmt.Fprintf(&b, `<text x="%.1f" y="%.0f">%v–%v</text>`+"\n", width-110, y+15, s.from, s.to)
	}
	y := 12 + step*float64(len(x.steps))
	fmt.Fprintf(&b, `<line x1="%.0f" x2="%.1f" y1="%.0f" y2="%.0f" stroke="#555"/>`, left, at(x.span()), y, y)
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f">0</text><text x="%.1f" y="%.0f" text-anchor="end">%v</text>`+"\n</svg>\n", left, y+18, at(x.span()), y+18, x.span())
	return b.String()
}
