package config

import (
	"fmt"

	"github.com/astra-grpc/astra/chaos"
)

// WatchOption configures [Watch].
type WatchOption func(*watcher)

// WithChaos runs the plan of the file's chaos object on the injector: it starts
// when the file gets one, and stops when the file has none any more or when the
// watch ends. A file with a chaos object is refused, as a whole, without an
// injector that has consent. See package chaos.
func WithChaos(i *chaos.Injector) WatchOption { return func(w *watcher) { w.chaos = i } }

// mayHaveChaos returns the fault of a document with a chaos object, if the
// program has not consented.
func (w *watcher) mayHaveChaos(d *Document) error {
	if d.chaos == nil || w.chaos != nil && w.chaos.Consented() {
		return nil
	}
	return d.errNoConsent()
}

// updateChaos begins or ends what the document says.
func (w *watcher) updateChaos(p *chaos.Plan) {
	if w.chaos == nil {
		return
	}
	if err := w.chaos.Update(p); err != nil { // it was valid, and consent was given
		w.suite.Logger().Error("astra: chaos: plan of the policy file not started", "path", w.path, "err", fmt.Sprint(err))
	}
}
