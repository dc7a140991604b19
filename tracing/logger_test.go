package tracing_test

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/tracing"
)

// textLog is a logger without times, and what it has written.
func textLog(level slog.Level) (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})), &b
}

func TestLog(t *testing.T) {
	rescue := interceptors.WithFallback(hello, func(context.Context, string, any, any, error) error { return nil })
	for _, tc := range []struct {
		name string
		setting
		opts   []tracing.LogOption
		script []flakyserver.Step
		want   string
	}{
		{name: "success", script: []flakyserver.Step{flakyserver.OK()}},
		{name: "saved", script: []flakyserver.Step{down, flakyserver.OK().After(10 * time.Millisecond)}, want: `
level=INFO msg="call rescued" method=/helloworld.Greeter/SayHello target=passthrough:///bufconn outcome=success_after_retry attempts=2 code=OK rescued_from=UNAVAILABLE duration=510ms backoff=500ms
`},
		{name: "exhausted", script: []flakyserver.Step{down, down, down}, want: `
level=WARN msg="call failed" method=/helloworld.Greeter/SayHello target=passthrough:///bufconn outcome=failed attempts=3 code=UNAVAILABLE reason=exhausted duration=1.5s backoff=1.5s
`},
		{name: "not retryable", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "secret")}, want: `
level=WARN msg="call failed" method=/helloworld.Greeter/SayHello target=passthrough:///bufconn outcome=failed attempts=1 code=NOT_FOUND reason=not_retryable duration=0s
`},
		{name: "with the message", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "no such Ann")}, opts: []tracing.LogOption{tracing.LogMessages(), nil}, want: `
level=WARN msg="call failed" method=/helloworld.Greeter/SayHello target=passthrough:///bufconn outcome=failed attempts=1 code=NOT_FOUND reason=not_retryable error="no such Ann" duration=0s
`},
		{name: "a code that is left out", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "none")}, opts: []tracing.LogOption{tracing.LogExcept(codes.NotFound, codes.Canceled)}},
		{name: "rescued from one that is left out", script: []flakyserver.Step{flakyserver.Fail(codes.NotFound, "none")}, opts: []tracing.LogOption{tracing.LogExcept(codes.NotFound)}, setting: setting{suite: []interceptors.Option{rescue}}, want: `
level=INFO msg="call rescued" method=/helloworld.Greeter/SayHello target=passthrough:///bufconn outcome=fallback attempts=1 code=NOT_FOUND reason=not_retryable duration=0s
`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to, text := textLog(slog.LevelInfo)
			tc.observer = tracing.NewLogger(to, tc.opts...)
			bubble(t, tc.setting, func(t *testing.T, w *world) {
				w.Script(hello, tc.script...)
				_ = w.hello(t.Context())
				_ = w.suite.Close()
				if got := text.String(); got != strings.TrimPrefix(tc.want, "\n") {
					t.Errorf("logged\n%swant%s", got, tc.want)
				}
			})
		})
	}
}

func TestLogOfRefusedCalls(t *testing.T) {
	to, text := textLog(slog.LevelInfo)
	narrow := interceptors.Policy{Limit: interceptors.Limit{Rate: 0.001, Burst: 1}}
	bubble(t, setting{observer: tracing.NewLogger(to), policy: narrow}, func(t *testing.T, w *world) {
		_ = w.hello(t.Context())
		_ = w.hello(t.Context())
		_ = w.suite.Close()
		if got := text.String(); !strings.Contains(got, `outcome=rejected_limit attempts=0 code=RESOURCE_EXHAUSTED reason=rate_limited error="astra: rate limit exceeded for /helloworld.Greeter/SayHello of \"passthrough:///bufconn\": another call may start in 16m40s" duration=0s`+"\n") {
			t.Errorf("logged\n%s", got)
		}
	})
	text.Reset()
	fragile := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Consecutive: 1}}
	bubble(t, setting{observer: tracing.NewLogger(to), policy: fragile}, func(t *testing.T, w *world) {
		w.Script(hello, down)
		_ = w.hello(t.Context())
		_ = w.hello(t.Context())
		_ = w.suite.Close()
		if got := text.String(); !strings.Contains(got, "outcome=rejected_breaker attempts=0 code=UNAVAILABLE reason=breaker_open error=\"astra: breaker open for /helloworld.Greeter/SayHello of \\\"passthrough:///bufconn\\\" since 2000-01-01T00:00:00Z (consecutive): next probe in ") {
			t.Errorf("logged\n%s", got)
		}
	})
}

