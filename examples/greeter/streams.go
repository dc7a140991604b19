package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

const (
	streamsPerSecond = 8 // server streams and client streams, in the act of that name
	greetings        = 3 // in a server stream
	party            = 4 // names in a client stream …
	nameEvery        = 5 * time.Millisecond
)

// errNotWhole is a stream that ended well, but not with what it should have
// brought: each message once, in order.
var errNotWhole = errors.New("messages are missing, doubled or out of order")

// streams makes streams, of each kind one after another, while that is the act,
// until ctx ends. Like calls they are not cut off.
func streams(ctx context.Context, greeter greeterpb.GreeterClient, books *ledger, pace float64) {
	every := time.Duration(float64(2*time.Second) / streamsPerSecond / pace)
	var workers sync.WaitGroup
	for _, say := range []func(context.Context, greeterpb.GreeterClient, int) error{listen, introduce} {
		workers.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for i := 0; ctx.Err() == nil; {
				if books.during(streamsAct) {
					books.checked(say(context.WithoutCancel(ctx), greeter, i))
					i++
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	workers.Wait()
}

// heard is what came of a stream so far. It goes with the stream's context, so
// that the journal can show where the stream was cut. Both look at it on the
// goroutine that receives.
type heard struct{ messages []string }

type heardKey struct{}

// listen makes a server stream. How often it was cut it does not notice.
func listen(ctx context.Context, greeter greeterpb.GreeterClient, i int) error {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	name, got := names[i%len(names)], &heard{}
	stream, err := greeter.SayHelloServerStream(context.WithValue(ctx, heardKey{}, got), &greeterpb.HelloRequest{Name: name})
	if err != nil {
		return err
	}
	for {
		reply, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		got.messages = append(got.messages, reply.GetMessage())
	}
	var want []string
	for n := range greetings {
		want = append(want, fmt.Sprintf("Hello %s #%d", name, n+1))
	}
	if !slices.Equal(got.messages, want) {
		return fmt.Errorf("%w: %q", errNotWhole, got.messages)
	}
	return nil
}

// introduce makes a client stream, which names a few with moments in between.
// That the server died meanwhile it does not notice.
func introduce(ctx context.Context, greeter greeterpb.GreeterClient, i int) error {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	stream, err := greeter.SayHelloClientStream(ctx)
	if err != nil {
		return err
	}
	var said []string
	for n := range party {
		said = append(said, names[(i+n)%len(names)])
		if err := stream.Send(&greeterpb.HelloRequest{Name: said[n]}); err != nil {
			break // CloseAndRecv returns why
		}
		wait(ctx, nameEvery)
	}
	reply, err := stream.CloseAndRecv()
	if err != nil {
		return err
	}
	if want := "Hello " + strings.Join(said, ", "); len(said) < party || reply.GetMessage() != want {
		return fmt.Errorf("%w: %q", errNotWhole, reply.GetMessage())
	}
	return nil
}
