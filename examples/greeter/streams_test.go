package main

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// rig is a client with its books, and a server that has no story.
type rig struct {
	*client
	server *flakyserver.Server
	books  *ledger
}

func newRig(t *testing.T) *rig {
	t.Helper()
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	books := newLedger(1)
	c, err := dial(server.Addr(), []interceptors.Option{interceptors.WithPolicy(demoPolicy(maxPace)), interceptors.WithObserver(books)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return &rig{c, server, books}
}

func (r *rig) written() string {
	var b strings.Builder
	for _, e := range r.books.glimpse().journal.entries {
		b.WriteString(e.text + "\n")
	}
	return b.String()
}

func TestServerStreamsAreWhole(t *testing.T) {
	fail := flakyserver.Fail(codes.Unavailable, "cut")
	for _, c := range []struct {
		name             string
		meets            []flakyserver.Step
		retried, resumed int
		written          string
	}{
		{"not cut", nil, 0, 0, ""},
		{"before the first", []flakyserver.Step{fail, fail}, 2, 0, "stream cut before its first message: retried\n"},
		{"after one", []flakyserver.Step{fail.AfterReplies(1)}, 0, 1, "stream cut after 1 message: resumed after \"Hello Alan #1\"\n"},
		{"after two", []flakyserver.Step{fail.AfterReplies(2)}, 0, 1, "stream cut after 2 messages: resumed after \"Hello Alan #2\"\n"},
		{"after all", []flakyserver.Step{fail.AfterReplies(3)}, 0, 1, "stream cut after 3 messages: resumed after \"Hello Alan #3\"\n"},
		{"among the repeated", []flakyserver.Step{fail.AfterReplies(2), fail.AfterReplies(1)}, 0, 2,
			"stream cut after 2 messages: resumed after \"Hello Alan #2\"\n"},
		{"everywhere", []flakyserver.Step{fail, fail.AfterReplies(1), fail, fail.AfterReplies(2), fail}, 1, 4,
			"stream cut before its first message: retried\n" +
				"stream cut after 1 message: resumed after \"Hello Alan #1\"\n" +
				"stream cut after 2 messages: resumed after \"Hello Alan #2\"\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.server.Script(sayHelloServerStream, c.meets...)
			if err := listen(t.Context(), r, 1); err != nil {
				t.Error(err)
			}
			want := streamCounts{done: 1, retried: c.retried, resumed: c.resumed}
			if got := r.books.glimpse().streams; got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			if got := r.written(); got != c.written {
				t.Errorf("journal:\n%swant:\n%s", got, c.written)
			}
		})
	}
}

func TestClientStreamIsReplayed(t *testing.T) {
	r := newRig(t)
	r.server.Script(sayHelloClientStream, flakyserver.Fail(codes.Unavailable, "died").AfterReceived(2),
		flakyserver.OK().After(20*time.Millisecond)) // a replay that the stream outruns is not reported
	if err := introduce(t.Context(), r, 8); err != nil {
		t.Error(err)
	}
	got := r.books.glimpse().streams
	if got.done != 1 || got.replayed < 2 || got.replayed > party || got.retried+got.resumed > 0 {
		t.Errorf("%+v", got)
	}
	if want := "client stream: " + plural(got.replayed, "message") + " sent again\n"; r.written() != want {
		t.Errorf("journal:\n%swant:\n%s", r.written(), want)
	}
}

// TestStreamsThatFail: their callers see it, and so does the journal.
func TestStreamsThatFail(t *testing.T) {
	r := newRig(t)
	r.server.Always(flakyserver.Any, flakyserver.Fail(codes.Internal, "no"))
	for _, say := range []func(context.Context, greeterpb.GreeterClient, int) error{listen, introduce} {
		if err := say(t.Context(), r, 0); err == nil || errors.Is(err, errNotWhole) {
			t.Errorf("got %v", err)
		}
	}
	if got := r.books.glimpse().streams; got != (streamCounts{}) {
		t.Errorf("%+v", got)
	}
	if want := "stream failed after 1 attempt: INTERNAL\n"; r.written() != want {
		t.Errorf("journal:\n%swant:\n%s", r.written(), want)
	}
}

// TestNotWholeIsTold: nothing hides a stream that brought something else.
func TestNotWholeIsTold(t *testing.T) {
	r := newRig(t)
	r.server.Always(sayHelloServerStream, flakyserver.OK().AfterReplies(2))
	r.server.Always(sayHelloClientStream, flakyserver.OK().AfterReceived(party-1))
	r.books.checked(listen(t.Context(), r, 0))
	r.books.checked(introduce(t.Context(), r, 0))
	if got := r.books.glimpse().streams.notWhole; got != 2 {
		t.Errorf("%d, want 2", got)
	}
	var s summary
	_, s.streams = r.books.results()
	if text := s.streamed(); !strings.Contains(text, "In 2 streams messages were missing") || strings.Contains(text, "exactly once") {
		t.Error(text)
	}
}

func TestResumeGreetings(t *testing.T) {
	ask := func(text string) (string, bool) {
		next, ok := resumeGreetings(t.Context(), &greeterpb.HelloRequest{Name: "Ada"}, &greeterpb.HelloReply{Message: text})
		if !ok {
			return "", false
		}
		return next.(*greeterpb.HelloRequest).GetName(), true
	}
	if name, ok := ask("Hello Ada #12"); name != "Ada@12" || !ok {
		t.Errorf("%q, %v", name, ok)
	}
	if name, ok := ask("Hello Ada"); ok {
		t.Errorf("asks for %q after a greeting without number", name)
	}
}

// TestStreamsInTheStory: all that can happen to them does, and is shown.
func TestStreamsInTheStory(t *testing.T) {
	t.Parallel()
	p := start(t, "-pace", fast)
	p.exits(t, 0)
	text := p.stdout.String()
	m := regexp.MustCompile(`Of all calls (\d+) were streams .+ retried (\d+) times?\n.+ resumed (\d+) times? .+ (\d+) messages? again`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no line for streams in\n%s", text)
	}
	for i, what := range []string{"streams", "retried", "resumed", "replayed"} {
		if n, _ := strconv.Atoi(m[i+1]); n == 0 {
			t.Errorf("%s: none in\n%s", what, text)
		}
	}
	for _, want := range []string{
		"stream cut before its first message: retried", `: resumed after "Hello `, "client stream: ",
		"streams so far: ", "Every message came exactly once, in order.",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := length(story, 1); n > 35*time.Second {
		t.Errorf("the story takes %v", n)
	}
}
