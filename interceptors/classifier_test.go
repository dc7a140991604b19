package interceptors_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// byReason is a classifier by the reason in an error's ErrorInfo.
func byReason(verdicts map[string]interceptors.Verdict) interceptors.Classifier {
	return func(a interceptors.Attempt) interceptors.Verdict {
		for _, d := range status.Convert(a.Err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				return verdicts[info.GetReason()]
			}
		}
		return 0
	}
}

func because(c codes.Code, reason string) flakyserver.Step {
	return flakyserver.Fail(c, "scripted").Detail(&errdetails.ErrorInfo{Reason: reason})
}

// TestClassifierRules: what a classifier says of an attempt comes before its code,
// for unary calls, streams and hedges; what holds for all retries holds still.
func TestClassifierRules(t *testing.T) {
	verdicts := map[string]interceptors.Verdict{"LOCKED": interceptors.VerdictRetry, "DELETED": interceptors.VerdictStop}
	for _, tc := range []struct {
		name string
		step flakyserver.Step
		want int // attempts
	}{
		{"a code that is not retried, by its detail", because(codes.Aborted, "LOCKED"), 2},
		{"one that is, not", because(codes.Unavailable, "DELETED"), 1},
		{"a detail that says nothing, retried", because(codes.Unavailable, "?"), 2},
		{"a detail that says nothing, not retried", because(codes.Aborted, "?"), 1},
		{"the server's stop holds", because(codes.Aborted, "LOCKED").Pushback("-1"), 1},
	} {
		hedged := interceptors.Policy{Hedge: interceptors.Hedge{MaxAttempts: 2, Delay: time.Minute}}
		for name, p := range map[string]interceptors.Policy{"retried": quick, "hedged": hedged} {
			t.Run(tc.name+"/"+name, func(t *testing.T) {
				w := overTCP(t, interceptors.WithClassifier("*", byReason(verdicts)),
					interceptors.WithMethodPolicy(method, p), interceptors.WithMethodPolicy(helloServer, p))
				w.Script(method, tc.step, flakyserver.OK())
				w.Script(helloServer, tc.step, flakyserver.OK())
				if _, err := w.say(within(t)); (err == nil) != (tc.want == 2) {
					t.Errorf("unary: %v", err)
				}
				st, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
				if err == nil {
					_, err = st.Recv()
				}
				if (err == nil) != (tc.want == 2) {
					t.Errorf("stream: %v", err)
				}
				for _, m := range []string{method, helloServer} {
					if got := len(w.Attempts(m)); got != tc.want {
						t.Errorf("%s: %d attempts, want %d", m, got, tc.want)
					}
				}
			})
		}
	}
}

// TestClassifierSees all that an attempt left.
func TestClassifierSees(t *testing.T) {
	var mu sync.Mutex
	var seen []interceptors.Attempt
	w := overTCP(t, interceptors.WithClassifier(method, func(a interceptors.Attempt) interceptors.Verdict {
		mu.Lock()
		defer mu.Unlock()
		a.Header, a.Trailer = a.Header.Copy(), a.Trailer.Copy()
		seen = append(seen, a)
		return 0
	}, interceptors.ClassifyReplies()))
	w.Script(method, flakyserver.Fail(codes.Unavailable, "scripted").Header("h", "1").Trailer("t", "2"), flakyserver.Reset(), flakyserver.OK())
	if _, err := w.say(within(t)); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 3 {
		t.Fatalf("asked %d times, want 3", len(seen))
	}
	if a := seen[0]; a.Code != codes.Unavailable || a.Err == nil || a.Reply != nil || !a.Sent || a.Number != 1 || a.Method != method ||
		!slices.Equal(a.Header["h"], []string{"1"}) || !slices.Equal(a.Trailer["t"], []string{"2"}) {
		t.Errorf("of the first attempt: %+v", a)
	}
	if a := seen[1]; a.Code != codes.Unavailable || len(a.Trailer) > 0 || a.Number != 2 || !a.Sent {
		t.Errorf("of the second, whose connection was reset: %+v", a)
	}
	reply, _ := seen[2].Reply.(*greeterpb.HelloReply)
	if a := seen[2]; a.Err != nil || a.Code != codes.OK || a.Number != 3 || reply.GetMessage() == "" {
		t.Errorf("of the third, which succeeded: %+v", a)
	}
}

