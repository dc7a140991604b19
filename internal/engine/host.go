package engine

import (
	"log/slog"
	"time"
)

// host is what calls share with the suite that makes them.
type Host struct {
	Epoch  time.Time // the cores' time starts here
	Logger *slog.Logger
}

func (h *Host) Now() time.Duration { return time.Since(h.Epoch) }

func (h *Host) Log() *slog.Logger {
	if h.Logger != nil {
		return h.Logger
	}
	return slog.Default()
}
