package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// tally is an observer that only counts.
type tally struct{ calls, attempts, began, ended, saved atomic.Int64 }

func (o *tally) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Inline: true, Event: o.event}
}

func (o *tally) event(_ context.Context, e observe.Event) {
	switch e.Kind {
	case observe.CallEnd:
		o.calls.Add(1)
		if e.Outcome == observe.SuccessAfterRetry {
			o.saved.Add(1)
		}
	case observe.AttemptEnd:
		o.attempts.Add(1)
	case observe.BackoffStart:
		o.began.Add(1)
	case observe.BackoffEnd:
		o.ended.Add(1)
	}
}

// front is a server with a suite of its own, and connections to it.
type front struct {
	*flakyserver.Server
	tally
	suite   *interceptors.Suite
	clients []greeterpb.GreeterClient
	rough   bool
}

// newFront makes a server of which a fifth of all attempts meet a fault. A calm
// one has none that keep an attempt from being seen by the server.
func newFront(t *testing.T, rough bool, conns int) *front {
	t.Helper()
	server, err := flakyserver.Start(flakyserver.WithLog(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	f := &front{Server: server, rough: rough}
	p := quick
	p.Retry.MaxAttempts = 4
	p.Budget.Disabled = true
	p.Breaker.Disabled = true
	if rough {
		p.AttemptTimeout = 400 * ms
	}
	f.suite = newSuite(t, interceptors.WithPolicy(p), interceptors.WithObserver(&f.tally))
	fail := flakyserver.Fail(codes.Unavailable, "scripted")
	faults := []flakyserver.Step{
		fail, fail.AfterReceived(1), fail.AfterReplies(1).AfterReceived(2), fail.Pushback("1"), fail.Pushback("-1"),
		fail.Header("h", "1"), fail.AfterReplies(1),
		flakyserver.Fail(codes.DeadlineExceeded, "scripted"), flakyserver.Fail(codes.NotFound, "scripted"),
	}
	mixes := []flakyserver.Mix{{Rate: 0.2, Steps: faults}}
	if rough { // a reset takes all streams of its connection along
		mixes = []flakyserver.Mix{{Rate: 0.18, Steps: faults}, {Rate: 0.005, Steps: []flakyserver.Step{
			flakyserver.Reset(), flakyserver.Reset().AfterReceived(1), flakyserver.Reset().AfterReplies(1),
		}}, {Rate: 0.01, Steps: []flakyserver.Step{flakyserver.Hang(), flakyserver.Hang().After(ms)}}}
	}
	for i, m := range []string{helloServer, helloClient, helloBidi} {
		server.Random(m, uint64(i), mixes...)
	}
	for range conns {
		cc, err := server.Dial(append(f.suite.DialOptions(), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cc.Close() })
		f.clients = append(f.clients, greeterpb.NewGreeterClient(cc))
	}
	return f
}

// errLeft says that the caller left by its own wish.
var errLeft = errors.New("left")

// leave: on a calm server, only a caller that knows its attempt to have arrived
// leaves.
func (f *front) leaves(received int) bool {
	return (f.rough || received > 0) && rand.IntN(40) == 0
}

func (f *front) serverStream(ctx context.Context, client greeterpb.GreeterClient, name string) error {
	stream, err := client.SayHelloServerStream(ctx, &greeterpb.HelloRequest{Name: name})
	for n := 0; err == nil; n++ {
		if f.leaves(n) {
			return errLeft
		}
		var m *greeterpb.HelloReply
		m, err = stream.Recv()
		if want := fmt.Sprintf("Hello %s #%d", name, n+1); err == nil && m.GetMessage() != want {
			return fmt.Errorf("reply %q, want %q", m.GetMessage(), want)
		}
		if errors.Is(err, io.EOF) && n != 3 {
			return fmt.Errorf("%d replies", n)
		}
	}
	return err
}

func (f *front) clientStream(ctx context.Context, client greeterpb.GreeterClient, name string) error {
	stream, err := client.SayHelloClientStream(ctx)
	if err != nil {
		return err
	}
	m := new(greeterpb.HelloRequest) // changed once it is sent
	var names []string
	for i := range 1 + rand.IntN(4) {
		if f.leaves(0) {
			return errLeft
		}
		m.Name = fmt.Sprint(name, i)
		names = append(names, m.Name)
		if err := stream.Send(m); err != nil {
			break
		}
	}
	reply, err := stream.CloseAndRecv()
	if want := "Hello " + strings.Join(names, ", "); err == nil && reply.GetMessage() != want {
		return fmt.Errorf("reply %q, want %q", reply.GetMessage(), want)
	}
	return err
}

// bidi sends and receives in turn, or at the same time.
func (f *front) bidi(ctx context.Context, client greeterpb.GreeterClient, name string) error {
	stream, err := client.SayHelloBidi(ctx)
	if err != nil {
		return err
	}
	n := 1 + rand.IntN(4)
	m := new(greeterpb.HelloRequest)
	send := func(i int) error {
		m.Name = fmt.Sprint(name, i)
		return stream.Send(m)
	}
	inTurn := rand.IntN(2) == 0
	if !inTurn {
		var sender sync.WaitGroup
		sender.Go(func() {
			for i := range n {
				if send(i) != nil {
					return
				}
			}
			_ = stream.CloseSend()
		})
		defer sender.Wait()
	}
	for i := 0; ; i++ {
		if f.leaves(i) {
			return errLeft
		}
		if inTurn && i < n {
			_ = send(i)
		} else if inTurn {
			_ = stream.CloseSend()
		}
		reply, err := stream.Recv()
		if errors.Is(err, io.EOF) && i != n {
			return fmt.Errorf("%d replies to %d messages", i, n)
		}
		if err != nil {
			return err
		}
		if want := fmt.Sprint("Hello ", name, i); reply.GetMessage() != want {
			return fmt.Errorf("reply %q, want %q", reply.GetMessage(), want)
		}
	}
}

// one makes one stream and says what is wrong with it.
func (f *front) one(i int, failed *atomic.Int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if f.rough && i%50 == 0 { // at some moment or other
		defer time.AfterFunc(time.Duration(rand.IntN(5000))*time.Microsecond, cancel).Stop()
	}
	client := f.clients[i%len(f.clients)]
	name := fmt.Sprint("n", i, "-")
	var err error
	switch i % 3 {
	case 0:
		err = f.serverStream(ctx, client, name)
	case 1:
		err = f.clientStream(ctx, client, name)
	default:
		err = f.bidi(ctx, client, name)
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, errLeft) {
		return nil
	}
	failed.Add(1)
	switch status.Code(err) {
	case codes.Unavailable, codes.NotFound, codes.DeadlineExceeded:
		if ctx.Err() != context.DeadlineExceeded {
			return nil
		}
	case codes.Canceled:
		if ctx.Err() == context.Canceled {
			return nil
		}
	}
	return err
}

// TestStreamsUnderFaults: streams of every kind under every fault, many at a
// time. All are reported once, all they sent and received is right, and nothing
// is left of them.
func TestStreamsUnderFaults(t *testing.T) {
	streams := 100_000
	if testing.Short() {
		streams = 3000
	}
	for _, rough := range []bool{false, true} {
		f := newFront(t, rough, 8)
		var next, failed atomic.Int64
		var callers sync.WaitGroup
		begun := time.Now()
		for range 64 {
			callers.Go(func() {
				for {
					i := int(next.Add(1))
					if i > streams/2 || t.Failed() {
						return
					}
					if err := f.one(i, &failed); err != nil {
						t.Errorf("stream %d: %v", i, err)
					}
				}
			})
		}
		callers.Wait()
		if t.Failed() {
			return
		}
		f.settled(t, int64(streams/2))
		t.Logf("rough %v: %d streams in %v, %d attempts, %d saved, %d failed", rough, streams/2,
			time.Since(begun).Round(ms), f.attempts.Load(), f.saved.Load(), failed.Load())
	}
}

// settled sees that all is over that was begun: callers that left are reported
// a moment after.
func (f *front) settled(t *testing.T, streams int64) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); runtime.Gosched() {
		s := f.Stats(flakyserver.Any)
		if f.calls.Load() == streams && f.suite.ReplayBytes() == 0 && s.Ended == s.Attempts {
			break
		}
	}
	s := f.Stats(flakyserver.Any)
	if got := f.calls.Load(); got != streams {
		t.Errorf("%d ends of %d streams", got, streams)
	}
	if b, e := f.began.Load(), f.ended.Load(); b != e || b == 0 {
		t.Errorf("%d backoffs began, %d ended", b, e)
	}
	if got := f.suite.ReplayBytes(); got != 0 {
		t.Errorf("%d bytes are kept for replay", got)
	}
	if got := f.attempts.Load(); !f.rough && got != s.Attempts || got < s.Ended-s.Resets-streams/10 {
		t.Errorf("%d attempts, the server saw %d", got, s.Attempts)
	}
	if s.Ended != s.Attempts || f.saved.Load() < streams/20 {
		t.Errorf("%d of %d attempts ended on the server, %d streams saved", s.Ended, s.Attempts, f.saved.Load())
	}
}
