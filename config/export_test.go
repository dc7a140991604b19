package config

import (
	"context"
	"errors"
	"time"

	"github.com/astra-grpc/astra/interceptors"
)

// WatchBlind is Watch where there are no notifications.
func WatchBlind(ctx context.Context, path string, s *interceptors.Suite, opts ...WatchOption) error {
	return watch(ctx, path, s, usualPace, func() (*notifier, error) { return nil, errors.New("no handles left") }, opts...)
}

// WatchPatiently is Watch with another quiet time.
func WatchPatiently(ctx context.Context, path string, s *interceptors.Suite, quiet time.Duration) error {
	p := usualPace
	p.quiet, p.most = quiet, 10*quiet
	return watch(ctx, path, s, p, newNotifier)
}

// WatchNotifiedOnly is Watch that does not look at the file but when notified.
func WatchNotifiedOnly(ctx context.Context, path string, s *interceptors.Suite, opts ...WatchOption) error {
	p := usualPace
	p.poll = time.Hour
	return watch(ctx, path, s, p, newNotifier, opts...)
}

// WatchOften is Watch that looks at the file often, too.
func WatchOften(ctx context.Context, path string, s *interceptors.Suite, opts ...WatchOption) error {
	p := usualPace
	p.poll = 50 * time.Millisecond
	return watch(ctx, path, s, p, newNotifier, opts...)
}

// Trail is what Watch follows.
var Trail = trail

// The bounds of a document.
const (
	MaxBytes = maxBytes
	MaxNodes = maxNodes
	MaxDepth = maxDepth
)
