package interceptors

import (
	"log/slog"
	"sync"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/internal/engine"
	"github.com/astra-grpc/astra/internal/text"
	"github.com/astra-grpc/astra/internal/verdict"
	"github.com/astra-grpc/astra/jitter"
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

// inherited returns the policy of a call that has failed, if the service config of its
// connection has a retry policy: [Suite.DialOptions] turn off grpc-go's own retries, so
// the suite makes them where its policy says nothing of retries. nil: there is none, or
// it has been the call's since its first attempt. It is asked after a failure, as asking
// takes a lock, and the resolver may not have run before.
func (c *compiled) inherited(cc *grpc.ClientConn, method string, attempts int) *engine.Policy {
	if c == nil || !c.silent || cc == nil || attempts != 1 {
		return nil
	}
	native := cc.GetMethodConfig(method).RetryPolicy
	if native == nil {
		return nil
	}
	p := c.Policy
	p.Repeat = verdict.RepeatAny // who asks for retries gets them, by a service config too
	p.Retry.MaxAttempts = native.MaxAttempts
	p.Retry.Backoff = jitter.Backoff{Base: native.InitialBackoff, Max: native.MaxBackoff, Multiplier: native.BackoffMultiplier}
	p.Retry.Codes = 0
	for code, retried := range native.RetryableStatusCodes {
		if retried {
			p.Retry.Codes = p.Retry.Codes.With(code)
		}
	}
	return &p
}
