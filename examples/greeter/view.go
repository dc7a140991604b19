package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/astra-grpc/astra/observe"
)

const (
	width      = 79 // fits the narrowest of usual terminals
	sparkCells = 60
	sparkTop   = 24 // in a slot: 50 calls/s are 12 and 13 in turn, drawn alike half way up
	eventLines = 6

	entryColumn = 10 // where an event's text begins

	lookEvery = 100 * time.Millisecond
)

// view shows what the ledger has: redrawn in place on a terminal, as lines
// elsewhere.
type view struct {
	ledger   *ledger
	out      io.Writer
	terminal bool
	palette  palette
	story    []act
	length   time.Duration // of the story
	burst    float64       // what a full budget holds; 0: there is none
	pace     float64

	generation uint64 // of policies that burst is of
	again      func() float64
}

// watch shows the story until done is closed, then once more what it came to.
func (v *view) watch(done <-chan struct{}) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	show, leave := v.lines()
	if v.terminal {
		show, leave = v.frames()
	}
	defer leave()
	for {
		show(v.look())
		select {
		case <-look.C:
		case <-done:
			show(v.look())
			return
		}
	}
}

func (v *view) look() glimpse {
	g := v.ledger.glimpse()
	if g.generation != v.generation && v.again != nil {
		v.generation, v.burst = g.generation, v.again()
	}
	return g
}

func (v *view) frames() (show func(glimpse), leave func()) {
	s := &screen{out: v.out}
	return func(g glimpse) { s.draw(v.frame(g)) }, s.leave
}

// lines shows events as they come, and numbers once a second; those of streams
// once a second of the story, if there are new ones.
func (v *view) lines() (show func(glimpse), leave func()) {
	printed, next := 0, time.Second
	second := time.Duration(float64(time.Second) / v.pace)
	streams, nextStreams := streamCounts{}, second
	return func(g glimpse) {
		for _, e := range g.journal.after(printed) {
			fmt.Fprintf(v.out, "%6.1f s  %s\n", e.at.Seconds(), mark(e.kind)+e.text)
		}
		printed = g.journal.written
		if g.at >= next {
			next = g.at.Truncate(time.Second) + time.Second
			fmt.Fprintf(v.out, "%6.1f s  %s\n", g.at.Seconds(), v.line(g))
		}
		if g.at >= nextStreams && g.streams != streams {
			nextStreams, streams = g.at.Truncate(second)+second, g.streams
			fmt.Fprintf(v.out, "%6.1f s  %s\n", g.at.Seconds(), streamLine(streams))
		}
	}, func() {}
}

func mark(k entryKind) string {
	switch k {
	case entryAct:
		return "== "
	case entryBreaker, entrySuite:
		return "** "
	}
	return "   "
}

func (v *view) line(g glimpse) string {
	n := &g.last
	line := fmt.Sprintf("breaker %-9s %3d calls/s: %d first try, %d after retry, %d cached, %d failed; amplification %s, budget %s",
		g.breaker+",", v.perSecond(n.calls), v.perSecond(n.outcomes[observe.SuccessFirst]), v.perSecond(n.outcomes[observe.SuccessAfterRetry]),
		v.perSecond(n.cached()), v.perSecond(n.failed()), amplification(n), v.budget(g.tokens, "/"))
	if len(g.backends) > 0 {
		line += "; " + shares(g)
	}
	return line
}

func (v *view) budget(tokens float64, of string) string {
	if v.burst == 0 {
		return "off"
	}
	return fmt.Sprintf("%.1f%s%.0f", tokens, of, v.burst)
}

func streamLine(n streamCounts) string {
	return fmt.Sprintf("streams so far: %d done, %d retried before the first message, %d resumed after one, %s replayed",
		n.done, n.retried, n.resumed, plural(n.replayed, "message"))
}

// perSecond turns a number of the last second, as the story counts it, into a
// rate.
func (v *view) perSecond(n int) int { return int(float64(n)*v.pace + 0.5) }

func amplification(n *counts) string {
	if n.calls == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", float64(n.attempts)/float64(n.calls))
}

