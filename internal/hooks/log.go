package hooks

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// logPatience is how long a log handler may hold up whoever logs: a call, say.
	logPatience = time.Second
	// maxLogging is how many records a handler may have not returned from.
	maxLogging = 64
)

// Logs keeps log handlers, which are the program's as observers are, from harming
// calls: a panic in one goes no further, and one that does not return, as on a pipe
// that nobody reads, holds up those who log for a second. Then nobody waits until it
// has returned from all records; past 64 that it has not, further ones are dropped. The
// zero Logs is ready for use.
type Logs struct {
	running atomic.Int32
	late    atomic.Bool // one was waited for in vain; cleared when none runs
}

// To returns a logger that writes to another one's handler.
func (l *Logs) To(to *slog.Logger) *slog.Logger { return slog.New(guarded{to.Handler(), l}) }

type guarded struct {
	to   slog.Handler
	logs *Logs
}

func (g guarded) Enabled(ctx context.Context, level slog.Level) (yes bool) {
	defer func() { _ = recover() }() // there is nowhere to report that
	return g.to.Enabled(ctx, level)
}

func (g guarded) Handle(ctx context.Context, r slog.Record) error {
	l := g.logs
	if l.running.Add(1) > maxLogging {
		l.ended()
		return nil
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer l.ended()
		defer func() { _ = recover() }()
		_ = g.to.Handle(ctx, r) // as slog's own Logger does
	}()
	if l.late.Load() {
		return nil
	}
	limit := time.NewTimer(logPatience)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
		l.late.Store(true)
	}
	return nil
}

func (l *Logs) ended() {
	if l.running.Add(-1) == 0 {
		l.late.Store(false)
	}
}

func (g guarded) WithAttrs(attrs []slog.Attr) slog.Handler {
	return guarded{g.to.WithAttrs(attrs), g.logs}
}

func (g guarded) WithGroup(name string) slog.Handler { return guarded{g.to.WithGroup(name), g.logs} }
