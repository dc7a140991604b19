package interceptors_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// logHandler does something with each record.
type logHandler func()

func (logHandler) Enabled(context.Context, slog.Level) bool    { return true }
func (h logHandler) Handle(context.Context, slog.Record) error { h(); return nil }
func (h logHandler) WithAttrs([]slog.Attr) slog.Handler        { return h }
func (h logHandler) WithGroup(string) slog.Handler             { return h }

// TestLogHandlersDoNoHarm: what an observer does wrong is logged, on a call's
// goroutine or on one of the suite's. A handler that panics, as one that logs
// records for this observer does, must not end the process, and one that hangs must
// hold up neither calls nor Close for longer than an observer may.
func TestLogHandlersDoNoHarm(t *testing.T) {
	for name, handle := range map[string]func(hang chan struct{}){
		"panics": func(chan struct{}) { panic("a bug of the handler's") },
		"hangs":  func(hang chan struct{}) { <-hang },
	} {
		for where, hooks := range map[string]func(hang chan struct{}) observe.Hooks{
			"observe": func(chan struct{}) observe.Hooks { panic("no hooks") },
			"queued": func(chan struct{}) observe.Hooks {
				return observe.Hooks{Event: func(context.Context, observe.Event) { panic("no event") }}
			},
			"stuck": func(hang chan struct{}) observe.Hooks {
				return observe.Hooks{Event: func(context.Context, observe.Event) { <-hang }}
			},
		} {
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hang := make(chan struct{})
					defer func() { close(hang); synctest.Wait() }()
					s, err := interceptors.New(
						interceptors.WithLogger(slog.New(logHandler(func() { handle(hang) }))),
						interceptors.WithObserver(observing(func() observe.Hooks { return hooks(hang) })),
						interceptors.WithPolicy(interceptors.Policy{Retry: interceptors.Retry{MaxAttempts: 1}, Limit: interceptors.Limit{MaxConcurrent: 1}}))
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					for range 4200 { // more than an observer's queue holds
						_ = s.UnaryClientInterceptor()(t.Context(), "/a.B/C", nil, nil, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
							return status.Error(codes.Unavailable, "down")
						})
					}
					if took := time.Since(began); took > 2*time.Second {
						t.Errorf("calls that end at once took %v", took)
					}
					began = time.Now()
					_ = s.Close()
					if took := time.Since(began); took > 7*time.Second {
						t.Errorf("Close took %v", took)
					}
				})
			})
		}
	}
}

// observing is an observer with the hooks that a func returns.
type observing func() observe.Hooks

func (o observing) Observe(observe.Endpoint) observe.Hooks { return o() }
