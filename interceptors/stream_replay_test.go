package interceptors_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
)

// beneath is an interceptor under the suite that sees each message sent, and
// may send others.
type beneath struct {
	mu      sync.Mutex
	seen    [][]any // of each attempt
	send    func(n int, m any, send func(any) error) error
	enter   func() // RecvMsg; nil: nobody asks
	receive func(m any)
}

type beneathStream struct {
	grpc.ClientStream
	of      *beneath
	attempt int
}

func (b *beneath) option() grpc.DialOption {
	return grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, m string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		inner, err := open(ctx, d, cc, m, opts...)
		if err != nil {
			return nil, err
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen = append(b.seen, nil)
		return &beneathStream{inner, b, len(b.seen) - 1}, nil
	})
}

func (s *beneathStream) SendMsg(m any) error {
	s.of.mu.Lock()
	s.of.seen[s.attempt] = append(s.of.seen[s.attempt], proto.Clone(m.(proto.Message)))
	n := 0
	for _, of := range s.of.seen {
		n += len(of)
	}
	s.of.mu.Unlock()
	if s.of.send == nil {
		return s.ClientStream.SendMsg(m)
	}
	return s.of.send(n, m, s.ClientStream.SendMsg)
}

func (s *beneathStream) RecvMsg(m any) error {
	if s.of.enter != nil {
		s.of.enter()
	}
	err := s.ClientStream.RecvMsg(m)
	if err == nil && s.of.receive != nil {
		s.of.receive(m)
	}
	return err
}

// names is what an attempt saw.
func (b *beneath) names(attempt int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	if attempt < len(b.seen) {
		for _, m := range b.seen[attempt] {
			r := m.(proto.Message).ProtoReflect()
			all = append(all, r.Get(r.Descriptor().Fields().ByName("name")).String())
		}
	}
	return strings.Join(all, " ")
}

func dialBeneath(t *testing.T, b *beneath, opts ...interceptors.Option) *wire {
	t.Helper()
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	return dialSuite(t, server, newSuite(t, append([]interceptors.Option{interceptors.WithPolicy(quick)}, opts...)...), b.option())
}

// upload sends a, b and c; the first attempt fails after a. The sender finds it
// dead, or, as it does not wait for that, the receiver mostly.
func (w *wire) upload(t *testing.T, sender bool) (*greeterpb.HelloReply, error) {
	t.Helper()
	w.Script(helloClient, flakyserver.Fail(codes.Unavailable, "").AfterReceived(1), flakyserver.OK())
	stream, err := w.SayHelloClientStream(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"a", "b", "c"} {
		if sender && i == 1 {
			failed := func() bool { return w.Stats(helloClient).Codes[codes.Unavailable] == 1 }
			if err := w.Await(within(t), failed); err != nil {
				t.Fatal(err)
			}
		}
		if err := stream.Send(&greeterpb.HelloRequest{Name: name}); err != nil {
			return nil, err
		}
	}
	return stream.CloseAndRecv()
}

// TestReplayRefused: a message that is refused on a replay is not left out.
func TestReplayRefused(t *testing.T) {
	for _, sender := range []bool{false, true} {
		refuse := &beneath{}
		refuse.send = func(_ int, m any, send func(any) error) error {
			if refuse.names(1) != "" {
				return status.Error(codes.ResourceExhausted, "too many messages")
			}
			return send(m)
		}
		reply, err := dialBeneath(t, refuse).upload(t, sender)
		if err == nil || status.Code(err) != codes.ResourceExhausted {
			t.Errorf("sender %v: %v, %v", sender, reply, err)
		}
	}
}

// TestReplayPanics: what panics on a goroutine of ours must not end the process.
func TestReplayPanics(t *testing.T) {
	panics := &beneath{}
	panics.send = func(_ int, m any, send func(any) error) error {
		if panics.names(1) != "" {
			panic("no")
		}
		return send(m)
	}
	log := make(chan string, 1)
	w := dialBeneath(t, panics, interceptors.WithLogger(slog.New(slog.NewTextHandler(lines(func(line string) {
		if strings.Contains(line, "panicked") {
			log <- line
		}
	}), nil))))
	w.Script(helloBidi, flakyserver.Fail(codes.Unavailable, "").AfterReceived(1), flakyserver.OK())
	stream, err := w.SayHelloBidi(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&greeterpb.HelloRequest{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv() // drives, and the replay is on a goroutine
	wantCode(t, err, codes.Internal)
	if line := <-log; !strings.Contains(line, "replaying a stream's messages panicked") {
		t.Errorf("logged %s", line)
	}
}

// TestReplayOfTransformedMessages: an interceptor beneath that encrypts, splits
// or withholds messages sees, on each attempt, what the caller sent.
func TestReplayOfTransformedMessages(t *testing.T) {
	request := func(name string) *greeterpb.HelloRequest { return &greeterpb.HelloRequest{Name: name} }
	for what, tc := range map[string]struct {
		send func(n int, m any, send func(any) error) error
		want string
	}{
		"encrypted": {func(_ int, m any, send func(any) error) error {
			return send(request("<" + m.(*greeterpb.HelloRequest).GetName() + ">"))
		}, "Hello <a>, <b>, <c>"},
		"split": {func(_ int, m any, send func(any) error) error {
			if err := send(request(m.(*greeterpb.HelloRequest).GetName() + "1")); err != nil {
				return err
			}
			return send(request(m.(*greeterpb.HelloRequest).GetName() + "2"))
		}, "Hello a1, a2, b1, b2, c1, c2"},
		"with another after it": {func(_ int, m any, send func(any) error) error {
			if err := send(m); err != nil {
				return err
			}
			return send(request("+"))
		}, "Hello a, +, b, +, c, +"},
	} {
		for _, sender := range []bool{false, true} {
			b := &beneath{send: tc.send}
			reply, err := dialBeneath(t, b).upload(t, sender)
			if err != nil || reply.GetMessage() != tc.want || b.names(1) != "a b c" {
				t.Errorf("%s, sender %v: %q, %v; the second attempt saw %q", what, sender, reply.GetMessage(), err, b.names(1))
			}
		}
	}
}

// TestReplayOfDynamicMessages: their zero value means nothing.
func TestReplayOfDynamicMessages(t *testing.T) {
	b := &beneath{}
	w := dialBeneath(t, b)
	w.Script(helloClient, flakyserver.Fail(codes.Unavailable, "").AfterReceived(1), flakyserver.OK())
	stream, err := w.cc.NewStream(within(t), &grpc.StreamDesc{ClientStreams: true}, helloClient)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		m := dynamicpb.NewMessage((&greeterpb.HelloRequest{}).ProtoReflect().Descriptor())
		m.Set(m.Descriptor().Fields().ByName("name"), (&greeterpb.HelloRequest{Name: name}).ProtoReflect().Get(m.Descriptor().Fields().ByName("name")))
		if err := stream.SendMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	reply := &greeterpb.HelloReply{}
	if err := stream.RecvMsg(reply); err != nil || reply.GetMessage() != "Hello a, b" || b.names(1) != "a b" {
		t.Errorf("%q, %v; seen %q", reply.GetMessage(), err, b.names(1))
	}
}

// TestSendRefusedBesideAReceiver: the error is the sender's at once.
func TestSendRefusedBesideAReceiver(t *testing.T) {
	refuse := &beneath{send: func(int, any, func(any) error) error { return status.Error(codes.ResourceExhausted, "") }}
	entered := make(chan struct{})
	refuse.enter = func() { close(entered) }
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := dialBeneath(t, refuse).SayHelloBidi(ctx)
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan struct{})
	go func() {
		defer close(received)
		_, _ = stream.Recv()
	}()
	defer func() {
		cancel()
		<-received
	}()
	<-entered
	sent := make(chan error, 1)
	go func() { sent <- stream.Send(&greeterpb.HelloRequest{}) }()
	select {
	case err := <-sent:
		wantCode(t, err, codes.ResourceExhausted)
	case <-time.After(5 * time.Second):
		t.Error("SendMsg hangs")
	}
}

// TestResumeIsGivenTheCallersForms: what an interceptor beneath has decrypted,
// and not yet encrypted.
func TestResumeIsGivenTheCallersForms(t *testing.T) {
	b := &beneath{
		send: func(_ int, m any, send func(any) error) error {
			return send(&greeterpb.HelloRequest{Name: "<" + m.(*greeterpb.HelloRequest).GetName() + ">"})
		},
		receive: func(m any) {
			reply := m.(*greeterpb.HelloReply)
			reply.Message = strings.NewReplacer("<", "", ">", "").Replace(reply.GetMessage())
		},
	}
	w := dialBeneath(t, b, interceptors.WithResume(helloServer, func(_ context.Context, sent, last any) (any, bool) {
		if got := fmt.Sprint(sent.(*greeterpb.HelloRequest).GetName(), last.(*greeterpb.HelloReply).GetMessage()); got != "AnnHello Ann #1" {
			t.Errorf("asked with %s", got)
		}
		return sent, true
	}))
	cut := flakyserver.Fail(codes.Unavailable, "cut").Header("attempt", "first")
	w.Script(helloServer, cut.AfterReplies(1), flakyserver.OK().Header("attempt", "second"))
	stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
	if err != nil {
		t.Fatal(err)
	}
	ctx := stream.Context()
	for range 2 {
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if md, _ := stream.Header(); fmt.Sprint(md["attempt"]) != "[first]" {
		t.Errorf("the header turned into %v", md)
	}
	if ctx.Err() != nil {
		t.Error("the context that the stream gave has ended, and the stream goes on")
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if ctx.Err() == nil {
		t.Error("the context outlives the stream")
	}
}

// TestResumeBeforeTheFirstMessage: a header is no message; the request is sent
// again.
func TestResumeBeforeTheFirstMessage(t *testing.T) {
	b := &beneath{}
	w := dialBeneath(t, b, interceptors.WithResume(helloServer, func(context.Context, any, any) (any, bool) {
		t.Error("asked what follows nothing")
		return nil, false
	}))
	for _, header := range []bool{false, true} {
		w.Script(helloServer, flakyserver.Fail(codes.Unavailable, "cut").Header("a", "b"), flakyserver.OK())
		stream, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
		if err != nil {
			t.Fatal(err)
		}
		if header {
			if md, err := stream.Header(); md == nil {
				t.Fatal(md, err)
			}
		}
		if m, err := stream.Recv(); err != nil || m.GetMessage() != "Hello Ann #1" {
			t.Errorf("header %v: %v, %v", header, m, err)
		}
		for err == nil {
			_, err = stream.Recv()
		}
	}
}

// lines gets each line of a log.
type lines func(string)

func (l lines) Write(line []byte) (int, error) {
	l(string(line))
	return len(line), nil
}

// TestMessageThatCannotBeKept commits the stream: nothing of it may be sent again as another
// message, nor left out.
func TestMessageThatCannotBeKept(t *testing.T) {
	s := newSuite(t, interceptors.WithPolicy(quick))
	attempts := 0
	stream, err := s.StreamClientInterceptor()(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, nil, helloBidi,
		func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			attempts++
			// No codec is asked beneath, which a transforming interceptor may see to.
			return &silent{inner{ctx: ctx, recv: func(any) error { return fails(codes.Unavailable).err }}}, nil
		})
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.SendMsg(&note{"of a type that nobody here can copy"}); err != nil {
		t.Fatal(err)
	}
	err = stream.RecvMsg(&note{})
	if wantCode(t, err, codes.Unavailable); attempts != 1 {
		t.Errorf("%d attempts, want 1", attempts)
	}
}

// silent is an inner stream that has no header.
type silent struct{ inner }

func (*silent) Header() (metadata.MD, error) { return nil, nil }
