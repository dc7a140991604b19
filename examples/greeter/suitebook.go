package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/astra-grpc/astra/config"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

var _ observe.SuiteObserver = (*ledger)(nil)

// SuiteEvent implements [observe.SuiteObserver]: it takes down that policies
// were replaced, or why not. What concerns stores is in the log.
func (l *ledger) SuiteEvent(e observe.SuiteEvent) {
	if e.Kind != observe.Reloaded {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := time.Since(l.began)
	if e.Err != nil {
		l.refusal = e.Err.Error()
		l.journal.write(entry{at, entrySuite, "bad file, " + firstFault(e.Err)})
		return
	}
	l.generation++
	l.journal.write(entry{at, entrySuite, fmt.Sprintf("policies replaced: generation %d", l.generation)})
}

// firstFault describes a policy file's first fault in a line that is not too long
// for a view: the line number says where its key is.
func firstFault(err error) string {
	if first := (*config.Fault)(nil); errors.As(err, &first) {
		f := *first
		f.File, f.Column = "", 0
		f.Key = f.Key[strings.LastIndexByte(f.Key, '.')+1:]
		return f.Error()
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// suiteLog is a [slog.Handler] that writes what the suite warns of into the
// journal: elsewhere it would break the view.
type suiteLog struct {
	slog.Handler // what is not needed here
	books        *ledger
}

func (l *ledger) logger() *slog.Logger { return slog.New(suiteLog{slog.DiscardHandler, l}) }

// Enabled implements [slog.Handler].
func (suiteLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (s suiteLog) Handle(_ context.Context, r slog.Record) error {
	text, why := strings.TrimPrefix(r.Message, "astra: "), ""
	if strings.HasPrefix(text, "breaker ") || strings.HasPrefix(text, "backend ") {
		return nil // came as an event, with its reason
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" || a.Key == "warning" {
			why = a.Value.String()
			text += ": " + strings.ReplaceAll(why, "\n", "; ")
		}
		return true
	})
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	if why == "" || why != s.books.refusal { // that came as a SuiteEvent
		s.books.journal.write(entry{time.Since(s.books.began), entrySuite, text})
	}
	return nil
}

// keptState is a store that reports to the ledger how long the breaker of sayHello
// has to stay open, if an earlier process left it so.
type keptState struct {
	interceptors.Store
	target string
	books  *ledger
}

// Attach implements [interceptors.Store].
func (k keptState) Attach(l interceptors.StoreHandle) error {
	err := k.Store.Attach(l)
	for _, b := range l.State().Breakers {
		if b.Target == k.target && b.Method == sayHello {
			k.books.mu.Lock()
			k.books.openUntil = time.Now().Add(b.Left)
			k.books.mu.Unlock()
		}
	}
	return err
}

// restored takes down that the breaker is as it was before the restart, with mu
// held.
func (l *ledger) restored(now time.Time) {
	text := "breaker open since before the restart: half-open "
	if left := l.openUntil.Sub(now); left > 0 {
		text += "in " + short(left) + " at most" // enough refused calls make it sooner
	} else {
		text += "at once"
	}
	l.journal.write(entry{now.Sub(l.began), entryBreaker, text})
}
