package verdict

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
)

var update = flag.Bool("update", false, "write the golden table anew")

// rows are the ends that an attempt can have, by what an interceptor sees of
// them; a real server or client makes each in the tests of interceptors.
var rows = []struct {
	name string
	a    Attempt
}{
	{"unary: OK", Attempt{Code: codes.OK, Evidence: true, Sent: true}},
	{"unary: refused connection", Attempt{Code: codes.Unavailable, Evidence: true}},
	{"unary: refused connection, none yet", Attempt{Code: codes.Unavailable, Evidence: true, Down: true}},
	{"unary: no connection in time, wait-for-ready", Attempt{Code: codes.DeadlineExceeded, Caller: Expired, Evidence: true, Down: true, Patient: true}},
	{"unary: connection lost", Attempt{Code: codes.Unavailable, Evidence: true, Sent: true}},
	{"unary: server says UNAVAILABLE", Attempt{Code: codes.Unavailable, Evidence: true, Sent: true, Trailer: true}},
	{"unary: server says NOT_FOUND", Attempt{Code: codes.NotFound, Evidence: true, Sent: true, Trailer: true}},
	{"unary: server says NOT_FOUND, after a header", Attempt{Code: codes.NotFound, Evidence: true, Sent: true}},
	{"unary: server says 1042", Attempt{Code: 1042, Evidence: true, Sent: true, Trailer: true}},
	{"unary: server says UNAVAILABLE, after a header", Attempt{Code: codes.Unavailable, Evidence: true, Sent: true, Header: true, Trailer: true}},
	{"unary: server says CANCELLED", Attempt{Code: codes.Canceled, Evidence: true, Sent: true, Trailer: true}},
	{"unary: server says RESOURCE_EXHAUSTED", Attempt{Code: codes.ResourceExhausted, Evidence: true, Sent: true, Trailer: true}},
	{"unary: server says DEADLINE_EXCEEDED", Attempt{Code: codes.DeadlineExceeded, Evidence: true, Sent: true, Trailer: true}},
	{"unary: server says INTERNAL", Attempt{Code: codes.Internal, Evidence: true, Sent: true, Trailer: true}},
	{"unary: attempt timeout while served", Attempt{Code: codes.DeadlineExceeded, Evidence: true, Sent: true}},
	{"unary: attempt timeout without connection", Attempt{Code: codes.DeadlineExceeded, Evidence: true, Down: true}},
	{"unary: attempt timeout without stream", Attempt{Code: codes.DeadlineExceeded, Evidence: true}},
	{"unary: caller's deadline", Attempt{Code: codes.DeadlineExceeded, Caller: Expired, Evidence: true, Sent: true}},
	{"unary: caller's deadline, spent in our queue", Attempt{Code: codes.DeadlineExceeded, Caller: Expired, Hurried: true, Evidence: true, Sent: true}},
	{"unary: caller's deadline without stream", Attempt{Code: codes.DeadlineExceeded, Caller: Expired, Evidence: true}},
	{"unary: caller's deadline without connection", Attempt{Code: codes.DeadlineExceeded, Caller: Expired, Evidence: true, Down: true}},
	{"unary: caller cancelled", Attempt{Code: codes.Canceled, Caller: Cancelled, Evidence: true, Sent: true}},
	{"unary: reply, then UNAVAILABLE", Attempt{Code: codes.Unavailable, Evidence: true, Sent: true, Message: true}},
	{"unary: message cannot be encoded", Attempt{Code: codes.Internal, Evidence: true, Sent: true, Local: true}},
	{"unary: reply too large", Attempt{Code: codes.ResourceExhausted, Evidence: true, Sent: true, Header: true, Local: true}},
	{"unary: bad metadata", Attempt{Code: codes.Internal, Evidence: true}},
	{"unary: no token", Attempt{Code: codes.Unauthenticated, Evidence: true}},
	{"unary: an invoker without connection, NOT_FOUND", Attempt{Code: codes.NotFound}},
	{"unary: an invoker without connection, UNAVAILABLE", Attempt{Code: codes.Unavailable}},
	{"unary: an invoker without connection, DEADLINE_EXCEEDED", Attempt{Code: codes.DeadlineExceeded}},
	{"stream: connection lost unanswered", Attempt{Code: codes.Unavailable, Stream: true, Evidence: true, Sent: true}},
	{"stream: connection lost, answered", Attempt{Code: codes.Unavailable, Stream: true, Evidence: true, Sent: true, Header: true}},
	{"stream: caller's deadline, answered", Attempt{Code: codes.DeadlineExceeded, Caller: Expired, Stream: true, Evidence: true, Sent: true, Header: true}},
	{"stream: caller's deadline, unanswered", Attempt{Code: codes.DeadlineExceeded, Caller: Expired, Stream: true, Evidence: true, Sent: true}},
	{"stream: INTERNAL, answered", Attempt{Code: codes.Internal, Stream: true, Evidence: true, Sent: true, Header: true}},
	{"stream: UNAVAILABLE after a long silent life", Attempt{Code: codes.Unavailable, Stream: true, Old: true, Evidence: true, Sent: true}},
	{"stream: server says NOT_FOUND", Attempt{Code: codes.NotFound, Stream: true, Evidence: true, Sent: true, Trailer: true}},
	{"unary: NOT_FOUND that a classifier retries", Attempt{Code: codes.NotFound, Evidence: true, Sent: true, Trailer: true, Ruling: Again}},
	{"unary: UNAVAILABLE that a classifier stops", Attempt{Code: codes.Unavailable, Evidence: true, Sent: true, Trailer: true, Ruling: Stop}},
	{"unary: NOT_FOUND that a classifier counts as failure", Attempt{Code: codes.NotFound, Evidence: true, Sent: true, Trailer: true, Ruling: Failure}},
	{"unary: UNAVAILABLE that a classifier counts as success", Attempt{Code: codes.Unavailable, Evidence: true, Sent: true, Trailer: true, Ruling: Success}},
	{"stream: SendMsg refuses a message", Attempt{Code: codes.Internal, Stream: true, Evidence: true, Sent: true, Local: true}},
}

