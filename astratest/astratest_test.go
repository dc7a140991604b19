package astratest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/astratest"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/jitter"
	"github.com/astra-grpc/astra/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const find = "/search.Search/Find"

// patient retries without jitter, so that schedules are exact.
var patient = interceptors.Policy{Retry: interceptors.Retry{Backoff: jitter.Backoff{Jitter: jitter.None}}}

func newSuite(t *testing.T, opts ...interceptors.Option) *interceptors.Suite {
	t.Helper()
	s, err := interceptors.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func invoke(conn *grpc.ClientConn) error {
	return conn.Invoke(context.Background(), find, &emptypb.Empty{}, &emptypb.Empty{})
}

// spy is a test that a kit's function may fail.
type spy struct {
	testing.TB
	failed string
}

func (s *spy) Helper() {}

func (s *spy) Errorf(format string, args ...any) { s.failed = fmt.Sprintf(format, args...) }

func TestScriptedServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := astratest.Start(t)
		rec := &astratest.Recorder{}
		suite := newSuite(t, interceptors.WithPolicy(patient), interceptors.WithObserver(rec))
		conn := s.Dial(suite.DialOptions()...)
		s.Script(find, astratest.Fail(codes.Unavailable, "no").Pushback(50*time.Millisecond), astratest.Reset(), astratest.OK().Reply(wrapperspb.String("found")))

		var reply wrapperspb.StringValue
		err := conn.Invoke(t.Context(), find, wrapperspb.String("what"), &reply)
		astratest.WantCode(t, err, codes.OK)
		if reply.GetValue() != "found" {
			t.Errorf("reply %q, want the scripted one", reply.GetValue())
		}
		got := s.Attempts(find)
		astratest.WantAttempts(t, got, 3)
		astratest.WantWaits(t, got, 0, 50*time.Millisecond, 500*time.Millisecond)
		if !got[1].Reset || got[2].Previous != 2 || got[2].Code != codes.OK {
			t.Errorf("attempts %+v: want the second reset, the third to say that 2 came before", got)
		}
		rec.WantBreaker(t, find, observe.BreakerClosed)
		calls := rec.Calls(find)
		if len(calls) != 1 || calls[0].Outcome != observe.SuccessAfterRetry || calls[0].Attempts != 3 || calls[0].Waited != 550*time.Millisecond {
			t.Errorf("recorded %+v, want one success after 3 attempts and 550 ms of backoff", calls)
		}
	})
}

// What the assertions find wrong, they say, with what came.
func TestAssertionsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := astratest.StartBackends(t, 2)
		rec := &astratest.Recorder{}
		suite := newSuite(t, interceptors.WithPolicy(patient), interceptors.WithObserver(rec))
		conn := b.Dial(suite.DialOptions()...)
		b[0].Always(find, astratest.Fail(codes.Unavailable, "bad"))
		b[1].Always(find, astratest.Fail(codes.Unavailable, "bad"))
		err := invoke(conn)
		got := b.Attempts(find)
		var order []int
		for _, a := range got {
			order = append(order, a.Backend)
		}

		for _, c := range []struct {
			name string
			good func(testing.TB)
			bad  func(testing.TB)
			want string
		}{
			{"attempts", func(tb testing.TB) { astratest.WantAttempts(tb, got, 3) }, func(tb testing.TB) { astratest.WantAttempts(tb, got, 2) }, "3 attempts, want 2\n  +0s backend"},
			{"waits", func(tb testing.TB) { astratest.WantWaits(tb, got, 0, 500*time.Millisecond, time.Second) }, func(tb testing.TB) { astratest.WantWaits(tb, got, 0.1, 500*time.Millisecond, 1200*time.Millisecond) }, "waited [500ms 1s]"},
			{"number of waits", func(tb testing.TB) { astratest.WantWaits(tb, got[:1], 0) }, func(tb testing.TB) { astratest.WantWaits(tb, got, 1, 500*time.Millisecond) }, "waited [500ms 1s]"},
			{"backends", func(tb testing.TB) { astratest.WantBackends(tb, got, order...) }, func(tb testing.TB) { astratest.WantBackends(tb, got, 0, 1) }, "went to the backends"},
			{"code", func(tb testing.TB) { astratest.WantCode(tb, err, codes.Unavailable) }, func(tb testing.TB) { astratest.WantCode(tb, err, codes.OK) }, "the call ended with Unavailable"},
			{"breaker", func(tb testing.TB) { rec.WantBreaker(tb, find, observe.BreakerClosed) }, func(tb testing.TB) { rec.WantBreaker(tb, find, observe.BreakerOpen) }, "is closed, want open"},
		} {
			good, bad := &spy{TB: t}, &spy{TB: t}
			c.good(good)
			c.bad(bad)
			if good.failed != "" || !strings.Contains(bad.failed, c.want) {
				t.Errorf("%s: good %q, bad %q; want %q of the bad alone", c.name, good.failed, bad.failed, c.want)
			}
		}
	})
}

func TestBreakerOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := astratest.Start(t)
		rec := &astratest.Recorder{}
		suite := newSuite(t, interceptors.WithObserver(rec), interceptors.WithPolicy(interceptors.Policy{
			Retry: interceptors.Retry{MaxAttempts: 1}, Breaker: interceptors.Breaker{Consecutive: 2},
		}))
		conn := s.Dial(suite.DialOptions()...)
		s.Down(astratest.Fail(codes.Unavailable, "down"))
		opened := make(chan struct{})
		go func() {
			defer close(opened)
			rec.Await(t, func() bool { return rec.BreakerState(find) == observe.BreakerOpen })
		}()
		for range 2 {
			astratest.WantCode(t, invoke(conn), codes.Unavailable)
		}
		<-opened
		rec.WantBreaker(t, find, observe.BreakerOpen)
		if err := invoke(conn); !errors.Is(err, interceptors.ErrBreakerOpen) {
			t.Errorf("the third call ended with %v, want ErrBreakerOpen", err)
		}
		astratest.WantAttempts(t, s.Attempts(astratest.Any), 2)
		s.Up()
		time.Sleep(2 * time.Second) // past the open time
		astratest.WantCode(t, invoke(conn), codes.OK)
		changes := rec.Changes(find)
		if len(changes) != 3 || changes[0].Reason != observe.ReasonConsecutive || changes[2].To != observe.BreakerClosed {
			t.Errorf("changes %+v, want open, half-open, closed", changes)
		}
	})
}

// A server over TCP is waited for, not slept for.
func TestTCP(t *testing.T) {
	s := astratest.StartTCP(t)
	conn := s.Dial(grpc.WithDisableRetry())
	s.Script(find, astratest.Hang())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- conn.Invoke(ctx, find, &emptypb.Empty{}, &emptypb.Empty{}) }()
	s.Await(func() bool { return len(s.Attempts(find)) == 1 })
	cancel()
	astratest.WantCode(t, <-done, codes.Canceled)
	s.AwaitAttempts(find, 1)
	if a := s.Attempts(find)[0]; a.Code != codes.Canceled {
		t.Errorf("the attempt ended with %v, want CANCELLED", a.Code)
	}
	s.Refuse()
	astratest.WantCode(t, invoke(conn), codes.Unavailable)
	s.Accept()
	astratest.WantCode(t, conn.Invoke(t.Context(), find, &emptypb.Empty{}, &emptypb.Empty{}, grpc.WaitForReady(true)), codes.OK)
	if !strings.HasPrefix(s.Addr(), "127.0.0.1:") {
		t.Errorf("address %s", s.Addr())
	}
}

// A stream of a service that nobody describes, cut after two messages.
// A call that a GOAWAY accompanies is answered; the next has another connection.
func TestGoAway(t *testing.T) {
	s := astratest.StartTCP(t)
	s.Script(find, astratest.OK(), astratest.GoAway(), astratest.OK())
	conn := s.Dial()
	var used [3]peer.Peer
	for i := range used {
		err := conn.Invoke(t.Context(), find, &emptypb.Empty{}, &emptypb.Empty{}, grpc.WaitForReady(true), grpc.Peer(&used[i]))
		astratest.WantCode(t, err, codes.OK)
	}
	if before, last, after := used[0].LocalAddr.String(), used[1].LocalAddr.String(), used[2].LocalAddr.String(); last != before || after == last {
		t.Errorf("calls came from %s, %s and %s: want the third alone on another connection", before, last, after)
	}
	astratest.WantAttempts(t, s.Attempts(find), 3)
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := astratest.Start(t)
		conn := s.Dial()
		s.Script(find, astratest.Reset().Reply(wrapperspb.String("a"), wrapperspb.String("b")))
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, find)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(stream.SendMsg(&emptypb.Empty{}), stream.CloseSend()); err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			var m wrapperspb.StringValue
			if err = stream.RecvMsg(&m); err != nil {
				break
			}
			got = append(got, m.GetValue())
		}
		astratest.WantCode(t, err, codes.Unavailable)
		if errors.Is(err, io.EOF) || strings.Join(got, "") != "ab" {
			t.Errorf("received %q, then %v; want a and b, then the cut", got, err)
		}
	})
}

func TestShareAndAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := astratest.Start(t)
		conn := s.Dial(grpc.WithDisableRetry())
		s.Share(find, 7, 0.3, astratest.Fail(codes.Aborted, "by chance"))
		failed := 0
		for range 1000 {
			if invoke(conn) != nil {
				failed++
			}
		}
		if failed < 250 || failed > 350 {
			t.Errorf("%d of 1000 failed, want about 300", failed)
		}
		s.Always(find, astratest.Fail(codes.NotFound, "").RetryInfo(time.Second).Header("a", "b").Trailer("c", "d"))
		astratest.WantCode(t, invoke(conn), codes.NotFound)
	})
}
