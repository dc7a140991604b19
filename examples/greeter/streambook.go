package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/observe"
)

// streamCounts are of all streams so far.
type streamCounts struct {
	done     int // ended well
	retried  int // server streams, before their first message
	resumed  int // server streams, after a message
	replayed int // messages of client streams, sent again
	notWhole int // ended well, but with messages missing, doubled or out of order
}

// streamBook is the ledger's page for a method with streams.
type streamBook struct {
	*ledger
	method string
}

// start is [observe.Hooks.Start].
func (b streamBook) start(ctx context.Context, e observe.Event) (own context.Context, more bool) {
	if e.Kind == observe.AttemptStart && b.method == sayHelloServerStream {
		b.another(ctx, e.AttemptKind)
	}
	return b.ledger.start(ctx, e)
}

// another takes down what an attempt of a server stream is made for.
func (b streamBook) another(ctx context.Context, kind observe.AttemptKind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := time.Since(b.began)
	switch kind {
	case observe.RetryAttempt:
		b.streams.retried++
		b.journal.example(at, "retried", "stream cut before its first message: retried")
	case observe.ResumeAttempt:
		b.streams.resumed++
		got, _ := ctx.Value(heardKey{}).(*heard)
		if got == nil || len(got.messages) == 0 {
			return
		}
		cut := "stream cut after " + plural(len(got.messages), "message")
		b.journal.example(at, cut, fmt.Sprintf("%s: resumed after %q", cut, got.messages[len(got.messages)-1]))
	}
}

// event is [observe.Hooks.Event].
func (b streamBook) event(ctx context.Context, e observe.Event) {
	now := time.Now()
	at := now.Sub(b.began)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case e.Kind == observe.BackendChange:
		b.journal.write(entry{at, entryBreaker, b.backendChanged(e)})
	case e.Kind == observe.Replayed && b.method == sayHelloClientStream:
		b.streams.replayed += e.Messages
		again := plural(e.Messages, "message")
		b.journal.example(at, again, "client stream: "+again+" sent again")
	case e.Kind != observe.CallEnd:
	case e.Err == nil:
		b.streams.done++
	default:
		code := astracodes.Name(e.Code)
		b.journal.example(at, "stream"+code, fmt.Sprintf("stream failed after %s: %s", plural(e.Attempt, "attempt"), code))
	}
	b.count(callOf(ctx), now, e)
}

// checked hears from a stream's caller what it found.
func (l *ledger) checked(err error) {
	if !errors.Is(err, errNotWhole) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams.notWhole++
	l.journal.example(time.Since(l.began), "not whole", clip(err.Error(), 60))
}

// during reports whether the act is this one.
func (l *ledger) during(act string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.act != nil && l.act.name == act
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
