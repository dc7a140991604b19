package interceptors

import (
	"log/slog"
	"sync"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/internal/text"
)

// nativeRetryCheck looks for grpc-go's own retries beneath a suite, since the two
// multiply: four attempts over four are sixteen. An interceptor can see that a
// service config has a retry policy for the method, once the resolver has
// delivered it. It cannot see a policy of an xDS route, nor whether the
// connection was dialed with [grpc.WithDisableRetry], which makes the policy
// idle and the warning moot: [Suite.DialOptions] sets it and does not look.
type nativeRetryCheck struct {
	mu     sync.Mutex
	warned map[string]bool // by a target's name; nil: none
}

// maxWarned bounds the targets that are warned of: those that are others for
// each connection would be kept without end.
const maxWarned = 1000

// first reports whether a target is to be warned of.
func (l *nativeRetryCheck) first(target string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.warned[target] || len(l.warned) >= maxWarned {
		return false
	}
	if l.warned == nil {
		l.warned = make(map[string]bool)
	}
	l.warned[target] = true
	return true
}

// checkOnce checks a plan's method once, after a call that succeeded: before that the
// resolver may not have run.
func (l *nativeRetryCheck) checkOnce(log func() *slog.Logger, p *plan, cc *grpc.ClientConn, method string) {
	if l != nil && p.flags.Or(flagChecked)&flagChecked == 0 {
		l.warnOnce(log, p, cc, method)
	}
}

func (l *nativeRetryCheck) warnOnce(log func() *slog.Logger, p *plan, cc *grpc.ClientConn, method string) {
	if cc == nil || cc.GetMethodConfig(method).RetryPolicy == nil {
		return
	}
	if l.first(p.target) {
		log().Warn("astra: service config has a retry policy: unless the connection is dialed with"+
			" grpc.WithDisableRetry, grpc-go retries each attempt; dial with Suite.DialOptions",
			"target", text.Name(p.target), "method", text.Name(p.method))
	}
}
