package interceptors_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
)

// rule is a row of the table: a script for the server, a program for the
// caller (see actor.do; empty: the kind's own), and what must come of them.
type rule struct {
	name     string
	kinds    []*streamKind
	script   []flakyserver.Step
	client   string
	attempts int
	final    codes.Code // that RecvMsg returned, OK for io.EOF

	limit int // of the replay buffer; 0: the default

	// Where we differ on purpose: why, and what is ours and native's alone.
	differs, ours, native string
}

// everything is more than any program sends: the attempt ends when the caller
// has half-closed.
const everything = 1 << 20

// bigCost is what a big message takes of a replay buffer: name, its tag and
// length, and the frame's header.
const bigCost = len("m1") + padBytes + 3 + 5

var (
	ok    = flakyserver.OK()
	fail  = flakyserver.Fail(codes.Unavailable, "scripted")
	late  = fail.AfterReceived(everything)
	fatal = flakyserver.Fail(codes.NotFound, "scripted").AfterReceived(everything)
	busy  = flakyserver.Fail(codes.ResourceExhausted, "scripted").AfterReceived(everything)
	reset = flakyserver.Reset()
)

func steps(s ...flakyserver.Step) []flakyserver.Step { return s }

func kinds(k ...*streamKind) []*streamKind { return k }

const (
	unchanged = "the last attempt's error is the caller's, unchanged"
	noWaiting = "a backoff that cannot end before the deadline is not begun, and does not hide the error"
	saysWhen  = "RESOURCE_EXHAUSTED is retried if the server says when"
	inBackoff = "context canceled in the backoff after attempt 1: rpc error: code = Unavailable desc = scripted"
	exhausted = "max retries exhausted: failed after 3 attempts: rpc error: code = Unavailable desc = "
)

var rules = []rule{
	// By the plain client of each kind of stream.
	{name: "served", kinds: each, script: steps(ok.Header("h", "1").Trailer("t", "1")), attempts: 1},
	{name: "trailers-only", kinds: each, script: steps(fail.Trailer("t", "1")), attempts: 2},
	{name: "trailers-only twice, at the half-close", kinds: each, script: steps(late, late, ok.Header("h", "3").Trailer("t", "3")), attempts: 3},
	{name: "not retryable", kinds: each, script: steps(fatal.Trailer("t", "1")), attempts: 1, final: codes.NotFound},
	{name: "not retryable at last", kinds: each, script: steps(fail, fatal), attempts: 2, final: codes.NotFound},
	{name: "attempts exhausted", kinds: each, script: steps(fail, fail.AfterReceived(1), late.Trailer("t", "3")), attempts: 3, final: codes.Unavailable,
		differs: unchanged, ours: "recv: Unavailable scripted; finished: Unavailable scripted",
		native: "recv: Unavailable " + exhausted + "scripted; finished: Unavailable " + exhausted + "scripted"},
	{name: "no server", kinds: each, client: "stop send", attempts: 3, final: codes.Unavailable,
		differs: "grpc-go begins an attempt more for each retry of the creation, and uses one", ours: "3 attempts", native: "5 attempts"},
	{name: "after headers", kinds: each, script: steps(late.Header("h", "1").Trailer("t", "1")), attempts: 1, final: codes.Unavailable},
	{name: "after empty headers", kinds: each, script: steps(late.Header()), attempts: 1, final: codes.Unavailable},
	{name: "after headers of a retry", kinds: each, script: steps(fail, late.Header("h", "2")), attempts: 2, final: codes.Unavailable},
	{name: "after a message", kinds: each, script: steps(late.AfterReplies(1)), attempts: 1, final: codes.Unavailable},
	{name: "connection lost before headers", kinds: each, script: steps(reset, reset.AfterReceived(everything)), attempts: 3},
	{name: "connection lost after headers", kinds: each, script: steps(reset.AfterReceived(everything).Header("h", "1")), attempts: 1, final: codes.Unavailable},
	{name: "connection lost after a message", kinds: each, script: steps(reset.AfterReceived(everything).AfterReplies(1)), attempts: 1, final: codes.Unavailable},
	{name: "connection going away", kinds: each, script: steps(flakyserver.GoAway()), attempts: 1},
	{name: "connection going away on a retry", kinds: each, script: steps(fail, flakyserver.GoAway()), attempts: 2},
	{name: "deadline", kinds: each, script: steps(flakyserver.Hang().AfterReceived(everything)),
		client: "send close got:1 recv& expire join", attempts: 1, final: codes.DeadlineExceeded},

	{name: "pushback 0", kinds: each, script: steps(fail.Pushback("0")), attempts: 2},
	{name: "pushback 5", kinds: each, script: steps(fail.Pushback("5"), fail.Pushback("+05")), attempts: 3},
	{name: "pushback 5, attempts exhausted", kinds: each, script: steps(fail, fail, late.Pushback("5")), attempts: 3, final: codes.Unavailable,
		differs: unchanged, ours: "recv: Unavailable scripted; finished: Unavailable scripted",
		native: "recv: Unavailable " + exhausted + "scripted; finished: Unavailable " + exhausted + "scripted"},
	{name: "pushback 5, not retryable", kinds: each, script: steps(fatal.Pushback("5")), attempts: 1, final: codes.NotFound},
	{name: "pushback 5 after headers", kinds: each, script: steps(late.Header().Pushback("5")), attempts: 1, final: codes.Unavailable},
	{name: "pushback -1", kinds: each, script: steps(late.Pushback("-1")), attempts: 1, final: codes.Unavailable},
	{name: "pushback -1 on a retry", kinds: each, script: steps(fail, late.Pushback("-1")), attempts: 2, final: codes.Unavailable},
	{name: "pushback malformed", kinds: each, script: steps(late.Pushback("soon")), attempts: 1, final: codes.Unavailable},
	{name: "pushback empty", kinds: each, script: steps(late.Pushback("")), attempts: 1, final: codes.Unavailable},
	{name: "pushback 50.0", kinds: each, script: steps(late.Pushback("50.0")), attempts: 1, final: codes.Unavailable},
	{name: "pushback twice", kinds: each, script: steps(late.Pushback("0", "0")), attempts: 1, final: codes.Unavailable},
	{name: "pushback past the deadline", kinds: each, script: steps(late.Pushback("60000")),
		client: "deadline:1s send close all", attempts: 1, final: codes.Unavailable,
		differs: noWaiting, ours: "recv: Unavailable scripted; finished: Unavailable scripted", native: "recv: DeadlineExceeded; finished: DeadlineExceeded"},
	{name: "pushback past 32 bits", kinds: kinds(onBidi), script: steps(late.Pushback("2147483648")),
		client: "deadline:1s send close all", attempts: 1, final: codes.Unavailable,
		differs: "A6 has it malformed; grpc-go waits for weeks",
		ours:    "recv: Unavailable scripted; finished: Unavailable scripted", native: "recv: DeadlineExceeded; finished: DeadlineExceeded"},
	{name: "exhausted resource", kinds: each, script: steps(busy), attempts: 1, final: codes.ResourceExhausted},
	{name: "exhausted resource with pushback", kinds: kinds(onClient), script: steps(busy.Pushback("0")), attempts: 2,
		differs: saysWhen,
		ours:    "2 attempts; attempt 2: previous 1, received 2, OK; recv: Hello m1, m2; recv: EOF; header: map[] ok; trailer: map[]; options: header map[], trailer map[], peer true; finished: ok",
		native:  `1 attempts; recv: ResourceExhausted scripted; header: none ok; trailer: map["grpc-retry-pushback-ms":["0"]]; options: header none, trailer map["grpc-retry-pushback-ms":["0"]], peer true; finished: ResourceExhausted scripted`},
	{name: "exhausted resource with retry info", kinds: kinds(onServer), script: steps(busy.RetryInfo(ms), ok.AfterReplies(1)), attempts: 2,
		differs: saysWhen,
		ours:    "2 attempts; attempt 2: previous 1, received 1, OK; recv: Hello m1 #1; recv: EOF; header: map[] ok; options: header map[], trailer map[], peer true; finished: ok",
		native:  "1 attempts; recv: ResourceExhausted scripted; header: none ok; options: header none, trailer map[], peer true; finished: ResourceExhausted scripted"},

	// During a send, which meets the dead attempt and goes on to the next.
	{name: "during send", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1)), client: "send dead:1 send*2 close all", attempts: 2},
	{name: "during send, twice", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1), fail.AfterReceived(2)),
		client: "send dead:1 send dead:2 send close all", attempts: 3},
	{name: "during send, before any", kinds: kinds(onClient, onBidi), script: steps(fail, fail), client: "new dead:1 send*5 close all", attempts: 3},
	{name: "during send, in the middle of many", kinds: kinds(onClient), script: steps(fail.AfterReceived(10), fail.AfterReceived(50)),
		client: "big*200 close all", attempts: 3},
	{name: "during send, by reset", kinds: kinds(onClient, onBidi), script: steps(reset.AfterReceived(1)), client: "send dead:1 send*2 close all", attempts: 2},
	{name: "during send, not retryable", kinds: kinds(onClient, onBidi), script: steps(fatal.AfterReceived(1)),
		client: "send dead:1 send*2 close all", attempts: 1, final: codes.NotFound},
	{name: "during send, pushback 5", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1).Pushback("5")), client: "send dead:1 send close all", attempts: 2},
	{name: "during send, pushback -1", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1).Pushback("-1")),
		client: "send dead:1 send close all", attempts: 1, final: codes.Unavailable},
	{name: "during send, after headers", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1).Header("h", "1")),
		client: "send dead:1 send close all", attempts: 1, final: codes.Unavailable},
	{name: "during send, after a message not received", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1).AfterReplies(1)),
		client: "send dead:1 send close all", attempts: 1, final: codes.Unavailable},
	{name: "during send, after a message received", kinds: kinds(onBidi), script: steps(fail.AfterReceived(2).AfterReplies(1)),
		client: "send recv send dead:1 send close all", attempts: 1, final: codes.Unavailable},

	{name: "during send, attempts exhausted", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1), fail.AfterReceived(2), fail.AfterReceived(3)),
		client: "send dead:1 send dead:2 send dead:3 send all", attempts: 3, final: codes.Unavailable,
		differs: "grpc-go's error wraps io.EOF, is not it and has no status; callers compare",
		ours:    "send: EOF; finished: Unavailable scripted", native: "send: Unknown; finished: Unknown"},
	{name: "during send, the server has answered", kinds: kinds(onClient, onBidi), script: steps(ok.AfterReceived(1)), client: "send dead:1 send close all", attempts: 1},
	{name: "during send, the server has ended without a word", kinds: kinds(onBidi), script: steps(ok.AfterReceived(1).AfterReplies(0)),
		client: "send dead:1 send close all", attempts: 1},
	{name: "during send, without the answer due", kinds: kinds(onClient), script: steps(ok.AfterReceived(1).AfterReplies(0)),
		client: "send dead:1 send close all", attempts: 1, final: codes.Internal},
	{name: "during send, connection going away", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(2)),
		client: "send goaway send dead:1 send close all", attempts: 2},

	// At CloseSend, which does not find out, and is part of what is sent again.
	{name: "at CloseSend", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1)), client: "send dead:1 close all", attempts: 2},
	{name: "at CloseSend, nothing sent", kinds: kinds(onBidi), script: steps(late), client: "close dead:1 all", attempts: 2},
	{name: "at CloseSend, by reset", kinds: each, script: steps(reset.AfterReceived(1)), client: "send dead:1 close all", attempts: 2},
	{name: "at CloseSend, not retryable", kinds: kinds(onClient, onBidi), script: steps(fatal.AfterReceived(1)),
		client: "send dead:1 close all", attempts: 1, final: codes.NotFound},
	{name: "CloseSend twice", kinds: each, script: steps(late), client: "send close close all", attempts: 2},
	{name: "no answer after CloseSend", kinds: kinds(onClient), script: steps(ok.AfterReplies(0)), attempts: 1, final: codes.Internal},
	{name: "no message after CloseSend", kinds: kinds(onServer), script: steps(late, ok.AfterReplies(0)), attempts: 2},
	{name: "server stream dead before CloseSend", kinds: kinds(onServer), script: steps(fail), client: "send dead:1 close all", attempts: 2},
	{name: "at CloseSend, by reset, connection going away", kinds: each, script: steps(reset.AfterReceived(everything)),
		client: "new come:1 goaway send close all", attempts: 2},

	// While a receiver waits.
	{name: "receiver waiting", kinds: kinds(onBidi), script: steps(fail.AfterReceived(1), fail.AfterReceived(2)), client: "recv& send dead:1 send close join all", attempts: 3},
	{name: "receiver waiting for the end", kinds: kinds(onClient), script: steps(fail.AfterReceived(1), late), client: "recv& send*2 close join all", attempts: 3},
	{name: "receiver waiting, many sent", kinds: kinds(onClient), script: steps(fail.AfterReceived(10), fail.AfterReceived(100)),
		client: "recv& big*200 close join all", attempts: 3},
	{name: "receiver waiting, not retryable", kinds: kinds(onBidi), script: steps(fatal.AfterReceived(1)),
		client: "recv& send join send all", attempts: 1, final: codes.NotFound},
	{name: "receiver waiting, cancelled", kinds: each, script: steps(flakyserver.Hang().AfterReceived(1)),
		client: "send recv& got:1 cancel join", attempts: 1, final: codes.Canceled},
	{name: "receiver in a backoff, cancelled", kinds: each, script: steps(fail.AfterReceived(1).Pushback("10000")),
		client: "send recv& dead:1 backoff:1 cancel join", attempts: 1, final: codes.Canceled,
		differs: "what failed before is reported too", ours: "recv: Canceled " + inBackoff + "; finished: Canceled " + inBackoff, native: "recv: Canceled; finished: Canceled"},

	// Header, Trailer and Context.
	{name: "Header first", kinds: each, script: steps(fail, ok.Header("h", "2")), client: "send header close all", attempts: 2},
	{name: "Header first, by reset", kinds: each, script: steps(reset.AfterReceived(1), ok.Header("h", "2")), client: "send header close all", attempts: 2},
	{name: "Header first, not retryable", kinds: each, script: steps(fatal.AfterReceived(1)), client: "send header all", attempts: 1, final: codes.NotFound},
	{name: "Header first, attempts exhausted", kinds: each, script: steps(fail.AfterReceived(1), fail.AfterReceived(1), fail.AfterReceived(1)),
		client: "send header all", attempts: 3, final: codes.Unavailable,
		differs: unchanged, ours: "finished: Unavailable scripted", native: "finished: Unavailable " + exhausted + "scripted"},
	{name: "Header, commits", kinds: each, script: steps(fail.Header("h", "1").AfterReceived(everything)),
		client: "send header close all", attempts: 1, final: codes.Unavailable},
	{name: "Header first, commits", kinds: kinds(onClient, onBidi), script: steps(late.Header("h", "1")),
		client: "header send close all", attempts: 1, final: codes.Unavailable},
	{name: "Header first, ended without a word", kinds: kinds(onBidi), script: steps(ok), client: "close header all", attempts: 1},
	{name: "Header first, then a send", kinds: kinds(onBidi), script: steps(fatal.AfterReceived(1)), client: "send header send close all", attempts: 1, final: codes.NotFound},
	{name: "Trailer first, commits", kinds: each, script: steps(fail.AfterReceived(1)), client: "trailer send close all", attempts: 1, final: codes.Unavailable},
	{name: "Context first, commits", kinds: each, script: steps(fail.AfterReceived(1)), client: "context send close all", attempts: 1, final: codes.Unavailable},
	{name: "Context of a retry, commits", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1), late),
		client: "send dead:1 send context close all", attempts: 2, final: codes.Unavailable},
	{name: "Context of a dead attempt, commits", kinds: each, script: steps(fail.AfterReceived(1)), client: "send dead:1 context all", attempts: 1, final: codes.Unavailable},
	{name: "Context, then dead to the sender", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1)),
		client: "context send dead:1 send close all", attempts: 1, final: codes.Unavailable},
	{name: "Context, served", kinds: each, script: steps(ok), client: "context send close all", attempts: 1},

	// The replay buffer: a message costs its encoding and 5 bytes.
	{name: "buffer just holds it", kinds: each, script: steps(fail.AfterReceived(1)), client: "big close all", limit: bigCost, attempts: 2},
	{name: "buffer overflows", kinds: each, script: steps(fail.AfterReceived(1)), client: "big close all", limit: bigCost - 1, attempts: 1, final: codes.Unavailable},
	{name: "buffer overflows, served", kinds: each, script: steps(ok), client: "big close all", limit: 10, attempts: 1},
	{name: "buffer holds two", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(2)), client: "big*2 close all", limit: 2*bigCost + 123, attempts: 2},
	{name: "buffer overflows with the second", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(2)),
		client: "big*2 close all", limit: 2*bigCost - 1, attempts: 1, final: codes.Unavailable},
	{name: "buffer overflows on a retry", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1), late),
		client: "big dead:1 big close all", limit: bigCost, attempts: 2, final: codes.Unavailable},
	{name: "buffer overflows on a dead attempt", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1)),
		client: "big dead:1 big*3 close all", limit: bigCost, attempts: 2},
	{name: "buffer overflows during an upload", kinds: kinds(onClient), script: steps(fail.AfterReceived(10)), client: "big*10 dead:1 big*400 close all", attempts: 2},
	{name: "buffer overflows under a waiting receiver", kinds: kinds(onBidi), script: steps(fail.AfterReceived(2)),
		client: "recv& big send join all", limit: 10, attempts: 1, final: codes.Unavailable},
	{name: "half-close costs nothing", kinds: kinds(onClient, onBidi), script: steps(late, late), client: "big close all", limit: bigCost, attempts: 3},

	// The caller's own faults.
	{name: "send after CloseSend", kinds: each, script: steps(flakyserver.Hang()), client: "send close come:1 send all", attempts: 1, final: codes.Internal},
	{name: "no encoding", kinds: each, script: steps(flakyserver.Hang()), client: "new come:1 bad all", attempts: 1, final: codes.Internal},
	{name: "too large to send", kinds: each, script: steps(flakyserver.Hang()), client: "new come:1 huge all", attempts: 1, final: codes.ResourceExhausted},
	{name: "too large to send, on a dead attempt", kinds: kinds(onClient, onBidi), script: steps(fail.AfterReceived(1)),
		client: "send dead:1 huge all", attempts: 1, final: codes.ResourceExhausted,
		differs: "what ended the stream is what RecvMsg says, as on a live attempt", ours: "recv: ResourceExhausted", native: "recv: Unavailable scripted"},

	// After the end.
	{name: "receive again after an error", kinds: each, script: steps(fatal), client: "send close all recv", attempts: 1, final: codes.NotFound},
	{name: "receive again after the end", kinds: each, script: steps(fail), client: "send close all recv", attempts: 2},
	{name: "send after an error", kinds: kinds(onClient, onBidi), script: steps(fatal.AfterReceived(1)), client: "send recv send close all", attempts: 1, final: codes.NotFound},
	{name: "cancelled after headers", kinds: each, script: steps(flakyserver.Hang().Header("h", "1").AfterReceived(1)),
		client: "send header got:1 cancel all", attempts: 1, final: codes.Canceled},
	{name: "abandoned", kinds: each, script: steps(flakyserver.Hang().AfterReceived(1)), client: "send got:1 cancel abandon", attempts: 1, final: codes.Canceled},
	{name: "abandoned dead", kinds: each, script: steps(fail.AfterReceived(1)), client: "send dead:1 cancel abandon", attempts: 1, final: codes.Canceled},
	{name: "abandoned after a message", kinds: kinds(onServer, onBidi), script: steps(flakyserver.Hang().AfterReceived(1).AfterReplies(1)),
		client: "send recv cancel abandon", attempts: 1, final: codes.Canceled},
	{name: "cancelled before the stream is made", kinds: each, client: "cancel send", attempts: 0, final: codes.Canceled},
}

