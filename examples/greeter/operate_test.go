package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// down starts a server that answers nothing.
func down(t *testing.T) *flakyserver.Server {
	t.Helper()
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.SetDown(flakyserver.Fail(codes.Unavailable, "down"))
	return server
}

func write(t *testing.T, path, text string) {
	t.Helper()
	// As editors do: never half-written.
	if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
}

const threeTimes = `methodConfig:
- name: [{}]
  astra:
    retry: {maxAttempts: 3, backoff: {base: 1ms}}
    budget: {burst: 70, minPerSecond: 1000}
    breaker: {disabled: true}
`

// TestEditedConfig: what the file says holds while the program runs, and the
// view says so; of a file with faults nothing holds.
func TestEditedConfig(t *testing.T) {
	t.Parallel()
	server := down(t)
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, threeTimes)
	p := start(t, "-target", server.Addr(), "-config", path)
	p.await(t, "from "+path+": edit it")
	p.await(t, `generation 2\n(?s:.*)amplification 3\.00, budget \d+\.\d/70\n`)

	write(t, path, strings.NewReplacer("maxAttempts: 3", "maxAttempts: 2", "burst: 70", "burst: 40").Replace(threeTimes))
	p.await(t, `\*\* policies replaced: generation 3\n(?s:.*)amplification 2\.00, budget \d+\.\d/40\n`)

	write(t, path, strings.NewReplacer("maxAttempts: 3", "maxAttempts: 0", "burst: 70", "burst: -1").Replace(threeTimes))
	p.await(t, `\*\* bad file, line 4: maxAttempts: 0 .*want .*\n(?s:.*)amplification 2\.00, budget \d+\.\d/40\n`)
	p.stop()
	p.exits(t, 0)
	if text := p.stdout.String(); strings.Contains(text, "generation 4") || strings.Count(text, "bad file") != 1 {
		t.Errorf("the file with faults was taken, or written twice:\n%s", text)
	}
}

func TestFaultyConfig(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, path, strings.NewReplacer("maxAttempts: 3", "maxAttempts: 0", "burst: 70", "bust: 1").Replace(threeTimes))
	p := start(t, "-config", path)
	p.exits(t, 1)
	for _, want := range []string{path + ":4:", "retry.maxAttempts: 0", path + ":5:", "did you mean burst?"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("no %q in %q", want, &p.stderr)
		}
	}
	nowhere := filepath.Join(filepath.Dir(path), "none", "file")
	for flag, want := range map[string]string{"-config": "choose another with -config", "-state": "does not exist"} {
		p := start(t, flag, nowhere)
		p.exits(t, 1)
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("%s: %q, want %q", flag, &p.stderr, want)
		}
	}
}

// TestDefaultConfig: a file that was not there is written, and says what holds
// without it; one that is there is left alone.
func TestDefaultConfig(t *testing.T) {
	for _, pace := range []float64{1, 3.7, maxPace} {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		p, err := readPolicies(path, pace)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := config.DecodeFile(path)
		if err != nil {
			t.Fatal(err)
		}
		want := demoPolicy(pace)
		if got := doc.Policies(); len(got) != 1 || !reflect.DeepEqual(got["*"], want) {
			t.Errorf("pace %v: %+v, want %+v", pace, got, want)
		}
		if w := doc.Warnings(); len(w) > 0 {
			t.Errorf("pace %v: warnings %v", pace, w)
		}
		if p.burst != want.Budget.Burst || !strings.Contains(p.said, "was not there") {
			t.Errorf("burst %v, said %q", p.burst, p.said)
		}

		write(t, path, threeTimes)
		p, err = readPolicies(path, pace)
		if text, _ := os.ReadFile(path); string(text) != threeTimes || err != nil || p.burst != 70 {
			t.Errorf("burst %v, %v, and the file says %s", p.burst, err, text)
		}
	}
}

