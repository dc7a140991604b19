package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// bar shows how far a scenario is: redrawn in place on a terminal, else a line
// at its beginning, at each quarter and at its end.
type bar struct {
	out  io.Writer
	live bool

	mu      sync.Mutex
	title   string
	begun   time.Time
	drawn   time.Time
	printed int // quarters, of the plain kind
	closed  bool
}

func newBar(out io.Writer) *bar { return &bar{out: out, live: isTerminal(out), closed: true} }

const (
	barCells  = 30
	eraseLine = "\r\x1b[K"
	// redraw is how often at most.
	redraw = 100 * time.Millisecond
)

func (b *bar) begin(title string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.title, b.begun, b.drawn, b.printed, b.closed = title, time.Now(), time.Time{}, 0, false
	if b.live {
		b.draw(0)
	} else {
		fmt.Fprintf(b.out, "%s ...\n", title)
	}
}

// progress may be called from any goroutine.
func (b *bar) progress(done float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
	case b.live:
		if time.Since(b.drawn) >= redraw {
			b.draw(done)
		}
	default:
		if quarter := int(done * 4); quarter > b.printed && quarter < 4 {
			b.printed = quarter
			fmt.Fprintf(b.out, "%s ... %d %%, %v\n", b.title, quarter*25, b.since())
		}
	}
}

func (b *bar) draw(done float64) {
	b.drawn = time.Now()
	filled := int(min(max(done, 0), 1) * barCells)
	left := ""
	if took := time.Since(b.begun); done > 0.02 && took > time.Second {
		left = fmt.Sprintf(", %v left", time.Duration(float64(took)*(1-done)/done).Round(time.Second))
	}
	fmt.Fprintf(b.out, "%s%s %s%s %3.0f %%%s", eraseLine, b.title, strings.Repeat("━", filled), strings.Repeat("─", barCells-filled), 100*done, left)
}

func (b *bar) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.live {
		fmt.Fprint(b.out, eraseLine)
	} else {
		fmt.Fprintf(b.out, "%s ... %v\n", b.title, b.since())
	}
}

func (b *bar) since() time.Duration { return time.Since(b.begun).Round(time.Second) }

// isTerminal reports whether what is written to w can be redrawn.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // a character device, too
	return err != nil || !os.SameFile(info, null)
}

// colored reports whether to paint (https://no-color.org).
func colored(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }
