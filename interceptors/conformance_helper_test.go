package interceptors_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/observe"
)

// streamKind is a kind of stream: its method and what a plain client of it does.
type streamKind struct {
	name, method string
	desc         grpc.StreamDesc
	client       string
}

var (
	onServer = &streamKind{"server", helloServer, grpc.StreamDesc{ServerStreams: true}, "send close all"}
	onClient = &streamKind{"client", helloClient, grpc.StreamDesc{ClientStreams: true}, "send*2 close all"}
	onBidi   = &streamKind{"bidi", helloBidi, grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "send*2 close all"}
	each     = []*streamKind{onServer, onClient, onBidi}
)

// options returns what the caller's options hold. Whether ours are filled if the
// context ends the stream is chance: see the package's documentation.
func (c *actor) options() []string {
	if c.cut {
		return nil
	}
	return []string{fmt.Sprint("options: header ", show(c.header), ", trailer ", show(c.trailer), ", peer ", c.peer.Addr != nil)}
}

// actor does what a row's program says and keeps the results.
type actor struct {
	t      *testing.T
	kind   *streamKind
	srv    *flakyserver.Server
	cc     *grpc.ClientConn
	watch  *wireWatch
	ctx    context.Context // of the stream
	cancel context.CancelFunc
	expire func()
	cut    bool // or to be cut by its context

	patience context.Context   // of the test
	stream   grpc.ClientStream // made when first needed
	sent     int
	pending  chan func() // of recv&
	results  []string
	final    error // what RecvMsg ended with

	header, trailer metadata.MD
	peer            peer.Peer
	finished        chan string
}

// setContext makes the stream's context, which can be cancelled and expire.
func (c *actor) setContext() {
	expired := make(chan struct{})
	c.expire = sync.OnceFunc(func() { close(expired) })
	context.AfterFunc(c.patience, c.expire)
	c.ctx, c.cancel = context.WithCancel(expiring{c.patience, expired})
}

// expiring is a context whose deadline passes on demand.
type expiring struct {
	context.Context
	expired chan struct{}
}

func (c expiring) Done() <-chan struct{} { return c.expired }

func (c expiring) Err() error {
	select {
	case <-c.expired:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

const (
	hugeBytes = 1 << 20
	padBytes  = 1000
)

// do performs one operation:
//
//	new                    makes the stream; what needs one does so too
//	send big send*5 big*5  sends a small message, or one of padBytes; several
//	huge bad               sends one past the size limit, one that has no encoding
//	close recv all         half-closes; receives one message, or all and the end
//	recv& join             receives meanwhile; waits for that
//	header trailer context calls the method of that name
//	dead:2                 waits until the client's transport has seen two attempts end
//	backoff:1              waits until the first backoff has begun, if it is ours
//	come:2 got:3           waits until the server has seen two attempts begin, has received three messages
//	goaway stop            the server says GOAWAY, or is closed
//	cancel expire          ends the context, as if by its deadline
//	deadline:1s            before all of the above: gives it a deadline
//	abandon                receives no more
func (c *actor) do(op string) {
	op, arg, _ := strings.Cut(op, ":")
	op, times, many := strings.Cut(op, "*")
	n, _ := strconv.Atoi(arg + times)
	switch op {
	case "deadline":
		d, err := time.ParseDuration(arg)
		if err != nil {
			c.t.Fatal(err)
		}
		c.cut = true
		c.ctx, c.cancel = context.WithTimeout(c.ctx, d)
		return
	case "stop":
		c.srv.Close()
		return
	case "dead":
		c.awaitDead(n)
		return
	case "come":
		c.await(func() bool { return c.srv.Stats(c.kind.method).Attempts >= int64(n) })
		return
	case "got":
		c.await(func() bool { return received(c.srv, c.kind.method) >= n })
		return
	case "goaway":
		c.srv.Script(method, flakyserver.GoAway())
		c.ping()
		return
	case "backoff":
		c.awaitWatch(func() bool { return !c.watch.ours || c.watch.paused >= n })
		return
	case "cancel":
		c.cut = true
		c.cancel()
		return
	case "expire":
		c.cut = true
		c.expire()
		return
	case "abandon":
		c.stream, c.final = nil, status.FromContextError(context.Canceled).Err()
		return
	case "join":
		(<-c.pending)()
		return
	}
	if !c.made() {
		return
	}
	switch op {
	case "new": // done
	case "send", "big":
		pad := ""
		if op == "big" {
			pad = strings.Repeat(".", padBytes)
		}
		if !many {
			n = 1
		}
		for range n {
			c.sent++
			c.send(op, &greeterpb.HelloRequest{Name: "m" + strconv.Itoa(c.sent) + pad})
		}
	case "huge":
		c.send(op, &greeterpb.HelloRequest{Name: strings.Repeat(".", hugeBytes)})
	case "bad":
		c.send(op, "no message")
	case "close":
		c.record(op, describe(c.stream.CloseSend()))
	case "recv":
		c.recv()()
	case "recv&":
		c.pending = make(chan func(), 1)
		go func(done chan<- func()) { done <- c.recv() }(c.pending)
	case "all":
		for c.final == nil {
			c.recv()()
		}
	case "header":
		md, err := c.stream.Header()
		c.record(op, show(md)+" "+describe(err))
	case "trailer":
		c.record(op, show(c.stream.Trailer()))
	case "context":
		_, ok := peer.FromContext(c.stream.Context())
		c.record(op, fmt.Sprint("peer ", ok))
	default:
		c.t.Fatalf("what is %q?", op)
	}
}

// made makes the stream, unless that has been tried.
func (c *actor) made() bool {
	if c.stream != nil || c.final != nil {
		return c.stream != nil
	}
	stream, err := c.cc.NewStream(c.ctx, &c.kind.desc, c.kind.method, grpc.Header(&c.header), grpc.Trailer(&c.trailer),
		grpc.Peer(&c.peer), grpc.OnFinish(func(err error) { c.finished <- describe(err) }))
	if err != nil {
		c.final = err
		c.record("new", describe(err))
		return false
	}
	c.stream = stream
	return true
}

func (c *actor) send(op string, m any) { c.record(op, describe(c.stream.SendMsg(m))) }

// recv receives, and returns its result as text.
func (c *actor) recv() func() {
	m := new(greeterpb.HelloReply)
	err := c.stream.RecvMsg(m)
	return func() {
		if err != nil {
			c.final = err
			c.record("recv", describe(err))
			return
		}
		text := m.GetMessage()
		if len(text) > 100 {
			text = fmt.Sprintf("%d bytes, sum %08x", len(text), crc32.ChecksumIEEE([]byte(text)))
		}
		c.record("recv", text)
	}
}

// record adds a result, or counts a repeated one.
func (c *actor) record(op, result string) {
	line := op + ": " + result
	if n := len(c.results); n > 0 {
		was, times, _ := strings.Cut(c.results[n-1], " ×")
		if was == line {
			k, _ := strconv.Atoi(times)
			c.results[n-1] = fmt.Sprintf("%s ×%d", line, max(k, 1)+1)
			return
		}
	}
	c.results = append(c.results, line)
}

func (c *actor) await(cond func() bool) {
	if err := c.srv.Await(c.patience, cond); err != nil {
		c.t.Fatalf("await: %v, after\n%s", err, strings.Join(c.results, "\n"))
	}
}

// awaitDead: the answer to a call of its own on the same connection is read
// after the attempt's end has been dealt with.
func (c *actor) awaitDead(n int) {
	c.awaitWatch(func() bool { return c.watch.ended >= n })
	c.ping()
}

func (c *actor) awaitWatch(cond func() bool) {
	for {
		c.watch.mu.Lock()
		holds := cond()
		c.watch.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-c.watch.changed:
		case <-c.patience.Done():
			c.t.Fatalf("nothing more happens after\n%s", strings.Join(c.results, "\n"))
		}
	}
}

func (c *actor) ping() {
	if _, err := greeterpb.NewGreeterClient(c.cc).SayHello(c.patience, &greeterpb.HelloRequest{}, grpc.WaitForReady(true)); err != nil {
		c.t.Error(err)
	}
}

func received(srv *flakyserver.Server, method string) (n int) {
	for _, a := range srv.Attempts(method) {
		n += a.Received
	}
	return n
}

// show returns metadata, except what every answer has, and the status's own.
func show(md metadata.MD) string {
	if md == nil {
		return "none"
	}
	rest := maps.Clone(map[string][]string(md))
	delete(rest, "content-type")
	delete(rest, "grpc-status-details-bin")
	return fmt.Sprintf("%q", rest)
}

// describe returns an error's text as far as it must agree: text of the transport's own
// may vary.
func describe(err error) string {
	switch s := status.Convert(err); {
	case err == nil:
		return "ok"
	case err == io.EOF: // as callers compare it
		return "EOF"
	case strings.Contains(s.Message(), "scripted"):
		return s.Code().String() + " " + s.Message()
	default:
		return s.Code().String()
	}
}

func codeOfEnd(err error) codes.Code {
	if errors.Is(err, io.EOF) {
		return codes.OK
	}
	return status.Code(err)
}

// wireWatch sees the attempts of one method from beneath: those of grpc-go's
// retries and ours alike.
type wireWatch struct {
	method  string
	ours    bool // it is an observer of ours too
	changed chan struct{}

	mu     sync.Mutex
	begun  int
	ended  int // on the wire, or with their connection
	paused int // backoffs begun; of our retries only
}

func (w *wireWatch) count(n *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*n++
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// Observe implements observe.Observer.
func (w *wireWatch) Observe(observe.Endpoint) observe.Hooks {
	return observe.Hooks{Event: w.event}
}

func (w *wireWatch) event(_ context.Context, e observe.Event) {
	if e.Kind == observe.BackoffStart {
		w.count(&w.paused)
	}
}

type watched struct{}

// TagRPC implements stats.Handler.
func (w *wireWatch) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, watched{}, info.FullMethodName == w.method)
}

// HandleRPC implements stats.Handler.
func (w *wireWatch) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if ours, _ := ctx.Value(watched{}).(bool); !ours {
		return
	}
	switch s := s.(type) {
	case *stats.Begin:
		if !s.IsTransparentRetryAttempt {
			w.count(&w.begun)
		}
	case *stats.InTrailer:
		w.count(&w.ended)
	}
}

// TagConn implements stats.Handler.
func (w *wireWatch) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements stats.Handler.
func (w *wireWatch) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		w.count(&w.ended)
	}
}
