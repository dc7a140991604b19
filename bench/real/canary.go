package real

import (
	"context"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
)

// canaries watch over the replies that callers hand in. An attempt that ends
// with success has decoded its answer into the reply that it was given: when a
// second does so to the same one, two have written to what the caller reads,
// and the caller may read either, a mixture, or see it change after the call
// has returned. No reply is read for this, so watching adds no race.
type canaries struct {
	replies  sync.Map // *greeterpb.HelloReply → *canary
	written  atomic.Int64
	returned atomic.Int64 // of written: those that it happened to after the return
}

type canary struct {
	writes atomic.Int32
	done   atomic.Bool
	marked atomic.Bool
}

// hand registers a reply before its call. It is kept, lest its address be
// another's.
func (c *canaries) hand(reply any) *canary {
	k := &canary{}
	c.replies.Store(reply, k)
	return k
}

// intercept is the innermost interceptor: it sees each attempt.
func (c *canaries) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoker(ctx, method, req, reply, cc, opts...)
	if err != nil {
		return err
	}
	if k, ok := c.replies.Load(reply); ok {
		if k := k.(*canary); k.writes.Add(1) > 1 && k.marked.CompareAndSwap(false, true) {
			c.written.Add(1)
			if k.done.Load() {
				c.returned.Add(1)
			}
		}
	}
	return nil
}