// TestLogNamesTheTrace: the call's span if there is one, else the caller's.
func TestLogNamesTheTrace(t *testing.T) {
	for _, traced := range []bool{true, false} {
		to, text := textLog(slog.LevelInfo)
		spans := record()
		set := setting{observer: tracing.NewLogger(to)}
		if traced {
			set.suite = []interceptors.Option{interceptors.WithObserver(tracing.New(spans))}
		}
		bubble(t, set, func(t *testing.T, w *world) {
			ctx, caller := spans.Tracer("caller").Start(t.Context(), "caller")
			w.Script(hello, flakyserver.Fail(codes.NotFound, ""))
			_ = w.hello(ctx)
			_ = w.suite.Close()
			of := caller.SpanContext()
			if traced {
				all := spans.GetSpans()
				of = all[len(all)-1].SpanContext // the call, which ended last
			}
			if got, want := text.String(), "trace_id="+of.TraceID().String()+" span_id="+of.SpanID().String()+"\n"; !strings.HasSuffix(got, want) {
				t.Errorf("traced %v: logged\n%swant at its end %s", traced, got, want)
			}
		})
	}
}

// TestLogKeepsSecrets: whatever a call holds, none of it is logged.
func TestLogKeepsSecrets(t *testing.T) {
	to, text := textLog(slog.LevelDebug)
	bubble(t, setting{observer: tracing.NewLogger(to)}, func(t *testing.T, w *world) {
		w.Script(hello, flakyserver.Fail(codes.Unavailable, "secret").Trailer("x-key", "secret"), flakyserver.Fail(codes.Internal, "secret").Header("x-key", "secret"))
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "secret")
		_, _ = w.SayHello(ctx, &greeterpb.HelloRequest{Name: "secret"})
		_ = w.suite.Close()
		if got := text.String(); strings.Contains(got, "secret") || strings.Count(got, "\n") != 1 {
			t.Errorf("logged\n%s", got)
		}
	})
}

// TestLogRate: what is too much is dropped, and reported later.
func TestLogRate(t *testing.T) {
	for _, tc := range []struct {
		opts        []tracing.LogOption
		atOnce, per int // per second
	}{
		{nil, 50, 10},
		{[]tracing.LogOption{tracing.LogRate(0, 0)}, 50, 10},
		{[]tracing.LogOption{tracing.LogRate(2, 3)}, 3, 2},
	} {
		to, text := textLog(slog.LevelInfo)
		off := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}}
		bubble(t, setting{observer: tracing.NewLogger(to, tc.opts...), policy: off}, func(t *testing.T, w *world) {
			w.Always(hello, down)
			for range 2 {
				for range 60 {
					_ = w.hello(t.Context())
					synctest.Wait() // the log is written
				}
				time.Sleep(time.Second)
			}
			_ = w.suite.Close()
			if got := strings.Count(text.String(), "\n"); got != tc.atOnce+tc.per {
				t.Errorf("%d records of 120, want %d and after a second %d", got, tc.atOnce, tc.per)
			}
			dropped := regexp.MustCompile(`dropped=\d+`).FindAllString(text.String(), -1)
			want := map[int]string{50: "dropped=10", 3: "dropped=57"}[tc.atOnce]
			if len(dropped) != 1 || dropped[0] != want {
				t.Errorf("reported %v, want %s once", dropped, want)
			}
		})
	}
}

// TestLogLevel: what the handler does not want takes no room from what it wants.
func TestLogLevel(t *testing.T) {
	to, text := textLog(slog.LevelWarn)
	bubble(t, setting{observer: tracing.NewLogger(to, tracing.LogRate(1, 1))}, func(t *testing.T, w *world) {
		w.Script(hello, down, flakyserver.OK(), flakyserver.Fail(codes.NotFound, ""))
		for range 2 {
			_ = w.hello(t.Context())
		}
		_ = w.suite.Close()
		if got := text.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "NOT_FOUND") || strings.Contains(got, "dropped") {
			t.Errorf("logged\n%swant the failed call alone", got)
		}
	})
}

