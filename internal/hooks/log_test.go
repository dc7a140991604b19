package hooks

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// handler is a log handler that does something first.
type handler struct {
	slog.Handler
	first func()
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	h.first()
	return h.Handler.Handle(ctx, r)
}

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	if level > slog.LevelError {
		panic("asked in vain")
	}
	return h.Handler.Enabled(ctx, level)
}

func TestLogHandlerThatPanics(t *testing.T) {
	var logs Logs
	var b bytes.Buffer
	panics := true
	l := logs.To(slog.New(handler{slog.NewTextHandler(&b, nil), func() {
		if panics {
			panic("a bug of the handler's")
		}
	}}))
	l.Warn("lost")
	l.Log(context.Background(), slog.LevelError+1, "not asked for")
	panics = false
	l.With("a", 1).WithGroup("g").Info("kept", "b", 2)
	l.Debug("not enabled")
	if got := b.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "msg=kept a=1 g.b=2") {
		t.Errorf("logged %q", got)
	}
}

func TestLogHandlerThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs Logs
		var called atomic.Int32
		free := make(chan struct{})
		l := logs.To(slog.New(handler{slog.DiscardHandler, func() { called.Add(1); <-free }}))
		l = slog.New(enabled{l.Handler()})
		took := func() time.Duration {
			began := time.Now()
			l.Warn("?")
			return time.Since(began)
		}
		if d := took(); d != logPatience {
			t.Errorf("the first record was waited for for %v, want %v", d, logPatience)
		}
		for range 2 * maxLogging {
			if d := took(); d != 0 {
				t.Fatalf("a record behind one that hangs was waited for for %v", d)
			}
		}
		synctest.Wait()
		if n := called.Load(); n != maxLogging {
			t.Errorf("%d records are with the handler, want %d", n, maxLogging)
		}
		close(free)
		synctest.Wait()
		free = make(chan struct{})
		time.AfterFunc(time.Millisecond, func() { close(free) })
		if d := took(); d != time.Millisecond {
			t.Errorf("a record was waited for for %v by a handler that is well again and takes 1 ms", d)
		}
	})
}

// enabled is a handler for every level: slog.DiscardHandler is for none.
type enabled struct{ slog.Handler }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }
