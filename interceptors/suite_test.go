package interceptors_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/interceptors"
)

// TestLoggerThatCallsThroughTheSuite: an exporter of logs may well do so.
func TestLoggerThatCallsThroughTheSuite(t *testing.T) {
	var s *interceptors.Suite
	h := &callingHandler{call: func() { _ = call(s, play(step{})) }}
	s = newSuite(t, interceptors.WithObserver(inline{&events{panic: true}}), interceptors.WithLogger(slog.New(h)))
	_ = call(s, play(step{}))
	for i := range bound + 4 {
		_ = s.UnaryClientInterceptor()(context.Background(), fmt.Sprintf("/a.B/M%d", i), nil, nil, nil, play(step{}).invoke)
	}
	if h.n < 2 {
		t.Errorf("%d records logged: the test shows nothing", h.n)
	}
}

type callingHandler struct {
	n    int
	call func()
}

func (h *callingHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *callingHandler) Handle(context.Context, slog.Record) error {
	h.n++
	h.call()
	return nil
}

func (h *callingHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

func (h *callingHandler) WithGroup(string) slog.Handler { return h }

// TestNoContextIsLeft: contexts that attempts and calls were given end with
// them, in a panic too.
func TestNoContextIsLeft(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(interceptors.Policy{Timeout: time.Hour, AttemptTimeout: time.Hour}))
	for name, sc := range map[string]step{"return": {}, "panic": {do: func(context.Context, any) { panic("beneath") }}} {
		var kept context.Context
		invoke := func(ctx context.Context, m string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
			kept = ctx
			return play(sc).invoke(ctx, m, req, reply, cc, opts...)
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.UnaryClientInterceptor()(context.Background(), method, nil, nil, nil, invoke)
		}()
		if kept.Err() == nil {
			t.Errorf("%s: the attempt's context lives on", name)
		}
	}
}