// TestConformance holds our retries of streams against grpc-go's own.
func TestConformance(t *testing.T) {
	for _, r := range rules {
		for _, k := range r.kinds {
			t.Run(r.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				r.check(t, observed(t, k, r, ourRetries), observed(t, k, r, nativeRetries))
			})
		}
	}
}

func (r rule) check(t *testing.T, ours, native sight) {
	t.Helper()
	if on := r.ours != "" || r.native != ""; on != (r.differs != "") {
		t.Error("a difference without a reason, or the other way round")
	}
	if ours.Attempts != r.attempts || ours.Final != r.final {
		t.Errorf("%d attempts, %v in the end; want %d, %v", ours.Attempts, ours.Final, r.attempts, r.final)
	}
	we, they := differences(ours.lines(), native.lines())
	if only, theirs := strings.Join(we, "; "), strings.Join(they, "; "); only != r.ours || theirs != r.native {
		t.Errorf("ours alone   %q\nwant         %q\nnative alone %q\nwant         %q\nours:\n  %s", only, r.ours, theirs, r.native, strings.Join(ours.lines(), "\n  "))
	}
}

// sight is all that a run shows: to the server, to the caller, and to the
// caller's options.
type sight struct {
	Attempts int      // begun, transparent ones not counted
	Server   []string // what it saw of each that reached it
	Caller   []string // what each operation returned, in order
	Options  []string // what grpc.Header, Trailer, Peer and OnFinish got
	Final    codes.Code
}