func (o Origin) name() string {
	return [...]string{"server", "connection", "client", "caller"}[o]
}

func (w Weight) name() string { return [...]string{"nothing", "good", "bad"}[w] }

func (f Fate) name() string { return [...]string{"unsent", "answered", "unknown", "ran"}[f] }

// TestTable holds the whole table to a text that people read.
func TestTable(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-56s %-10s %-8s %-8s %-6s %-9s %s\n", "end of an attempt", "origin", "breaker", "limit", "budget", "fate", "repeated by")
	for _, r := range rows {
		r.a.Failures = astracodes.Failure
		v := Of(r.a)
		earns, repeat := "", "nobody"
		if v.Earns {
			earns = "earns"
		}
		for i, name := range []string{"unsent", "answered", "any"} {
			if (v.May(Repeat(i)) || v.Again) && !v.Final {
				repeat = name
				break
			}
		}
		if v.CutOff {
			repeat += "; the breaker opens until there is a connection"
		}
		if v.Lost {
			repeat += ", one event"
		}
		line := fmt.Sprintf("%-56s %-10s %-8s %-8s %-6s %-9s %s", r.name, v.Origin.name(), v.Breaker.name(), v.Limit.name(), earns, v.Fate.name(), repeat)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	const golden = "testdata/table.txt"
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the table has changed (-update writes it anew):\n%s", b.String())
	}
	page, err := os.ReadFile("../../docs/verdicts.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```text\n"+b.String()+"```") {
		t.Error("docs/verdicts.md has another table than testdata/table.txt: copy it")
	}
}

// TestBounds: whatever the evidence, some things never happen.
func TestBounds(t *testing.T) {
	for bits := range 1 << 9 {
		has := func(i int) bool { return bits>>i&1 == 1 }
		for code := codes.OK; code <= codes.Unauthenticated; code++ {
			for caller := Waiting; caller <= Expired; caller++ {
				a := Attempt{Code: code, Failures: astracodes.Failure, Caller: caller, Evidence: has(0), Sent: has(1), Header: has(2),
					Message: has(3), Trailer: has(4), Local: has(5), Hurried: has(6), Stream: has(7), Old: has(8)}
				v := Of(a)
				switch {
				case caller == Cancelled && code != codes.OK && (v.Breaker != Nothing || v.Limit != Nothing || v.Earns):
					t.Fatalf("%+v: a call that its caller cancelled counts: %+v", a, v)
				case a.Local && code != codes.OK && (v.Breaker != Nothing || v.Earns):
					t.Fatalf("%+v: the client's own fault counts: %+v", a, v)
				case a.Evidence && a.Sent && !a.Trailer && v.May(RepeatAnswered):
					t.Fatalf("%+v: a request that may have run is repeated: %+v", a, v)
				case a.Message && !a.Stream && v.May(RepeatAny):
					t.Fatalf("%+v: a request that has run is repeated: %+v", a, v)
				case v.Earns != (v.Breaker == Good):
					t.Fatalf("%+v: budget and breaker disagree: %+v", a, v)
				case v.Breaker == Bad && a.Stream && (a.Header || a.Message) && !ill.Contains(code):
					t.Fatalf("%+v: the end of a stream that was answered counts: %+v", a, v)
				}
			}
		}
	}
}
