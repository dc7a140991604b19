package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/astra-grpc/astra/observe"
)

// summary is what remains of a story: a column for each act, and their total.
type summary struct {
	acts    []*tally
	streams streamCounts
	arrived int // attempts in all, as the server counted them; -1: not known
	url     string
	early   bool // ended before its time
	palette palette
}

func (s *summary) total() *tally {
	all := &tally{name: "total", seen: s.arrived}
	for _, a := range s.acts {
		all.add(a.counts)
		all.took = append(all.took, a.took...)
	}
	return all
}

func (s *summary) print(out io.Writer) {
	all := s.total()
	title := "The story in numbers"
	if s.early {
		title = "Stopped early; the story so far"
	}
	fmt.Fprintf(out, "\n%s\n\n", s.palette.bold(title))
	for i, row := range s.rows(all) {
		if i == 0 {
			row = s.palette.dim(row)
		}
		fmt.Fprintln(out, row)
	}
	fmt.Fprintf(out, "\nOf %d calls servers answered %d at the first attempt and %d after a retry,\nthe cache %d; %d failed.\n",
		all.calls, all.outcomes[observe.SuccessFirst], all.outcomes[observe.SuccessAfterRetry], all.cached(), all.failed())
	if text := s.balanced(); text != "" {
		fmt.Fprintln(out, text)
	}
	if s.streams != (streamCounts{}) {
		fmt.Fprintln(out, s.streamed())
	}
	if s.arrived >= 0 {
		fmt.Fprintln(out, s.agreement(all))
	}
	fmt.Fprintf(out, `
Amplification and outcomes in PromQL (scrape %s):
    sum(rate(astra_retry_attempts_total[1m]))
  / sum(rate(astra_retry_calls_total[1m]))

    sum by (outcome) (rate(astra_retry_calls_total[1m]))
`, s.url)
}

const (
	labelWidth  = 18
	columnWidth = 6 // or the name's, and one between
)

func (s *summary) rows(all *tally) []string {
	columns := append(slices.Clone(s.acts), all)
	var rows []string
	row := func(label string, cell func(*tally) string) {
		var b strings.Builder
		b.WriteString(pad(label, labelWidth))
		for _, t := range columns {
			b.WriteString(pad(cell(t), -1-max(columnWidth, len(t.name))))
		}
		rows = append(rows, b.String())
	}
	count := func(label string, of func(*tally) int) {
		row(label, func(t *tally) string { return strconv.Itoa(of(t)) })
	}
	outcome := func(label string, o observe.Outcome) {
		count(label, func(t *tally) int { return t.outcomes[o] })
	}
	row("", func(t *tally) string { return t.name })
	count("calls", func(t *tally) int { return t.calls })
	count("client's attempts", func(t *tally) int { return t.attempts })
	if s.arrived >= 0 {
		count("server's attempts", func(t *tally) int { return t.seen })
	}
	row("attempts ÷ calls", func(t *tally) string { return amplification(&t.counts) })
	outcome("answered first try", observe.SuccessFirst)
	outcome("saved by a retry", observe.SuccessAfterRetry)
	outcome("saved by fallback", observe.Rescued)
	count("failed", func(t *tally) int { return t.failed() })
	count("refused by breaker", func(t *tally) int { return t.refused })
	row("unary latency p50", func(t *tally) string { return quantile(t.took, 0.50) })
	row("unary latency p99", func(t *tally) string { return quantile(t.took, 0.99) })
	return rows
}

// balanced describes what became of the backend that went bad.
func (s *summary) balanced() string {
	for _, a := range s.acts {
		if a.bad.all > 0 {
			return fmt.Sprintf("While backend %s was bad it got %d of %s; %s of the act failed.",
				backendName(badBackend), a.bad.met, plural(a.bad.all, "attempt"), plural(a.failed(), "call"))
		}
	}
	return ""
}

// streamed describes the streams among the calls.
func (s *summary) streamed() string {
	n := &s.streams
	text := fmt.Sprintf("Of all calls %d were streams that ended well. Cut, they were retried %s\nbefore the first message, resumed %s after it, and sent %s again.",
		n.done, plural(n.retried, "time"), plural(n.resumed, "time"), plural(n.replayed, "message"))
	if n.notWhole > 0 {
		return text + "\n" + s.palette.red(fmt.Sprintf("In %s messages were missing, doubled or out of order.", plural(n.notWhole, "stream")))
	}
	return text + "\n" + s.palette.green("Every message came exactly once, in order.")
}

// agreement compares the two sides' counts.
func (s *summary) agreement(all *tally) string {
	for _, t := range append(slices.Clone(s.acts), all) {
		if t.attempts != t.seen {
			return s.palette.red(fmt.Sprintf("Client and server disagree on the attempts (%s): %d and %d.", t.name, t.attempts, t.seen))
		}
	}
	return s.palette.green(fmt.Sprintf("Client and server agree on the attempts, in every act: %d.", all.attempts))
}

// quantile sorts took.
func quantile(took []time.Duration, q float64) string {
	if len(took) == 0 {
		return "–"
	}
	slices.Sort(took)
	return short(took[min(int(q*float64(len(took))), len(took)-1)])
}
