// Package changelog logs the changes of breakers, backends and retry budgets, and bounds how much is logged.
package changelog

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	astracodes "github.com/astra-grpc/astra/codes"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/observe"
)

// The records of one kind that are let through, unless somebody says otherwise.
const (
	DefaultRate  = 10 // a second
	DefaultBurst = 50
)

// Sampler bounds the records of one kind, and counts those held back.
type Sampler struct {
	bucket *Bucket
	epoch  time.Time
	held   atomic.Int64 // since the last record
}

// NewSampler returns a sampler that lets perSecond records through in the long
// run, and burst at once. Values that are not above 0, or 1, are the defaults.
func NewSampler(perSecond float64, burst int) *Sampler {
	return &Sampler{bucket: NewBucket(perSecond, burst), epoch: time.Now()}
}

// Pass reports whether there is room for a record.
func (s *Sampler) Pass() bool {
	if s.bucket.Take(time.Since(s.epoch)) {
		return true
	}
	s.held.Add(1)
	return false
}

// Held returns how many records were held back since it was called last.
func (s *Sampler) Held() int64 { return s.held.Swap(0) }

// Changes logs those of breakers, backends and retry budgets. Probes and openings have samplers of their own:
// a server that hangs has many a second of the former.
type Changes struct {
	to            func() *slog.Logger
	prefix        string // of messages
	turns, probes *Sampler
}

// NewChanges returns one that logs to whatever to returns at the time.
func NewChanges(to func() *slog.Logger, prefix string, perSecond float64, burst int) *Changes {
	return &Changes{to: to, prefix: prefix, turns: NewSampler(perSecond, burst), probes: NewSampler(perSecond, burst)}
}

// record is what is logged of a change.
type record struct {
	level   slog.Level
	message string
	sampler *Sampler
}

// of returns what is logged of an event; ok is false if it is no change.
func (c *Changes) of(e observe.Event) (r record, ok bool) {
	messages, ok := messages[e.Kind]
	switch {
	case !ok:
	case e.Kind == observe.BudgetEmpty:
		r = record{slog.LevelWarn, messages.opened, c.turns}
	case e.To == observe.BreakerClosed:
		r = record{slog.LevelInfo, messages.recovered, c.turns}
	case e.To == observe.BreakerHalfOpen:
		r = record{slog.LevelDebug, messages.probes, c.probes}
	case e.From == observe.BreakerHalfOpen:
		r = record{slog.LevelDebug, messages.probed, c.probes}
	default:
		r = record{slog.LevelWarn, messages.opened, c.turns}
	}
	return r, ok
}

// messages are those of the kinds of events that are changes.
var messages = map[observe.Kind]struct{ opened, probes, probed, recovered string }{
	observe.BreakerChange: {"breaker opened", "breaker probes", "breaker stays open", "breaker closed"},
	observe.BackendChange: {"backend ejected", "backend on trial", "backend stays ejected", "backend back in use"},

	observe.BudgetEmpty:     {opened: "retry budget empty: failed calls are not retried"},
	observe.BudgetRecovered: {recovered: "retry budget recovered"},
}

// Wants reports whether an event is to be logged. It must be asked once for each.
func (c *Changes) Wants(e observe.Event) bool {
	r, ok := c.of(e)
	return ok && c.to().Enabled(context.Background(), r.level) && r.sampler.Pass()
}

// Log writes the record of an event that is wanted; of others nothing.
func (c *Changes) Log(ctx context.Context, method, target string, e observe.Event) {
	r, ok := c.of(e)
	if !ok {
		return
	}
	attrs := append(make([]slog.Attr, 0, 9), slog.String("method", text.Name(method)), slog.String("target", text.Name(target)))
	if e.Backend != "" {
		attrs = append(attrs, slog.String("backend", text.Name(e.Backend)))
	}
	switch e.Kind {
	case observe.BudgetEmpty:
		if e.Code != 0 { // else a hedge took the last token, and nothing has failed
			attrs = append(attrs, slog.String("code", astracodes.Name(e.Code)))
		}
	case observe.BudgetRecovered:
		attrs = append(attrs, slog.Duration("empty_for", e.Delay.Round(time.Millisecond)))
	default:
		attrs = append(attrs, slog.String("from", e.From.String()), slog.String("to", e.To.String()), slog.String("reason", e.Reason.String()))
	}
	switch {
	case e.Delay == 0 || e.Kind == observe.BudgetRecovered:
	case e.To == observe.BreakerOpen:
		attrs = append(attrs, slog.Duration("next_probe_in", e.Delay.Round(time.Millisecond)))
	case e.To == observe.BreakerClosed:
		attrs = append(attrs, slog.Duration("open_for", e.Delay.Round(time.Millisecond)))
	}
	if n := r.sampler.Held(); n > 0 {
		attrs = append(attrs, slog.Int64("dropped", n))
	}
	c.to().LogAttrs(ctx, r.level, c.prefix+r.message, attrs...)
}
