package statuspage

import (
	"log/slog"
	"testing"

	"github.com/astra-grpc/astra/observe"
)

var quiet = slog.New(slog.DiscardHandler)

// TestWordsForEveryReason: a reason that is added must be shown to people, too.
func TestWordsForEveryReason(t *testing.T) {
	for r := observe.ReasonNotRetryable; r.String() != "invalid"; r++ {
		name := r.String()
		switch {
		case r == observe.ReasonNotRetryable, r == observe.ReasonMustWait: // said otherwise, or of calls that pass
		case breakerWhy[name] == "" && notRetried[name] == "":
			t.Errorf("no words for %s", name)
		}
	}
	for _, o := range observe.Outcomes() {
		if _, ok := outcomes[o.String()]; !ok && o != observe.SuccessFirst {
			t.Errorf("no words for %s", o)
		}
	}
}