func TestBurstOf(t *testing.T) {
	for text, want := range map[string]float64{
		`{"methodConfig": [{"name": [{}], "astra": {"retry": {}}}]}`:                  50,
		`{"methodConfig": [{"name": [{}], "astra": {"budget": {"disabled": true}}}]}`: 0,
		`{"methodConfig": [{"name": [{}], "astra": {"budget": {"burst": 9}}},
			{"name": [{"service": "helloworld.Greeter"}], "astra": {"budget": {"burst": 8}}}]}`: 8,
		`{"methodConfig": [{"name": [{"service": "else"}], "astra": {"budget": {"burst": 9}}}]}`: 50,
	} {
		doc, err := config.Decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := burstOf(doc); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// longOpen keeps a breaker open for longer than the test lasts, however many
// calls it refuses.
const longOpen = `methodConfig:
- name: [{}]
  astra: {retry: {}, breaker: {openFor: 24h}}
`

const killable = "GREETER_TEST_ARGS"

// TestKilledInTheOutage: the process is killed while the breaker is open. In
// the next one it still is, from the first call on.
func TestKilledInTheOutage(t *testing.T) {
	t.Parallel()
	server := down(t)
	dir := t.TempDir()
	policy, state := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "state")
	write(t, policy, longOpen)
	args := []string{"-target", server.Addr(), "-config", policy, "-state", state}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	first, out := exec.CommandContext(ctx, os.Args[0]), &output{}
	first.Env = append(os.Environ(), killable+"="+strings.Join(args, "\n"))
	first.Stdout, first.Stderr = out, out
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	for saved := false; !saved; {
		more := out.next() // at least once a second
		data, _ := os.ReadFile(state)
		saved = bytes.Contains(data, []byte(sayHello))
		select {
		case <-more:
		case <-ctx.Done():
			t.Fatalf("no breaker in %q; it wrote\n%s", data, out)
		}
	}
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // killed
	if want := "breaker closed → open: failures in a row"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in\n%s", want, out)
	}

	before := server.Stats(flakyserver.Any).Attempts
	second := start(t, args...)
	second.await(t, `\*\* breaker open since before the restart: half-open in \d+\.\d s at most\n`)
	second.await(t, "refused by the breaker, and nothing is cached: failed in ")
	second.await(t, "breaker open, ")
	second.stop()
	second.exits(t, 0)
	if n := server.Stats(flakyserver.Any).Attempts - before; n > 0 || before == 0 {
		t.Errorf("%d attempts reached the server after the restart, %d before", n, before)
	}
	if text := second.stdout.String(); strings.Contains(text, "closed → open") {
		t.Errorf("it opened anew:\n%s", text)
	}
}

// TestStateOfTheWholeShow: a server of its own is another one in each run, but
// its breaker is the same.
func TestStateOfTheWholeShow(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	p := start(t, "-pace", fast, "-state", state)
	p.await(t, `breaker closed → open(?s:.*)breaker half-open → open`)
	p.stop()
	p.exits(t, 0)
	p = start(t, "-pace", fast, "-state", state)
	p.await(t, `breaker open since before the restart: half-open (in|at once)`)
	p.await(t, `breaker half-open → closed: the probe was answered`)
	p.stop()
	p.exits(t, 0)
	if s := p.stderr.String(); s != "" {
		t.Errorf("stderr: %s", s)
	}
}

// TestEventsOfNoCall: what a store reports of a breaker comes without a call.
func TestEventsOfNoCall(t *testing.T) {
	books := newLedger(1)
	books.openUntil = time.Now().Add(1450 * time.Millisecond)
	restored := observe.Event{Kind: observe.BreakerChange, To: observe.BreakerOpen, Reason: observe.ReasonRestored}
	books.event(t.Context(), restored)
	streamBook{books, sayHelloServerStream}.event(t.Context(), restored)
	books.openUntil = time.Time{}
	books.event(t.Context(), restored)
	var written []string
	for _, e := range books.glimpse().journal.entries {
		written = append(written, e.text)
	}
	want := []string{"breaker open since before the restart: half-open in 1.4 s at most", "breaker open since before the restart: half-open at once"}
	if fmt.Sprint(written) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", written, want)
	}
}

// TestSuitesWarningsAreTold: in the journal, but not what a SuiteEvent has said.
func TestSuitesWarningsAreTold(t *testing.T) {
	books := newLedger(1)
	err := errors.New("one\ntwo")
	books.SuiteEvent(observe.SuiteEvent{Kind: observe.Reloaded, Result: observe.ResultFailed, Err: err})
	books.SuiteEvent(observe.SuiteEvent{Kind: observe.StateSaved, Result: observe.ResultFailed, Err: err})
	log := books.logger()
	log.Error("astra: faults", "err", err)
	log.Info("astra: unimportant")
	log.Warn("astra: state cannot be saved", "path", "p", "err", errors.New("full"))
	var written []string
	for _, e := range books.glimpse().journal.entries {
		written = append(written, e.text)
	}
	if want := []string{"bad file, one", "state cannot be saved: full"}; fmt.Sprint(written) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", written, want)
	}
}