// frame is the whole view, always of the same height.
func (v *view) frame(g glimpse) []string {
	p, n := v.palette, &g.last
	total := func(n int, paint func(string) string) string {
		s := pad(strconv.Itoa(n), -4)
		if n == 0 {
			return p.dim(s)
		}
		return paint(s)
	}
	number := func(n int, paint func(string) string) string { return total(v.perSecond(n), paint) }
	full, empty := fill(20, g.tokens/max(v.burst, 1), "█", "░")
	lines := []string{
		v.acts(g),
		v.progress(g.at),
		" " + aboutAct(g.act),
		"",
		" breaker  " + v.breaker(g.breaker) + p.dim("retry budget  ") + v.level(g.tokens)(full) + p.dim(empty) +
			"  " + v.budget(g.tokens, " of "),
		" traffic  " + number(n.calls, p.bold) + " calls/s    " + number(n.attempts, p.blue) + " attempts/s    amplification " + p.bold(amplification(n)),
		" answers  " + number(n.outcomes[observe.SuccessFirst], p.green) + " first try  " +
			number(n.outcomes[observe.SuccessAfterRetry], p.green) + " after retry   " +
			number(n.cached(), p.yellow) + " cached   " + number(n.failed(), p.red) + " failed",
		v.backendsLine(g),
		" streams  " + total(g.streams.done, p.bold) + " done       " + total(g.streams.retried, p.green) + " retried early " +
			total(g.streams.resumed, p.green) + " resumed  " + total(g.streams.replayed, p.green) + " msgs replayed",
		"",
	}
	lines = append(lines, v.sparklines(g)...)
	lines = append(lines, "")
	return append(lines, v.events(g.journal)...)
}

// acts names the acts, the present one marked, and the time at the right.
func (v *view) acts(g glimpse) string {
	var plain, painted []string
	for _, a := range v.story {
		if a.name == g.act {
			plain = append(plain, "▸"+a.name)
			painted = append(painted, v.palette.bold("▸"+a.name))
			continue
		}
		plain = append(plain, a.name)
		painted = append(painted, v.palette.dim(a.name))
	}
	clock := fmt.Sprintf("%.1f of %.0f s", min(g.at, v.length).Seconds(), v.length.Seconds())
	space := width - 1 - len([]rune(strings.Join(plain, "  ")))
	return " " + strings.Join(painted, "  ") + pad(clock, -space)
}

func (v *view) progress(at time.Duration) string {
	done, rest := fill(width-1, float64(at)/float64(v.length), "━", "─")
	return " " + v.palette.blue(done) + v.palette.dim(rest)
}

func (v *view) breaker(state string) string {
	s, p := pad("● "+state, 17), v.palette
	switch state {
	case observe.BreakerClosed.String():
		return p.green(s)
	case observe.BreakerHalfOpen.String():
		return p.yellow(s)
	case observe.BreakerOpen.String():
		return p.red(s)
	}
	return p.dim(s)
}

func (v *view) level(tokens float64) func(string) string {
	switch p := v.palette; {
	case tokens < v.burst/5:
		return p.red
	case tokens < v.burst/2:
		return p.yellow
	default:
		return p.green
	}
}

// sparklines draws the recent past, all to one scale.
func (v *view) sparklines(g glimpse) []string {
	rows := []struct {
		name  string
		paint func(string) string
		of    func(*counts) int
	}{
		{"goodput", v.palette.green, (*counts).goodput},
		{"attempts", v.palette.blue, func(n *counts) int { return n.attempts }},
		{"cached", v.palette.yellow, (*counts).cached},
	}
	past := g.slots[max(0, len(g.slots)-sparkCells):]
	var lines []string
	for _, r := range rows {
		values := make([]int, len(past))
		for i := range past {
			values[i] = r.of(&past[i])
		}
		lines = append(lines, " "+pad(r.name, 9)+r.paint(pad(sparks(values, sparkTop), sparkCells))+
			pad(strconv.Itoa(v.perSecond(r.of(&g.last))), -5)+"/s")
	}
	return lines
}

func (v *view) events(j journal) []string {
	lines := make([]string, 0, eventLines)
	for _, e := range j.entries[max(0, len(j.entries)-eventLines):] {
		text := clip(e.text, width-entryColumn)
		switch e.kind {
		case entryAct:
			text = v.palette.blue(text)
		case entryBreaker, entrySuite:
			text = v.palette.bold(text)
		}
		lines = append(lines, v.palette.dim(fmt.Sprintf("%6.1f s  ", e.at.Seconds()))+text) // entryColumn wide
	}
	for len(lines) < eventLines {
		lines = append(lines, "")
	}
	return lines
}
