package engine

import (
	"github.com/astra-grpc/astra/internal/journal"
	"log/slog"
	"time"
)

// Host is what calls share with the suite that makes them.
type Host struct {
	Epoch  time.Time // the cores' time starts here
	Logger *slog.Logger

	Journal *journal.Journal // of notable calls; nil: none is kept
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
