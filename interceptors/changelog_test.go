package interceptors_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// outage opens a breaker, has a probe fail, and lets it recover.
func outage(t *testing.T, opts ...interceptors.Option) {
	s := newSuite(t, append(opts, interceptors.WithPolicy(interceptors.Policy{
		Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Consecutive: 1},
	}))...)
	down := step{err: status.Error(codes.Unavailable, "down")}
	for _, end := range []step{down, down, {}} {
		_ = call(s, play(end))
		time.Sleep(time.Minute)
	}
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

// TestSuiteLogsItsChanges: what happened to the suite, once, in order; a probe
// that failed only for those who look closer.
func TestSuiteLogsItsChanges(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo: {
			`level=WARN msg="astra: breaker opened" method=/helloworld.Greeter/SayHello target="" from=closed to=open reason=consecutive next_probe_in=`,
			`level=INFO msg="astra: breaker closed" method=/helloworld.Greeter/SayHello target="" from=half-open to=closed reason=recovered open_for=2m0s`,
			`level=INFO msg="astra: policies replaced" generation=2`,
		},
		slog.LevelDebug: {
			`level=WARN msg="astra: breaker opened"`,
			`level=DEBUG msg="astra: breaker probes" method=/helloworld.Greeter/SayHello target="" from=open to=half-open reason=open_time_over`,
			`level=DEBUG msg="astra: breaker stays open" method=/helloworld.Greeter/SayHello target="" from=half-open to=open reason=probe_failed next_probe_in=`,
			`level=DEBUG msg="astra: breaker probes"`,
			`level=INFO msg="astra: breaker closed"`,
			`level=INFO msg="astra: policies replaced"`,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			var log logBuffer
			outage(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))))
			lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			if len(lines) != len(want) {
				t.Fatalf("%v: %d lines, want %d:\n%s", level, len(lines), len(want), &log)
			}
			for i, line := range lines {
				if _, rest, _ := strings.Cut(line, " "); !strings.HasPrefix(rest, want[i]) {
					t.Errorf("%v: line %d is\n%s\nwant\n%s", level, i+1, rest, want[i])
				}
			}
		})
	}
}

// logsChanges is an observer that logs them itself.
type logsChanges struct{ observe.Observer }

func (logsChanges) LogsChanges() {}

// TestChangesAreLoggedOnce: an observer that logs them is left alone.
func TestChangesAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		outage(t, interceptors.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), interceptors.WithObserver(logsChanges{hooks{}}))
		if strings.Contains(log.String(), "breaker") || strings.Count(log.String(), "\n") != 1 {
			t.Errorf("logged\n%swant the reload alone", &log)
		}
	})
}

// stuckHandler never returns.
type stuckHandler struct{ slog.Handler }

func (stuckHandler) Enabled(context.Context, slog.Level) bool { return true }

func (stuckHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "breaker") {
		time.Sleep(time.Hour)
	}
	return nil
}

// TestStuckLogDelaysNothing: neither calls nor, for more than 5 s, Close.
func TestStuckLogDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		outage(t, interceptors.WithLogger(slog.New(stuckHandler{})))
		if took := time.Since(began); took != 3*time.Minute+5*time.Second {
			t.Errorf("three calls a minute apart and Close took %v, want 3m5s", took)
		}
		time.Sleep(24 * time.Hour) // the handler returns, and so do those after it
	})
}

// TestRefusalsSayWhy: who reads the error alone knows whose breaker, since when,
// why, and what comes next.
func TestRefusalsSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{
			Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Consecutive: 2, OpenFor: 10 * time.Second},
			Limit: interceptors.Limit{Rate: 0.01, Burst: 9},
		}))
		down := step{err: status.Error(codes.Unavailable, "down")}
		time.Sleep(time.Hour) // 2000-01-01T01:00:00Z
		_ = call(s, play(down))
		_ = call(s, play(down))
		time.Sleep(time.Second)
		err := call(s, play(step{}))
		text := status.Convert(err).Message()
		if !strings.HasPrefix(text, `astra: breaker open for /helloworld.Greeter/SayHello of "" since 2000-01-01T01:00:00Z (consecutive): next probe in `) ||
			!strings.HasSuffix(text, "s at the latest") {
			t.Errorf("the error says %q", text)
		}
		facts := status.Convert(err).Details()[0].(*errdetails.ErrorInfo).GetMetadata()
		if facts["open_since"] != "2000-01-01T01:00:00Z" || facts["cause"] != "consecutive" || facts["method"] != method || len(facts) != 4 {
			t.Errorf("its details say %v", facts)
		}
		time.Sleep(time.Minute)
		_ = call(s, play(down)) // a probe
		if again := status.Convert(call(s, play(step{}))).Message(); !strings.Contains(again, " since 2000-01-01T01:00:00Z (consecutive): ") {
			t.Errorf("after a probe that failed the error says %q", again)
		}
		time.Sleep(time.Hour)
		for range 10 {
			err = call(s, play(step{}))
		}
		if text := status.Convert(err).Message(); text != `astra: rate limit exceeded for /helloworld.Greeter/SayHello of "": another call may start in 1m40s` {
			t.Errorf("the limit's error says %q", text)
		}
	})
}
