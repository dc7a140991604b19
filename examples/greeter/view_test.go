package main

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

var escapes = regexp.MustCompile(`\x1b\[[?0-9;]*[a-zA-Z]`)

// glimpseOf is a moment as full as can be.
func glimpseOf(act string) glimpse {
	n := counts{calls: 50, attempts: 1500, outcomes: [...]int{
		observe.SuccessFirst: 10, observe.SuccessAfterRetry: 20, observe.Failed: 5, observe.RejectedBreaker: 5, observe.Rescued: 10}}
	g := glimpse{at: 12 * time.Second, act: act, last: n, breaker: "half-open", tokens: 4.2}
	for i := range 2 * sparkCells {
		g.slots = append(g.slots, counts{calls: 12, attempts: i % 30})
	}
	g.journal = newJournal(time.Second)
	g.journal.act(g.at, act)
	err := status.Error(codes.ResourceExhausted, "the server has a lot to say about this")
	failed := observe.Event{Attempt: 2, Code: codes.ResourceExhausted, Err: err, Delay: 117 * time.Millisecond, Reason: observe.ReasonBudget}
	for _, kind := range []observe.Kind{observe.BackoffStart, observe.Suppressed, observe.CallEnd} {
		failed.Kind, failed.Outcome = kind, observe.Failed
		g.journal.event(g.at, failed, 117*time.Millisecond)
	}
	failed.Outcome = observe.Rescued
	g.journal.event(g.at, failed, 117*time.Millisecond)
	g.backends, g.last.at = []string{"in", "on trial", "out"}, [...]int{50, 40, 10}
	g.streams = streamCounts{done: 100, retried: 20, resumed: 30, replayed: 999}
	g.journal.event(g.at, observe.Event{Kind: observe.BreakerChange, To: observe.BreakerOpen, Reason: observe.ReasonConsecutive}, 0)
	g.journal.write(entry{g.at, entrySuite, "bad file, " + strings.Repeat("long ", 30)})
	return g
}

// TestFramesFit: every frame has the same height, so that it is redrawn in
// place, and fits a terminal of 80 columns.
func TestFramesFit(t *testing.T) {
	v := &view{story: story, length: length(story, 1), burst: 30, pace: 1, terminal: true, palette: palette{true}}
	height := len(v.frame(glimpse{}))
	if height >= 24 {
		t.Errorf("%d lines do not fit a terminal of 24", height)
	}
	for _, a := range story {
		frame := v.frame(glimpseOf(a.name))
		if len(frame) != height {
			t.Errorf("%s: %d lines, want %d", a.name, len(frame), height)
		}
		for _, line := range frame {
			if n := utf8.RuneCountInString(escapes.ReplaceAllString(line, "")); n > width {
				t.Errorf("%s: %d columns: %s", a.name, n, line)
			}
		}
	}
	text := escapes.ReplaceAllString(strings.Join(v.frame(glimpseOf("outage")), "\n"), "")
	for _, want := range []string{"▸outage", "half-open", "30.00", "4.2 of 30", "breaker closed → open", "████", " 30 resumed", "B ● on trial  40 %", "C ● out       10 %"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestNoColor(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	v := &view{story: story, length: length(story, 1), burst: 30, pace: 1, terminal: true, palette: paletteFor(true)}
	if text := strings.Join(v.frame(glimpseOf("outage")), "\n"); strings.Contains(text, "\x1b") {
		t.Errorf("colours: %q", text)
	}
}

// TestScreenIsGivenBack: the cursor is hidden while frames are drawn, each over
// the one before, and shown again after the last.
func TestScreenIsGivenBack(t *testing.T) {
	var out bytes.Buffer
	v := &view{ledger: newLedger(1), out: &out, story: story, length: length(story, 1), burst: 30, pace: 1, terminal: true}
	done := make(chan struct{})
	close(done)
	v.watch(done)

	text, ok := strings.CutPrefix(out.String(), enterScreen)
	if !ok || !strings.HasSuffix(text, leaveScreen) {
		t.Fatalf("%q", out.String())
	}
	height := len(v.frame(glimpse{}))
	if ups := strings.Count(text, "\x1b[A"); ups == 0 || ups%height != 0 {
		t.Errorf("%d lines up, in frames of %d", ups, height)
	}
}

func TestIsTerminal(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if isTerminal(null) || isTerminal(file) || isTerminal(new(bytes.Buffer)) {
		t.Error("taken for a terminal")
	}
}

func TestJournalTakesExamples(t *testing.T) {
	j := newJournal(time.Second / slotsPerSecond)
	e := observe.Event{Kind: observe.CallEnd, Outcome: observe.SuccessAfterRetry, Attempt: 2}
	for at := time.Duration(0); at < 5*time.Second; at += 100 * time.Millisecond {
		j.event(at, e, time.Millisecond)
	}
	if len(j.entries) != 3 || j.written != 3 {
		t.Errorf("%d of 50 alike in 5 s, want 3", len(j.entries))
	}
	for range 2 * journalKeeps {
		j.write(entry{})
	}
	if n := len(j.after(3)); n != journalKeeps {
		t.Errorf("%d entries, want the %d kept", n, journalKeeps)
	}
	if n := len(j.after(j.written - 2)); n != 2 {
		t.Errorf("%d new entries, want 2", n)
	}
}

// TestKnobsAreTold: what is said of the policy is what it is.
func TestKnobsAreTold(t *testing.T) {
	p := demoPolicy(1)
	for _, want := range []string{
		"Retry.Backoff.Base " + short(p.Retry.Backoff.Base) + " (",
		fmt.Sprintf("Budget.Burst %v (", p.Budget.Burst),
		fmt.Sprintf("Breaker.MaxOpenFor %v s (", p.Breaker.MaxOpenFor.Seconds()),
	} {
		if !strings.Contains(knobs, want) {
			t.Errorf("no %q in %q", want, knobs)
		}
	}
	// The rest is the default, if the demo runs at its own pace.
	p.Retry.Backoff.Base, p.Budget.Burst, p.Breaker.MaxOpenFor = 0, 0, 0
	want := interceptors.Policy{Budget: interceptors.Budget{MinPerSecond: 0.1}, Breaker: interceptors.Breaker{OpenFor: time.Second}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("%+v, want %+v", p, want)
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		4200 * time.Nanosecond:    "4.2 µs",
		71 * time.Microsecond:     "71 µs",
		1700 * time.Microsecond:   "1.7 ms",
		80 * time.Millisecond:     "80 ms",
		1250 * time.Millisecond:   "1.2 s",
		999900 * time.Microsecond: "999 ms",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	var took []time.Duration
	for i := range 100 {
		took = append(took, time.Duration(i+1)*time.Millisecond)
	}
	slices.Reverse(took)
	for q, want := range map[float64]string{0: "1.0 ms", 0.5: "51 ms", 0.99: "100 ms", 1: "100 ms"} {
		if got := quantile(took, q); got != want {
			t.Errorf("%v: %s, want %s", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != "–" {
		t.Errorf("of nothing: %s", got)
	}
}

// A view that looks late, as on a busy machine, misses nothing of the story.
func TestJournalOfAWholeAct(t *testing.T) {
	j := newJournal(time.Second)
	j.act(0, "faults")
	for i := range 500 {
		j.write(entry{at: time.Duration(i), text: "attempt"})
	}
	j.act(time.Second, "outage")
	if all := j.after(0); len(all) != 502 || all[0].kind != entryAct {
		t.Errorf("%d entries of 502 are kept", len(all))
	}
}
