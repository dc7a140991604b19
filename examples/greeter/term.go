package main

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// isTerminal reports whether a view can redraw itself on w. /dev/null is a
// character device too, but not one to draw on.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// palette paints text, or leaves it alone (https://no-color.org).
type palette struct{ on bool }

func paletteFor(terminal bool) palette { return palette{terminal && os.Getenv("NO_COLOR") == ""} }

func (p palette) sgr(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) bold(s string) string   { return p.sgr("1", s) }
func (p palette) dim(s string) string    { return p.sgr("2", s) }
func (p palette) red(s string) string    { return p.sgr("31", s) }
func (p palette) green(s string) string  { return p.sgr("32", s) }
func (p palette) yellow(s string) string { return p.sgr("33", s) }
func (p palette) blue(s string) string   { return p.sgr("36", s) }

// screen redraws a block of lines in place.
type screen struct {
	out   io.Writer
	lines int // of the block, once drawn
}

const (
	// Without line wrap, what a narrow terminal cuts off does not shift the rest.
	enterScreen = "\x1b[?25l\x1b[?7l"
	leaveScreen = "\x1b[?7h\x1b[?25h"
	clearToEOL  = "\x1b[K"
)

// draw writes the block in one go, so that it does not flicker.
func (s *screen) draw(lines []string) {
	var b strings.Builder
	if s.lines == 0 {
		b.WriteString(enterScreen)
	}
	for range s.lines {
		b.WriteString("\x1b[A")
	}
	b.WriteByte('\r')
	for _, line := range lines {
		b.WriteString(line + clearToEOL + "\n")
	}
	s.lines = len(lines)
	_, _ = io.WriteString(s.out, b.String())
}

// leave gives the terminal back, with the block in it.
func (s *screen) leave() {
	if s.lines > 0 {
		_, _ = io.WriteString(s.out, leaveScreen)
	}
}

// sparks draws a number a cell, between 0, which is blank, and top.
func sparks(values []int, top int) string {
	const blocks = "▁▂▃▄▅▆▇█"
	levels := []rune(blocks)
	var b strings.Builder
	for _, v := range values {
		if v <= 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(levels[min(v*len(levels)/max(top, 1), len(levels)-1)])
	}
	return b.String()
}

// fill returns n cells, of which the share is full.
func fill(n int, share float64, full, empty string) (string, string) {
	have := min(max(int(share*float64(n)+0.5), 0), n)
	return strings.Repeat(full, have), strings.Repeat(empty, n-have)
}

// pad fills up to a width with spaces, on the right, or on the left for a
// negative one.
func pad(s string, width int) string {
	space := strings.Repeat(" ", max(0, max(width, -width)-utf8.RuneCountInString(s)))
	if width < 0 {
		return space + s
	}
	return s + space
}
