package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc/status"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// entry is an event worth a line.
type entry struct {
	at   time.Duration
	kind entryKind
	text string
}

type entryKind uint8

const (
	entryCall    entryKind = iota // of a call, as an example for many
	entryBreaker                  // a breaker's transition
	entryAct                      // an act begins
	entrySuite                    // of the suite itself
)

// journal keeps the last entries. Of what happens to calls it takes examples:
// each sort once in quiet.
type journal struct {
	quiet   time.Duration
	seen    map[string]time.Duration
	entries []entry
	written int // in all
}

// journalKeeps is more than the whole story writes: what shows it may be late on a
// busy machine, and is to miss nothing. One that runs on for hours is bounded.
const journalKeeps = 4096

func newJournal(slot time.Duration) journal {
	return journal{quiet: 2 * slotsPerSecond * slot, seen: map[string]time.Duration{}}
}

func (j *journal) copy() journal {
	return journal{entries: slices.Clone(j.entries), written: j.written}
}

// after returns the entries that followed the first n, as far as they are kept.
func (j *journal) after(n int) []entry {
	return j.entries[max(0, len(j.entries)-(j.written-n)):]
}

func (j *journal) write(e entry) {
	j.written++
	j.entries = append(j.entries, e)
	if over := len(j.entries) - journalKeeps; over > 0 {
		j.entries = slices.Delete(j.entries, 0, over)
	}
}

func (j *journal) act(at time.Duration, name string) {
	maps.DeleteFunc(j.seen, func(string, time.Duration) bool { return true })
	j.write(entry{at, entryAct, name + ": " + aboutAct(name)})
}

// example writes an entry if there was none of its sort lately.
func (j *journal) example(at time.Duration, sort, text string) {
	if last, ok := j.seen[sort]; ok && at-last < j.quiet {
		return
	}
	j.seen[sort] = at
	j.write(entry{at, entryCall, text})
}

var (
	whyBreaker = map[observe.Reason]string{
		observe.ReasonConsecutive:    "failures in a row",
		observe.ReasonFailureRate:    "too many failures",
		observe.ReasonFailureBalance: "failures outweigh successes",
		observe.ReasonOpenTimeOver:   "time for a probe",
		observe.ReasonEnoughRefused:  "enough calls refused for a probe",
		observe.ReasonProbeFailed:    "the probe failed",
		observe.ReasonRecovered:      "the probe was answered",
	}
	whyNoRetry = map[observe.Reason]string{
		observe.ReasonBudget:   "the budget is empty",
		observe.ReasonBreaker:  "the breaker has opened",
		observe.ReasonDeadline: "the deadline is near",
	}
)

func why(in map[observe.Reason]string, reason observe.Reason) string {
	if text, ok := in[reason]; ok {
		return text
	}
	return reason.String()
}

// event takes down what the suite reports of a call that began took ago.
func (j *journal) event(at time.Duration, e observe.Event, took time.Duration) {
	code := astracodes.Name(e.Code)
	switch e.Kind {
	case observe.BackoffStart:
		said := clip(status.Convert(e.Err).Message(), 18)
		what := "backing off " + short(e.Delay)
		if e.Delay == 0 {
			what = "on to another backend"
		}
		j.example(at, code+said, fmt.Sprintf("attempt %d %s (%s): %s", e.Attempt, code, said, what))
	case observe.Suppressed:
		j.example(at, e.Reason.String(), fmt.Sprintf("attempt %d %s: no retry, %s", e.Attempt, code, why(whyNoRetry, e.Reason)))
	case observe.BreakerChange:
		j.write(entry{at, entryBreaker, fmt.Sprintf("breaker %s → %s: %s", e.From, e.To, why(whyBreaker, e.Reason))})
	case observe.CallEnd:
		refused := errors.Is(e.Err, interceptors.ErrBreakerOpen)
		switch {
		case e.Outcome == observe.SuccessAfterRetry:
			j.example(at, "saved", fmt.Sprintf("attempt %d OK: the call is saved, after %s", e.Attempt, short(took)))
		case e.Outcome == observe.Rescued && refused:
			j.example(at, "refused", "refused by the breaker: answered from the cache in "+short(took))
		case e.Outcome == observe.Rescued:
			j.example(at, "rescued", fmt.Sprintf("attempt %d %s: answered from the cache after %s", e.Attempt, code, short(took)))
		case refused:
			j.example(at, "empty", "refused by the breaker, and nothing is cached: failed in "+short(took))
		case e.Err != nil:
			j.example(at, "failed"+code, fmt.Sprintf("attempt %d %s, and nothing is cached: failed", e.Attempt, code))
		}
	}
}

// clip cuts a text that is longer than n.
func clip(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// short writes a duration with two or three digits.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
