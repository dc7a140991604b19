package interceptors_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// TestAttemptsOfAStream: when it has ended, and not before.
func TestAttemptsOfAStream(t *testing.T) {
	w := overTCP(t)
	w.Script(helloServer, flakyserver.Fail(codes.Unavailable, "not now"), flakyserver.OK())
	var r interceptors.CallReport
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{}, interceptors.Attempts(&r))
	if err != nil {
		t.Fatal(err)
	}
	for {
		if r != (interceptors.CallReport{}) {
			t.Fatalf("%+v before the end", r)
		}
		if _, err = stream.Recv(); err != nil {
			break
		}
	}
	if !errors.Is(err, io.EOF) || r.Attempts != 2 || r.Outcome != observe.SuccessAfterRetry || r.Code != codes.OK {
		t.Errorf("%v: %+v, want two attempts", err, r)
	}

	w.Script(helloServer, flakyserver.Fail(codes.NotFound, "nobody"))
	stream, err = w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{}, interceptors.Attempts(&r))
	for err == nil {
		_, err = stream.Recv()
	}
	if r.Attempts != 1 || r.Outcome != observe.Failed || r.Code != codes.NotFound || r.Reason != observe.ReasonNotRetryable {
		t.Errorf("%+v, want it not retryable", r)
	}
}

// TestAttemptsOfAnAbandonedStream: what the caller does with its report then is no
// race.
func TestAttemptsOfAnAbandonedStream(t *testing.T) {
	w := overTCP(t)
	w.Always(helloServer, flakyserver.Hang())
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		var r interceptors.CallReport
		if _, err := w.SayHelloServerStream(ctx, &greeterpb.HelloRequest{}, interceptors.Attempts(&r)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if r != (interceptors.CallReport{}) {
			t.Fatalf("%+v of a stream that nobody received", r)
		}
	}
}

// TestSnapshotOfBackends: which is out, since when and why; and what somebody forced
// open refuses calls although a backend is well.
// TestSnapshotOfATargetThatIsAway reports that nobody answered, and not what a server that
// fails its calls says.
func TestSnapshotOfATargetThatIsAway(t *testing.T) {
	for _, away := range []bool{true, false} {
		s := newSuite(t, interceptors.WithPolicy(onlyBreaker(interceptors.Breaker{OpenFor: time.Hour, MaxOpenFor: time.Hour})))
		w := dialTCP(t, s.DialOptions()...)
		if away {
			w.Refuse()
		} else {
			w.Always(method, flakyserver.Fail(codes.Unavailable, "scripted"))
		}
		for range 7 {
			_, _ = w.say(within(t))
		}
		b := theMethod(t, s).Breaker
		if b.State != "open" || b.NoConnection != away {
			t.Errorf("away %v: %+v", away, b)
		}
		if err := s.ForceOpen(w.cc.Target(), method, time.Hour); err != nil {
			t.Fatal(err)
		}
		if b := theMethod(t, s).Breaker; b.NoConnection {
			t.Errorf("held open by hand: %+v", b)
		}
	}
}

func TestSnapshotOfBackends(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(quick), interceptors.WithBalancing(interceptors.Balancing{Eject: interceptors.Eject{OpenFor: time.Hour, MaxOpenFor: time.Hour}}))
	servers, cc := dialSeveral(t, 2, s.DialOptions()...)
	if got := s.Snapshot().Backends; len(got) != 0 {
		t.Errorf("%+v before a call", got)
	}
	servers[0].Always(method, flakyserver.Fail(codes.Unavailable, "out of order"))
	client := greeterpb.NewGreeterClient(cc)
	ctx := within(t)
	var bad interceptors.BackendSnapshot
	for bad.State != "out" {
		if _, err := client.SayHello(ctx, &greeterpb.HelloRequest{}, grpc.WaitForReady(true)); ctx.Err() != nil {
			t.Fatalf("%v: never out: %+v", err, s.Snapshot().Backends)
		}
		for _, b := range s.Snapshot().Backends {
			if b.Address == servers[0].Addr() {
				bad = b
			} else if b.State != "in" {
				t.Fatalf("%+v, want it in", b)
			}
		}
	}
	if bad.Target != "several:///greeters" || bad.Why != "consecutive" && bad.Why != "failure_rate" && bad.Why != "failure_balance" || time.Since(bad.Since) > time.Minute || time.Until(bad.NextProbe) < 30*time.Minute || !bad.Connected || !bad.Believed || bad.Failed == 0 {
		t.Errorf("%+v, want it out, and why", bad)
	}
	if err := s.ForceOpen("several:///greeters", method, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SayHello(ctx, &greeterpb.HelloRequest{}); !errors.Is(err, interceptors.ErrBreakerOpen) {
		t.Errorf("%v while forced open, want it refused", err)
	}
}
