package engine

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/astra-grpc/astra/internal/hooks"
	"github.com/astra-grpc/astra/internal/journal"
	"github.com/astra-grpc/astra/observe"
)

// Host is what calls share with the suite that makes them.
type Host struct {
	Epoch     time.Time // the cores' time starts here
	Logger    *slog.Logger
	Journal   *journal.Journal                             // of notable calls; nil: none is kept
	LogChange func(method, target string, e observe.Event) // nil: an observer logs changes of breakers and backends

	logs hooks.Logs

	// Of a simulation:
	Clock  func() time.Duration // instead of the time since Epoch; nil: that
	Chance func() float64       // in [0,1), instead of the program's own; nil: that
}

// Now returns the cores' time.
func (h *Host) Now() time.Duration {
	if h.Clock != nil {
		return h.Clock()
	}
	return time.Since(h.Epoch)
}

// until returns how long it is until a deadline.
func (h *Host) until(deadline time.Time) time.Duration {
	if h.Clock != nil {
		return deadline.Sub(h.Epoch) - h.Clock()
	}
	return time.Until(deadline)
}

func (h *Host) chance() float64 {
	if h.Chance != nil {
		return h.Chance()
	}
	return rand.Float64()
}

// Log returns a logger to the handler of the suite's, or of the default one. It
// does no harm if that blocks or panics.
func (h *Host) Log() *slog.Logger {
	if h.Logger != nil {
		return h.logs.To(h.Logger)
	}
	return h.logs.To(slog.Default())
}
