package interceptors

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/astra-grpc/astra/internal/engine"
)

// channel is a connection as the engine knows it.
type channel struct{ cc *grpc.ClientConn }

// Down reports whether calls fail at once, as connecting has failed. An idle
// channel connects for the next call, and one that connects for the first time
// lets calls wait.
func (c channel) Down() bool {
	if c.cc == nil { // of an invoker that has none
		return true
	}
	s := c.cc.GetState()
	return s == connectivity.TransientFailure || s == connectivity.Shutdown
}

// unconnected says of an attempt that got no stream whether there is a connection
// now, and whether the call was to wait for one.
func unconnected(ev *engine.Evidence, cc *grpc.ClientConn, method string, opts []grpc.CallOption) {
	if !ev.Known || ev.Sent {
		return
	}
	ev.Down = unsettled(cc.GetState())
	if wait := cc.GetMethodConfig(method).WaitForReady; wait != nil {
		ev.Patient = *wait
	}
	for _, o := range opts {
		if o, ok := o.(grpc.FailFastCallOption); ok {
			ev.Patient = !o.FailFast
		}
	}
}

// unsettled reports whether grpc-go tries to connect, now or in a while.
func unsettled(s connectivity.State) bool {
	return s == connectivity.TransientFailure || s == connectivity.Connecting
}

// backOff waits for d, or until ctx ends. If the attempt before found no
// connection, it waits until there is one at most: the server has heard nothing of
// the call, so there is nothing to spare it.
func backOff(ctx context.Context, cc *grpc.ClientConn, d time.Duration, sent bool) {
	if sent || cc == nil || !unsettled(cc.GetState()) { // the last: it failed for its credentials, say
		wait(ctx, d)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for s := cc.GetState(); unsettled(s) && cc.WaitForStateChange(ctx, s); s = cc.GetState() {
	}
}
