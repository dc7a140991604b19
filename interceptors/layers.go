package interceptors

import (
	"sync"

	"google.golang.org/grpc"
)

// layers looks for grpc-go's own retries beneath a suite, since the two
// multiply: four attempts over four are sixteen. An interceptor can see that a
// service config has a retry policy for the method, once the resolver has
// delivered it. It cannot see a policy of an xDS route, nor whether the
// connection was dialed with [grpc.WithDisableRetry], which makes the policy
// idle and the warning moot: [Suite.DialOptions] sets it and does not look.
type layers struct {
	warned sync.Map // target → nothing
}

// look checks a plan's method once, after a call that succeeded: before that the
// resolver may not have run.
func (l *layers) look(s *Suite, p *plan, cc *grpc.ClientConn, method string) {
	if l != nil && p.marks.Or(markChecked)&markChecked == 0 {
		l.check(s, cc, method)
	}
}

func (l *layers) check(s *Suite, cc *grpc.ClientConn, method string) {
	if cc == nil || cc.GetMethodConfig(method).RetryPolicy == nil {
		return
	}
	if _, known := l.warned.LoadOrStore(cc.Target(), nil); !known {
		s.Log().Warn("astra: the service config has a retry policy: unless the connection is dialed with"+
			" grpc.WithDisableRetry, grpc-go retries each of our attempts; use Suite.DialOptions",
			"target", cc.Target(), "method", method)
	}
}