// TestClassifierOfReplies: a reply that is not good enough is asked for again, and
// is the caller's if there is no better one.
func TestClassifierOfReplies(t *testing.T) {
	for want, good := range map[int]int{1: 1, 3: 3, 4: 3} { // the reply that is good: attempts
		w := overTCP(t, interceptors.WithClassifier(method, func(a interceptors.Attempt) interceptors.Verdict {
			if a.Err == nil && a.Number < want {
				return interceptors.VerdictRetry
			}
			return 0
		}, interceptors.ClassifyReplies()))
		greeting, err := w.say(within(t))
		if err != nil || greeting != "Hello Ann" {
			t.Errorf("good the %dth time: %q, %v", want, greeting, err)
		}
		if got := len(w.Attempts(method)); got != good {
			t.Errorf("good the %dth time: %d attempts, want %d", want, got, good)
		}
	}
}

// TestClassifierCounts for the breaker.
func TestClassifierCounts(t *testing.T) {
	p := onlyBreaker(interceptors.Breaker{Consecutive: 2, OpenFor: time.Hour, MaxOpenFor: time.Hour, ProbeShare: 1e-9})
	for _, tc := range []struct {
		name string
		step flakyserver.Step
		v    interceptors.Verdict
		open bool

		streams bool // likewise: their replies are not asked about
	}{
		{"a failure by its code", flakyserver.Fail(codes.Unavailable, ""), 0, true, true},
		{"which is a success", flakyserver.Fail(codes.Unavailable, ""), interceptors.VerdictSuccess, false, true},
		{"an answer by its code", flakyserver.Fail(codes.NotFound, ""), 0, false, true},
		{"which is a failure", flakyserver.Fail(codes.NotFound, ""), interceptors.VerdictFailure, true, true},
		{"a reply", flakyserver.OK(), 0, false, false},
		{"which is a failure", flakyserver.OK(), interceptors.VerdictFailure, true, false},
	} {
		w := overTCP(t, interceptors.WithMethodPolicy(method, p), interceptors.WithMethodPolicy(helloServer, p), interceptors.WithClassifier("*",
			func(interceptors.Attempt) interceptors.Verdict { return tc.v }, interceptors.ClassifyReplies()))
		w.Always(method, tc.step)
		for range 2 {
			_, _ = w.say(within(t))
		}
		if _, err := w.say(within(t)); errors.Is(err, interceptors.ErrBreakerOpen) != tc.open {
			t.Errorf("%s (verdict %d): %v after two of them, want the breaker open: %v", tc.name, tc.v, err, tc.open)
		}
		w.Always(helloServer, tc.step)
		_ = receive(w)
		_ = receive(w)
		if err := receive(w); errors.Is(err, interceptors.ErrBreakerOpen) != (tc.open && tc.streams) {
			t.Errorf("%s, of streams: %v after two of them, want the breaker open: %v", tc.name, err, tc.open)
		}
	}
}

// receive makes a server stream and returns how it ended; nil: well.
func receive(w *wire) error {
	st, err := w.SayHelloServerStream(context.Background(), &greeterpb.HelloRequest{Name: "Ann"})
	for err == nil {
		_, err = st.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// TestClassifierMisbehaves: one that panics or is slow is logged once, and calls
// count as without it.
func TestClassifierMisbehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		for name, c := range map[string]interceptors.Classifier{
			"panicked": func(interceptors.Attempt) interceptors.Verdict { panic("no") },
			"is slow": func(interceptors.Attempt) interceptors.Verdict {
				time.Sleep(time.Second)
				return interceptors.VerdictStop
			},
		} {
			log.Reset()
			s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithClassifier(method, c),
				interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			attempts := 0
			for range 2 {
				err := s.UnaryClientInterceptor()(t.Context(), method, nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
					attempts++
					return status.Error(codes.Unavailable, "scripted")
				})
				wantCode(t, err, codes.Unavailable)
			}
			if want := map[string]int{"panicked": 6, "is slow": 2}[name]; attempts != want {
				t.Errorf("%s: %d attempts, want %d", name, attempts, want)
			}
			if n := strings.Count(log.String(), "classifier "+name); n != 1 {
				t.Errorf("%s: logged %d times: %s", name, n, log.String())
			}
		}
	})
}

