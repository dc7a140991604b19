package real

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

func TestCanaries(t *testing.T) {
	var (
		watch  canaries
		failed = context.Canceled
	)
	attempt := func(reply any, err error) {
		got := watch.intercept(t.Context(), hello, nil, reply, nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			return err
		})
		if got != err {
			t.Errorf("the attempt ends with %v, want %v", got, err)
		}
	}
	want := func(what string, written, returned int64) {
		t.Helper()
		if watch.written.Load() != written || watch.returned.Load() != returned {
			t.Errorf("%s: %d written twice, %d after the return; want %d, %d", what, watch.written.Load(), watch.returned.Load(), written, returned)
		}
	}
	fresh := func() (*greeterpb.HelloReply, *canary) {
		reply := new(greeterpb.HelloReply)
		return reply, watch.hand(reply)
	}

	reply, k := fresh()
	attempt(reply, failed)
	attempt(reply, nil)
	k.done.Store(true)
	attempt(reply, failed)
	want("a retry, and a loser that was cancelled", 0, 0)

	reply, _ = fresh()
	attempt(reply, nil)
	attempt(reply, nil)
	attempt(reply, nil)
	want("three successes while the call runs", 1, 0)

	reply, k = fresh()
	attempt(reply, nil)
	k.done.Store(true)
	attempt(reply, nil)
	want("a success after the return", 2, 1)

	attempt(new(greeterpb.HelloReply), nil)
	attempt(new(greeterpb.HelloReply), nil)
	want("replies that are not the caller's", 2, 1)
}
