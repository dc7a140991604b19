package engine

import (
	"log/slog"
	"time"

	"github.com/astra-grpc/astra/observe"
)

// Host is what calls share with the suite that makes them.
type Host struct {
	Epoch  time.Time // the cores' time starts here
	Logger *slog.Logger

	LogChange func(method, target string, e observe.Event) // nil: an observer logs changes of breakers and backends
}

// Now returns the cores' time.
func (h *Host) Now() time.Duration { return time.Since(h.Epoch) }

// Log returns the suite's logger, or the default one.
func (h *Host) Log() *slog.Logger {
	if h.Logger != nil {
		return h.Logger
	}
	return slog.Default()
}
