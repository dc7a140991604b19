package overhead

import (
	"context"
	"testing"

	"google.golang.org/grpc"
)

// serial measures a contender around the no-op invoker, one call after
// another. The context is the background's and there are no CallOptions, where
// peers are at their cheapest.
func serial(c Contender, cc *grpc.ClientConn) func(*testing.B) {
	return func(b *testing.B) {
		req, reply := request(), reply()
		b.ReportAllocs()
		for b.Loop() {
			if err := c.call(context.Background(), method, req, reply, cc, succeed); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// parallel is [serial] on all processors at once. A contender without shared
// state takes half the time on two.
func parallel(c Contender, cc *grpc.ClientConn) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			req, reply := request(), reply()
			for pb.Next() {
				if err := c.call(context.Background(), method, req, reply, cc, succeed); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
}
