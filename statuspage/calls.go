package statuspage

import (
	"fmt"
	"strings"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// call is a notable call and its drawing.
type call struct {
	interceptors.CallSnapshot

	Words, Tone, Why, Link string
	Marks                  []mark
	Lines                  []line
	Spoken                 string // the drawing, for those who do not see it
}

type mark struct {
	X          int
	Tone, Text string
}

type line struct{ From, To int }

const (
	trackWidth = 320
	trackEdge  = 8
)

func (v *view) calls(all []interceptors.CallSnapshot, linked bool) {
	for i, c := range all {
		if i == maxShown {
			break
		}
		words, known := outcomes[c.Outcome]
		if !known {
			words = [2]string{c.Outcome, "warn"}
		}
		one := call{CallSnapshot: c, Words: words[0], Tone: words[1], Why: whyNot(c)}
		if linked {
			one.Link = link(c.Target, c.Method)
		}
		one.draw()
		v.Calls = append(v.Calls, one)
	}
}

// draw places the attempts by when they ended.
func (c *call) draw() {
	if len(c.Trail) == 0 {
		return
	}
	first, last := c.Trail[0].Time, c.Trail[len(c.Trail)-1].Time
	whole := max(last.Sub(first), time.Millisecond)
	var spoken []string
	for i, a := range c.Trail {
		x := trackEdge + int(float64(trackWidth-2*trackEdge)*float64(a.Time.Sub(first))/float64(whole))
		tone := "bad"
		if a.Code == "OK" {
			tone = "ok"
		}
		text := fmt.Sprintf("attempt %d (%s): %s", a.Number, a.Kind, a.Code)
		if a.Delay > 0 {
			text += ", then a backoff of " + span(time.Duration(a.Delay))
		}
		if i > 0 {
			c.Lines = append(c.Lines, line{c.Marks[i-1].X, x})
		}
		c.Marks = append(c.Marks, mark{x, tone, text})
		spoken = append(spoken, text)
	}
	c.Spoken = strings.Join(spoken, "; ")
}

// Attempted says how often the call was tried.
func (c *call) Attempted() string {
	switch {
	case c.Attempts == 0:
		return "not tried"
	case c.Hedges > 0:
		return fmt.Sprintf("%s, %d of them hedges", plural(c.Attempts, "attempt", "attempts"), c.Hedges)
	case c.Waited > 0:
		return fmt.Sprintf("%s, %s of backoff", plural(c.Attempts, "attempt", "attempts"), span(time.Duration(c.Waited)))
	}
	return plural(c.Attempts, "attempt", "attempts")
}
