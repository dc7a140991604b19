package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if args, ok := os.LookupEnv(killable); ok { // a test wants a process to kill
		os.Exit(run(context.Background(), strings.Split(args, "\n"), os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// program is a run in the background.
type program struct {
	stdout, stderr output
	stop           context.CancelFunc // Ctrl-C
	code           chan int
}

// output is what a program has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed at the next write; nil: nobody waits
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.text.Write(p)
}

// next is closed when something is written.
func (o *output) next() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return o.more
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func start(t *testing.T, args ...string) *program {
	ctx, stop := context.WithCancel(t.Context())
	p := &program{stop: stop, code: make(chan int, 1)}
	var running sync.WaitGroup
	running.Go(func() { p.code <- run(ctx, args, &p.stdout, &p.stderr) })
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return p
}

// await returns the first submatch of a pattern once it is in the output.
func (p *program) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.After(30 * time.Second); ; {
		more := p.stdout.next()
		if m := re.FindStringSubmatch(p.stdout.String()); m != nil {
			return m[len(m)-1]
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("no %q in\n%s%s", pattern, &p.stdout, &p.stderr)
		}
	}
}

func (p *program) exits(t *testing.T, want int) {
	t.Helper()
	select {
	case code := <-p.code:
		if code != want {
			t.Errorf("exit code %d, want %d; it wrote\n%s%s", code, want, &p.stdout, &p.stderr)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("still runs; it wrote\n%s%s", &p.stdout, &p.stderr)
	}
}

// row reads a row of the summary's table.
func row(t *testing.T, text, label string) (cells []int) {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(label) + ` +([\d ]+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no row %q in\n%s", label, text)
	}
	for _, f := range strings.Fields(m[1]) {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		cells = append(cells, n)
	}
	return cells
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, r.Status, err)
	}
	return string(body)
}

const fast = "8" // the story in about 4 s

func TestStory(t *testing.T) {
	t.Parallel()
	p := start(t, "-pace", fast)
	url := p.await(t, `metrics   (http://127\.0\.0\.1:\d+/metrics)`)
	p.await(t, `breaker half-open → closed: the probe was answered`)
	if status := get(t, strings.TrimSuffix(url, "metrics")+"astra/"); !strings.Contains(status, "/helloworld.Greeter/SayHello") || !strings.Contains(status, "refused by the breaker") && !strings.Contains(status, "answered by the fallback") {
		t.Errorf("the status page does not show the outage:\n%s", status)
	}
	page := get(t, url)
	for _, want := range []string{
		`astra_breaker_transitions_total{from="closed",function="/helloworld.Greeter/SayHello",reason="consecutive",target="greeter:///backends"`,
		`astra_retry_calls_total{function="/helloworld.Greeter/SayHello",outcome="fallback"}`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in /metrics:\n%s", want, page)
		}
	}
	p.exits(t, 0)

	text := p.stdout.String()
	if strings.Contains(text, "\x1b") {
		t.Errorf("escape codes in plain output: %q", text)
	}
	if s := p.stderr.String(); s != "" {
		t.Errorf("stderr: %s", s)
	}
	rest := text
	for _, next := range []string{
		"== healthy", "== faults", "the call is saved", "== outage",
		"breaker closed → open: failures in a row", "refused by the breaker: answered from the cache in",
		"breaker half-open → open: the probe failed", "== recovery", "breaker half-open → closed",
		"== backend: ", "backend C is out: ", "== backend C serves again", "backend C is in: ",
		"The story in numbers", "While backend C was bad it got ", "Every message came exactly once, in order.", "Client and server agree on the attempts", "sum(rate(astra_retry_attempts_total",
	} {
		_, after, found := strings.Cut(rest, next)
		if !found {
			t.Fatalf("no %q where it belongs in\n%s", next, text)
		}
		rest = after
	}

	// Without being left alone it gets a fourth: a third of the first attempts.
	m := regexp.MustCompile(`While backend C was bad it got (\d+) of (\d+) attempts; 0 calls of the act failed`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing is said of the bad backend in\n%s", text)
	}
	met, _ := strconv.Atoi(m[1])
	all, _ := strconv.Atoi(m[2])
	if met == 0 || met > 20+all/10 { // seven in a row, and those that were on their way
		t.Errorf("the bad backend met %d of %d attempts", met, all)
	}

	const faults, outage = 1, 2
	client, server := row(t, text, "client's attempts"), row(t, text, "server's attempts")
	if fmt.Sprint(client) != fmt.Sprint(server) {
		t.Errorf("attempts: client %v, server %v", client, server)
	}
	if n := row(t, text, "saved by a retry")[faults]; n == 0 {
		t.Error("no retry saved a call")
	}
	if n := row(t, text, "saved by fallback")[outage]; n == 0 {
		t.Error("the fallback answered nothing in the outage")
	}
	if n := row(t, text, "refused by breaker")[outage]; n == 0 {
		t.Error("the breaker refused nothing in the outage")
	}
	for i, n := range row(t, text, "failed") {
		if n != 0 {
			t.Errorf("column %d: %d calls failed, with an answer in the cache", i, n)
		}
	}
}

func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	server := start(t, "-serve", "127.0.0.1:0", "-pace", fast)
	addr := server.await(t, `go run ./examples/greeter -target (127\.0\.0\.1:\d+)`)
	client := start(t, "-target", addr, "-pace", "6") // slower: it sees the story whole whenever it begins
	client.exits(t, 0)
	server.stop()
	server.exits(t, 0)

	text := client.stdout.String()
	for _, want := range []string{"== faults", "== outage", "== recovery", "breaker closed → open", "breaker half-open → closed", "== streams", "Every message came exactly once"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "server's attempts") {
		t.Error("counts of a server that is another process")
	}
	// Not act by act, which the two begin at different moments; but in all.
	attempts := row(t, text, "client's attempts")
	want := fmt.Sprintf("stopped: %d attempts came", attempts[len(attempts)-1])
	if !strings.Contains(server.stdout.String(), want) {
		t.Errorf("no %q in\n%s", want, &server.stdout)
	}
}

func TestCtrlC(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.await(t, `\d s  breaker closed, +\d+ calls/s`) // whenever the machine gets to it
	p.stop()
	stopped := time.Now()
	p.exits(t, 0)
	if took := time.Since(stopped); took > length(story, 1)/2 { // and not at the story's end
		t.Errorf("it took %v to stop", took)
	}
	for _, want := range []string{"Stopped early; the story so far", "Client and server agree"} {
		if !strings.Contains(p.stdout.String(), want) {
			t.Errorf("no %q in\n%s", want, &p.stdout)
		}
	}
}

func TestCtrlCBeforeTheFirstCall(t *testing.T) {
	t.Parallel()
	p := start(t, "-target", "127.0.0.1:1")
	p.stop()
	p.exits(t, 0)
}

func TestBusyPort(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	for _, flag := range []string{"-metrics", "-serve"} {
		p := start(t, flag, busy.Addr().String())
		p.exits(t, 1)
		got := p.stderr.String()
		want := regexp.MustCompile(`^greeter: cannot serve .+ on ` + busy.Addr().String() + `: .+; choose another address with ` + flag + "\n$")
		if !want.MatchString(got) {
			t.Errorf("%s: %q", flag, got)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := gone.Addr().String()
	_ = gone.Close()
	p := start(t, "-target", addr, "-pace", "10")
	p.exits(t, 1)
	if want := "no call was answered: does a server run on " + addr; !strings.Contains(p.stderr.String(), want) {
		t.Errorf("stderr %q, want %q", &p.stderr, want)
	}
	if strings.Contains(p.stdout.String(), "== ") {
		t.Errorf("it knows of acts:\n%s", &p.stdout)
	}
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"-h", 0, "Usage"},
		{"-verbose", 2, "flag provided but not defined: -verbose"},
		{"now", 2, `unexpected argument "now"`},
		{"-serve 127.0.0.1:0 -target 127.0.0.1:1", 2, "two processes"},
		{"-serve 127.0.0.1:0 -metrics 127.0.0.1:0", 2, "-serve has none"},
		{"-serve 127.0.0.1:0 -config f", 2, "-serve has none"},
		{"-serve 127.0.0.1:0 -state f", 2, "-serve has none"},
		{"-config=", 2, "-config needs the name of a file"},
		{"-state=", 2, "-state needs the name of a file"},
		{"-serve=", 2, "-serve needs an address"},
		{"-target=", 2, "-target needs an address"},
		{"-pace 0.5", 2, "want 1 to 10"},
		{"-pace NaN", 2, "want 1 to 10"},
	} {
		p := start(t, strings.Fields(c.args)...)
		p.exits(t, c.code)
		if got := p.stderr.String(); !strings.Contains(got, c.want) || !strings.Contains(got, "Usage: ") {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
		if got := p.stdout.String(); got != "" {
			t.Errorf("%s: stdout %q", c.args, got)
		}
	}
}
