package statuspage

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// What observe's reasons mean, to somebody who has been woken by them.

var breakerWhy = map[string]string{
	"consecutive":     "calls failed one after another",
	"failure_rate":    "too large a share of the calls failed",
	"failure_balance": "failures came faster than successes could outweigh",
	"slow_rate":       "too large a share of the calls was slow",
	"probe_failed":    "the last probe failed",
	"open_time_over":  "its open time is over",
	"enough_refused":  "enough calls were refused to try one early",
	"recovered":       "probes succeeded",
	"restored":        "it was so when the process before this one ended",
	"fleet":           "other instances opened theirs",
	"by_hand":         "somebody did it by hand",
}

var notRetried = map[string]string{
	"deadline":      "The call had no time left for another attempt and the backoff before it.",
	"pushback":      "The server said not to try again.",
	"committed":     "Part of the answer had been handed to the caller.",
	"budget":        "The retry budget of the target was empty.",
	"breaker":       "The breaker had opened meanwhile.",
	"buffer":        "The stream had sent more than Retry.BufferBytes keeps to be sent again.",
	"ambiguous":     "The request may have run, and Retry.Repeat does not repeat it then.",
	"breaker_open":  "The breaker refused it: no attempt was made.",
	"queue_full":    "The limit refused it: its queue was full.",
	"queue_timeout": "The limit refused it: it had waited as long as it may.",
	"rate_limited":  "The limit refused it: its rate was used up.",
}

// whyNot answers "why was this call not retried?".
func whyNot(c interceptors.CallSnapshot) string {
	switch {
	case c.Outcome == "success_after_retry" || c.Outcome == "success_hedge":
		return "It was, and that saved it."
	case c.Exhausted && c.Attempts == 1:
		return "Its policy makes one attempt (Retry.MaxAttempts)."
	case c.Exhausted:
		return fmt.Sprintf("It was: all %d attempts failed (Retry.MaxAttempts).", c.Attempts)
	case c.Reason == "not_retryable":
		return c.Code + " is not among the codes that its policy retries (Retry.Codes)."
	case c.Code == "CANCELLED" && c.Reason == "":
		return "Its caller had gone."
	case notRetried[c.Reason] != "":
		return notRetried[c.Reason]
	case c.Reason != "":
		return "Reason: " + c.Reason + "."
	}
	return "Its time was over."
}

var outcomes = map[string][2]string{ // words, tone
	"success_after_retry": {"saved by a retry", "ok"},
	"success_hedge":       {"saved by a hedge", "ok"},
	"failed":              {"failed", "bad"},
	"rejected_breaker":    {"refused by the breaker", "warn"},
	"rejected_limit":      {"refused by the limit", "warn"},
	"fallback":            {"answered by the fallback", "warn"},
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := time.Since(t)
	if d < 0 {
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

// span is a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatFloat(float64(d)/1e6, 'g', 2, 64) + " ms"
	case d < time.Second:
		return strconv.Itoa(int(d.Milliseconds())) + " ms"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + " h"
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
func clock(t time.Time) string { return t.Format("15:04:05 MST") }

// num groups the digits of large numbers.
func num(v any) string {
	text := fmt.Sprint(v)
	if f, ok := v.(float64); ok {
		text = strconv.FormatFloat(f, 'f', -1, 64)
		if f != float64(int64(f)) {
			return strconv.FormatFloat(f, 'f', 1, 64)
		}
	}
	var parts []string
	for len(text) > 3 {
		parts = append([]string{text[len(text)-3:]}, parts...)
		text = text[:len(text)-3]
	}
	return strings.Join(append([]string{text}, parts...), "\u202f")
}