// slow is a handler that takes its time.
type slow struct{ slog.Handler }

func (h slow) Handle(ctx context.Context, r slog.Record) error {
	time.Sleep(time.Second)
	return h.Handler.Handle(ctx, r)
}

// TestSlowLogDelaysNoCall: and Close waits for it.
func TestSlowLogDelaysNoCall(t *testing.T) {
	to, text := textLog(slog.LevelInfo)
	bubble(t, setting{observer: tracing.NewLogger(slog.New(slow{to.Handler()}))}, func(t *testing.T, w *world) {
		w.Always(hello, flakyserver.Fail(codes.NotFound, ""))
		began := time.Now()
		for range 3 {
			_ = w.hello(t.Context())
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("three calls took %v", took)
		}
		_ = w.suite.Close()
		if n := strings.Count(text.String(), "\n"); n != 3 {
			t.Errorf("%d records, want 3", n)
		}
	})
}

// TestDefaultLog: the default logger is the one at the time of the record.
func TestDefaultLog(t *testing.T) {
	o := tracing.NewLogger(nil)
	to, text := textLog(slog.LevelInfo)
	before := slog.Default()
	slog.SetDefault(to)
	defer slog.SetDefault(before)
	bubble(t, setting{observer: o}, func(t *testing.T, w *world) {
		w.Script(hello, flakyserver.Fail(codes.NotFound, ""))
		_ = w.hello(t.Context())
		_ = w.suite.Close()
		if n := strings.Count(text.String(), "call failed"); n != 1 {
			t.Errorf("logged\n%s", text)
		}
	})
}

// TestLogSamplesApart: what was rescued or refused does not use up what failed
// needs.
func TestLogSamplesApart(t *testing.T) {
	to, text := textLog(slog.LevelInfo)
	off := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Disabled: true}, Limit: interceptors.Limit{Rate: 1000, Burst: 1}}
	rescue := false
	fallback := interceptors.WithFallback(hello, func(_ context.Context, _ string, _, _ any, err error) error {
		if rescue {
			return nil
		}
		return err
	})
	bubble(t, setting{observer: tracing.NewLogger(to, tracing.LogRate(1, 2)), policy: off, suite: []interceptors.Option{fallback}}, func(t *testing.T, w *world) {
		w.Always(hello, down)
		for range 5 {
			rescue = true
			_ = w.hello(t.Context())
			rescue = false
			_ = w.hello(t.Context()) // the limit refuses it
			time.Sleep(time.Millisecond)
			_ = w.hello(t.Context())
			time.Sleep(time.Millisecond)
		}
		_ = w.suite.Close()
		for _, outcome := range []string{"fallback", "rejected_limit", "failed"} {
			if n := strings.Count(text.String(), "outcome="+outcome+" "); n != 2 {
				t.Errorf("%d records of %s, want 2:\n%s", n, outcome, text)
			}
		}
	})
}

// TestLogOfBreakers: one record for the opening, one for the recovery, in the log
// of the calls and not in the suite's.
func TestLogOfBreakers(t *testing.T) {
	to, text := textLog(slog.LevelInfo)
	own, other := textLog(slog.LevelInfo)
	fragile := interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Consecutive: 1}}
	bubble(t, setting{observer: tracing.NewLogger(to), policy: fragile, suite: []interceptors.Option{interceptors.WithLogger(own)}}, func(t *testing.T, w *world) {
		w.Script(hello, down, flakyserver.OK())
		_ = w.hello(t.Context())
		time.Sleep(time.Minute)
		_ = w.hello(t.Context())
		_ = w.suite.Close()
		want := []string{
			`level=WARN msg="breaker opened" method=/helloworld.Greeter/SayHello target=passthrough:///bufconn from=closed to=open reason=consecutive next_probe_in=`,
			`level=INFO msg="breaker closed" method=/helloworld.Greeter/SayHello target=passthrough:///bufconn from=half-open to=closed reason=recovered open_for=1m0s` + "\n",
		}
		for _, record := range want {
			if strings.Count(text.String(), record) != 1 {
				t.Errorf("want once %q, logged\n%s", record, text)
			}
		}
		if n := strings.Count(text.String(), "breaker "); n != 2 || other.Len() > 0 {
			t.Errorf("%d records of the breaker, want 2; in the suite's log %q", n, other)
		}
	})
}