// TestClassifierIsNotAskedOfTheCaller: a call that its caller cancelled is nobody's
// to judge.
func TestClassifierIsNotAskedOfTheCaller(t *testing.T) {
	asked := 0
	s := newSuite(t, interceptors.WithClassifier("*", func(interceptors.Attempt) interceptors.Verdict {
		asked++
		return interceptors.VerdictFailure
	}))
	ctx, cancel := context.WithCancel(t.Context())
	err := s.UnaryClientInterceptor()(ctx, method, nil, nil, nil, func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		cancel()
		return status.FromContextError(ctx.Err()).Err()
	})
	wantCode(t, err, codes.Canceled)
	if asked > 0 {
		t.Error("asked about a call that was cancelled")
	}
}

func TestClassifierFaults(t *testing.T) {
	_, err := interceptors.New(interceptors.WithClassifier("nonsense", func(interceptors.Attempt) interceptors.Verdict { return 0 }),
		interceptors.WithClassifier(method, nil))
	if err == nil || !strings.Contains(err.Error(), `"nonsense"`) || !strings.Contains(err.Error(), method) {
		t.Errorf("%v, want both faults", err)
	}
	s := newSuite(t)
	if err := s.Reload(interceptors.WithClassifier(method, func(interceptors.Attempt) interceptors.Verdict { return 0 })); err == nil {
		t.Error("Reload takes a classifier")
	}
}

// TestClassifierThatPanicsRulesNothing: what its code says holds.
func TestClassifierThatPanicsRulesNothing(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithLogger(slog.New(slog.DiscardHandler)),
		interceptors.WithClassifier(method, func(interceptors.Attempt) interceptors.Verdict { panic("no") }))
	sc := play(fails(codes.NotFound))
	wantCode(t, call(s, sc), codes.NotFound)
	wantAttempts(t, sc, 1)
}

// TestSlowClassifier is one that takes more than 10 ms.
func TestSlowClassifier(t *testing.T) {
	for took, want := range map[time.Duration]int{0: 0, 10 * ms: 0, 10*ms + 1: 1} {
		synctest.Test(t, func(t *testing.T) {
			var log logBuffer
			s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
				interceptors.WithClassifier(method, func(interceptors.Attempt) interceptors.Verdict { time.Sleep(took); return 0 }))
			time.Sleep(time.Hour) // how long the suite has been there is nobody's fault
			wantCode(t, call(s, play(fails(codes.NotFound))), codes.NotFound)
			if n := strings.Count(log.String(), "classifier is slow"); n != want {
				t.Errorf("%v: logged %d times, want %d: %s", took, n, want, log.String())
			}
		})
	}
}

// TestStreamsThatEndWellAreNotClassified: replies are the caller's to judge, one by one.
func TestStreamsThatEndWellAreNotClassified(t *testing.T) {
	asked := 0
	w := overTCP(t, interceptors.WithClassifier("*", func(interceptors.Attempt) interceptors.Verdict { asked++; return 0 }, interceptors.ClassifyReplies()))
	if err := receive(w); err != nil || asked != 0 {
		t.Errorf("%v, classifier asked %d times", err, asked)
	}
	w.Script(helloServer, flakyserver.Fail(codes.NotFound, "scripted"))
	if err := receive(w); err == nil || asked != 1 {
		t.Errorf("%v, classifier asked %d times of a stream that failed", err, asked)
	}
}