func (s sight) lines() []string {
	return slices.Concat([]string{fmt.Sprintf("%d attempts", s.Attempts)}, s.Server, s.Caller, s.Options)
}

// differences returns what each of two accounts has alone: all but a longest
// common subsequence.
func differences(a, b []string) (onlyA, onlyB []string) {
	common := make([][]int, len(a)+1) // of a[i:] and b[j:]
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if common[i][j] = max(common[i+1][j], common[i][j+1]); a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			}
		}
	}
	for len(a) > 0 && len(b) > 0 {
		i, j := len(common)-1-len(a), len(common[0])-1-len(b)
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case common[i+1][j] >= common[i][j+1]:
			onlyA, a = append(onlyA, a[0]), a[1:]
		default:
			onlyB, b = append(onlyB, b[0]), b[1:]
		}
	}
	return append(onlyA, a...), append(onlyB, b...)
}

const nativeConfig = `{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.001s",
	"maxBackoff":"0.002s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// nativeRetries leaves retries to grpc-go.
func nativeRetries(_ *testing.T, limit int, _ *wireWatch) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultServiceConfig(nativeConfig),
		grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(limit)),
	}
}

// ourRetries are a suite with an equal policy.
func ourRetries(t *testing.T, limit int, w *wireWatch) []grpc.DialOption {
	w.ours = true
	return newSuite(t, interceptors.WithObserver(w), interceptors.WithPolicy(interceptors.Policy{
		Retry: interceptors.Retry{
			MaxAttempts: 3, Codes: astracodes.Of(codes.Unavailable), BufferBytes: limit,
			Backoff: jitter.Backoff{Base: ms, Max: 2 * ms},
		},
		Breaker: interceptors.Breaker{Disabled: true},
		Budget:  interceptors.Budget{Disabled: true},
	})).DialOptions()
}

// observed runs a row on a fresh server and connection.
func observed(t *testing.T, kind *streamKind, r rule, retries func(*testing.T, int, *wireWatch) []grpc.DialOption) sight {
	t.Helper()
	srv, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	srv.Script(kind.method, r.script...)
	limit, program := r.limit, r.client
	if limit == 0 {
		limit = 256 << 10 // both sides' default
	}
	if program == "" {
		program = kind.client
	}
	w := &wireWatch{method: kind.method, changed: make(chan struct{}, 1)}
	cc, err := srv.Dial(append(retries(t, limit, w), grpc.WithStatsHandler(w), grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(hugeBytes)))...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cc.Close() }()

	c := &actor{t: t, kind: kind, srv: srv, cc: cc, watch: w, finished: make(chan string, 8)}
	patience, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	c.patience = patience
	c.setContext()
	defer func() { c.cancel() }()
	for _, op := range strings.Fields(program) {
		c.do(op)
	}
	if c.final == nil {
		t.Fatalf("%q does not receive to the end:\n%s", program, strings.Join(c.results, "\n"))
	}
	if c.stream != nil {
		c.do("header")
		c.do("trailer")
	}
	finished := []string{<-c.finished}
	err = srv.Await(patience, func() bool {
		return !slices.ContainsFunc(srv.Attempts(kind.method), func(a flakyserver.Attempt) bool { return !a.Ended })
	})
	if err != nil {
		t.Errorf("attempts have not ended: %v", err)
	}
	_ = cc.Close() // a second OnFinish, if any, has come by now
	for len(c.finished) > 0 {
		finished = append(finished, <-c.finished)
	}
	return sight{
		Attempts: w.begun,
		Server:   serverSaw(srv, kind.method),
		Caller:   c.results,
		Options:  append(c.options(), "finished: "+strings.Join(finished, ", ")),
		Final:    codeOfEnd(c.final),
	}
}

func serverSaw(srv *flakyserver.Server, method string) (all []string) {
	for i, a := range srv.Attempts(method) {
		end := a.Code.String()
		switch {
		case a.Reset:
			end = "reset"
		case a.Code == codes.Canceled || a.Code == codes.DeadlineExceeded:
			end = "gone" // which of the two is chance: client and server both watch the clock
		}
		all = append(all, fmt.Sprintf("attempt %d: previous %d, received %d, %s", i+1, a.Previous, a.Received, end))
	}
	return all
}
