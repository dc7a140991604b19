package flakyserver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
)

const (
	hello       = greeterpb.Greeter_SayHello_FullMethodName
	helloServer = greeterpb.Greeter_SayHelloServerStream_FullMethodName
	helloClient = greeterpb.Greeter_SayHelloClientStream_FullMethodName
	helloBidi   = greeterpb.Greeter_SayHelloBidi_FullMethodName
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a server and a client of it.
type rig struct {
	*Server
	t      *testing.T
	ctx    context.Context
	cc     *grpc.ClientConn
	client greeterpb.GreeterClient
}

// over runs a test over TCP and in memory.
func over(t *testing.T, test func(*rig), opts ...Option) {
	t.Helper()
	t.Run("TCP", func(t *testing.T) {
		s, err := Start(opts...)
		if err != nil {
			t.Fatal(err)
		}
		test(newRig(t, s, 20*time.Second))
	})
	t.Run("buffer", func(t *testing.T) { test(newRig(t, StartBuffer(opts...), 20*time.Second)) })
}

// bubble runs a test in memory and on virtual time.
func bubble(t *testing.T, test func(*rig), opts ...Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(newRig(t, StartBuffer(opts...), 1000*time.Hour)) })
}

// newRig ends a test that hangs after the time given.
func newRig(t *testing.T, s *Server, hangs time.Duration) *rig {
	t.Helper()
	t.Cleanup(s.Close)
	cc, err := s.Dial(grpc.WithDisableRetry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	t.Cleanup(cancel)
	return &rig{Server: s, t: t, ctx: ctx, cc: cc, client: greeterpb.NewGreeterClient(cc)}
}

// say calls SayHello and returns the greeting.
func (r *rig) say(opts ...grpc.CallOption) (string, error) {
	reply, err := r.client.SayHello(r.ctx, &greeterpb.HelloRequest{Name: "Ann"}, opts...)
	return reply.GetMessage(), err
}

func (r *rig) wantSay(want codes.Code) {
	r.t.Helper()
	if _, err := r.say(); status.Code(err) != want {
		r.t.Errorf("SayHello: %v, want %v", err, want)
	}
}

func (r *rig) await(cond func() bool) {
	r.t.Helper()
	if err := r.Await(r.ctx, cond); err != nil {
		r.t.Fatalf("await: %v", err)
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("got %v, want %v", err, want)
	}
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// must returns v, or fails the test if there is an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func request(name string) *greeterpb.HelloRequest { return &greeterpb.HelloRequest{Name: name} }
