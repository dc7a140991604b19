//go:build unix

package chaostest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/observe"
)

// caller makes calls, with a suite or bare, and keeps books of them.
type caller struct {
	name    string
	number  uint64              // of the caller, in the numbers of its calls
	repeats bool                // its policy repeats what may have run
	worse   bool                // its policy may do worse than none
	suite   *interceptors.Suite // nil: bare
	conn    *grpc.ClientConn
	proxies []*Proxy
	seen    seen

	mu    sync.Mutex
	calls []*call // that have ended
}

// call is one call's books.
type call struct {
	id       uint64
	begin    time.Time
	end      time.Time
	method   string
	code     codes.Code
	err      error
	wrong    string       // what was wrong with an answer
	attempts atomic.Int32 // that went out beneath the suite
	finished atomic.Int32 // OnFinish was called
	late     time.Duration
}

// seen is what an observer counts.
type seen struct {
	mu        sync.Mutex
	endpoints []observe.Endpoint
	calls     atomic.Int64
	attempts  atomic.Int64
	backoffs  atomic.Int64 // begun less ended
	queued    atomic.Int64
}

// Observe implements [observe.Observer].
func (s *seen) Observe(e observe.Endpoint) observe.Hooks {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoints = append(s.endpoints, e)
	return observe.Hooks{Inline: true, Event: func(_ context.Context, e observe.Event) {
		switch e.Kind {
		case observe.CallEnd:
			s.calls.Add(1)
		case observe.AttemptEnd:
			s.attempts.Add(1)
		case observe.BackoffStart:
			s.backoffs.Add(1)
		case observe.BackoffEnd:
			s.backoffs.Add(-1)
		case observe.Queued:
			s.queued.Add(1)
		case observe.Dequeued:
			s.queued.Add(-1)
		}
	}}
}

type callKey struct{}

// count is beneath the suite.
func count(ctx context.Context) {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		c.attempts.Add(1)
	}
}

func countUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	count(ctx)
	return invoke(ctx, method, req, reply, cc, opts...)
}

func countStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, newStream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	count(ctx)
	return newStream(ctx, desc, cc, method, opts...)
}

// make makes one call, and enters it.
func (c *caller) make(n uint64, method string, size int, deadline time.Duration) {
	done := &call{id: c.number<<48 | n, method: method}
	done.begin = time.Now()
	end := done.begin.Add(deadline)
	ctx, cancel := context.WithDeadline(context.WithValue(context.Background(), callKey{}, done), end)
	defer cancel()
	finished := grpc.OnFinish(func(error) { done.finished.Add(1) })
	switch method {
	case unary:
		done.err = c.unary(ctx, done, size, finished)
	case list:
		done.err = c.list(ctx, done, size, finished)
	case upload:
		done.err = c.upload(ctx, done, size, finished)
	}
	done.end = time.Now()
	done.late = done.end.Sub(end)
	done.code = status.Code(done.err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, done)
}

func (c *caller) unary(ctx context.Context, done *call, size int, opt grpc.CallOption) error {
	var reply wrapperspb.BytesValue
	request := pack(done.id, 0, size)
	err := c.conn.Invoke(ctx, unary, wrapperspb.Bytes(request), &reply, opt)
	if err == nil && !bytes.Equal(reply.GetValue(), request) {
		done.wrong = "another reply came than was sent"
	}
	return err
}

func (c *caller) list(ctx context.Context, done *call, size int, opt grpc.CallOption) error {
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, list, opt)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(wrapperspb.Bytes(pack(done.id, 0, size))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for n := uint64(0); ; n++ {
		var m wrapperspb.BytesValue
		err := stream.RecvMsg(&m)
		switch {
		case errors.Is(err, io.EOF) && n == listed:
			return nil
		case errors.Is(err, io.EOF):
			done.wrong = fmt.Sprintf("a stream ended well after %d messages", n)
			return nil
		case err != nil:
			return err
		case !bytes.Equal(m.GetValue(), pack(done.id, n, size)):
			done.wrong = fmt.Sprintf("message %d of a stream is another", n)
		}
	}
}

func (c *caller) upload(ctx context.Context, done *call, size int, opt grpc.CallOption) error {
	stream, err := c.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true}, upload, opt)
	if err != nil {
		return err
	}
	for n := range uint64(listed) {
		if err := stream.SendMsg(wrapperspb.Bytes(pack(done.id, n, size))); errors.Is(err, io.EOF) {
			break // RecvMsg says why
		} else if err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	var m wrapperspb.BytesValue
	if err := stream.RecvMsg(&m); err != nil {
		return err
	}
	if id, n := unpack(m.GetValue()); id != done.id || n != listed {
		done.wrong = fmt.Sprintf("the server counted %d messages of call %d", n, id)
	}
	return nil
}

// load has all callers make the same calls at the same times, until it is stopped.
type load struct {
	stop    chan struct{}
	running sync.WaitGroup
	lag     atomic.Int64 // the longest that this machine was late by itself, in ns
}

func startLoad(callers []*caller, rng *rand.Rand, every, deadline time.Duration) *load {
	l := &load{stop: make(chan struct{})}
	l.running.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := uint64(0); ; n++ {
			select {
			case <-tick.C:
			case <-l.stop:
				return
			}
			method := []string{unary, unary, list, upload}[rng.IntN(4)]
			size := 16 + rng.IntN(2000)
			for _, c := range callers {
				l.running.Go(func() { c.make(n, method, size, deadline) })
			}
		}
	})
	l.running.Go(l.measureLag)
	return l
}

// measureLag waits for short times and sees how late it wakes: so late can any
// goroutine of this process be, whatever it waits for.
func (l *load) measureLag() {
	const wait = 5 * time.Millisecond
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		due := time.Now().Add(wait)
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-l.stop:
			return
		}
		l.lag.Store(max(l.lag.Load(), int64(time.Since(due))))
	}
}

// end waits for all calls.
func (l *load) end() {
	close(l.stop)
	l.running.Wait()
}

// burst has a caller make n calls at once.
func burst(t *testing.T, callers []*caller, n int, deadline time.Duration) {
	t.Helper()
	var running sync.WaitGroup
	for _, c := range callers {
		for i := range n {
			running.Go(func() { c.make(1<<32+uint64(i), unary, 100, deadline) })
		}
	}
	running.Wait()
}
