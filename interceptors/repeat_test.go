package interceptors_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/astra-grpc/astra/examples/greeter/greeterpb"
	"github.com/astra-grpc/astra/interceptors"
	"github.com/astra-grpc/astra/internal/flakyserver"
	"github.com/astra-grpc/astra/jitter"
)

// TestRepeat: how often a server sees a request, by what became of it and by
// what the policy lets be repeated.
func TestRepeat(t *testing.T) {
	soon := jitter.Backoff{Base: ms, Max: ms}
	policies := map[string]interceptors.Policy{
		"default":  {Breaker: interceptors.Breaker{Disabled: true}},
		"unsent":   {Retry: interceptors.Retry{Repeat: interceptors.RepeatUnsent, Backoff: soon}},
		"answered": {Retry: interceptors.Retry{Repeat: interceptors.RepeatAnswered, Backoff: soon}},
		"any":      {Retry: interceptors.Retry{Repeat: interceptors.RepeatAny, Backoff: soon}},
		"asked":    {Retry: interceptors.Retry{Backoff: soon}},
	}
	for _, tc := range []struct {
		name string
		step flakyserver.Step
		want map[string]int // attempts that the server sees
	}{
		{"connection cut", flakyserver.Reset(), map[string]int{"default": 1, "unsent": 1, "answered": 1, "any": 2, "asked": 2}},
		{"server says UNAVAILABLE", flakyserver.Fail(codes.Unavailable, "scripted"), map[string]int{"default": 2, "unsent": 1, "answered": 2, "any": 2, "asked": 2}},
		{"server says DEADLINE_EXCEEDED", flakyserver.Fail(codes.DeadlineExceeded, "scripted"), map[string]int{"default": 1, "unsent": 1, "answered": 1, "any": 2, "asked": 2}},
		{"server says when, limited", flakyserver.Fail(codes.ResourceExhausted, "scripted").RetryInfo(ms), map[string]int{"default": 2, "unsent": 1, "answered": 2, "any": 2, "asked": 2}},
	} {
		for name, p := range policies {
			t.Run(tc.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := overTCP(t, interceptors.WithMethodPolicy(helloClient, p), interceptors.WithMethodPolicy(helloServer, p), interceptors.WithMethodPolicy(method, p))
				for method, run := range map[string]func() error{
					helloClient: func() error {
						st, err := w.SayHelloClientStream(within(t))
						if err == nil {
							_ = st.Send(&greeterpb.HelloRequest{Name: "Ann"})
							_, err = st.CloseAndRecv()
						}
						return err
					},
					helloServer: func() error {
						st, err := w.SayHelloServerStream(within(t), &greeterpb.HelloRequest{Name: "Ann"})
						if err == nil {
							_, err = st.Recv()
						}
						return err
					},
					method: func() error {
						_, err := w.say(within(t))
						return err
					},
				} {
					want := tc.want[name]
					if method == "/helloworld.Greeter/SayHello" && name == "default" {
						want = tc.want["any"] // it is declared NO_SIDE_EFFECTS
					}
					w.Script(method, tc.step, flakyserver.OK())
					err := run()
					if got := len(w.Attempts(method)); got != want {
						t.Errorf("%s: %d attempts at the server, want %d", method, got, want)
					}
					if ok := err == nil; ok != (want == 2) {
						t.Errorf("%s: the caller gets %v", method, err)
					}
				}
			})
		}
	}
}

// TestRepeatOfAConnectionRefused: what never left is repeated, whoever asked.
func TestRepeatOfAConnectionRefused(t *testing.T) {
	server, err := flakyserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	w := dialSuite(t, server, newSuite(t, interceptors.WithMethodPolicy(method, interceptors.Policy{
		Retry: interceptors.Retry{Repeat: interceptors.RepeatUnsent, Backoff: jitter.Backoff{Base: ms, Max: ms}},
	})), grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		n++
		return invoker(ctx, method, req, reply, cc, opts...)
	}))
	w.Close()
	if _, err := w.say(within(t)); err == nil || n != 3 {
		t.Errorf("%v after %d attempts, want an error after 3", err, n)
	}
}

// TestRepeatText: the names are those of policy files.
func TestRepeatText(t *testing.T) {
	for r := interceptors.RepeatAuto; r <= interceptors.RepeatAny; r++ {
		text, err := r.MarshalText()
		var back interceptors.Repeat
		if err != nil || back.UnmarshalText(text) != nil || back != r || string(text) != r.String() {
			t.Errorf("%v becomes %q, then %v (%v)", uint8(r), text, back, err)
		}
	}
	if err := new(interceptors.Repeat).UnmarshalText([]byte("always")); err == nil {
		t.Error("always is accepted")
	}
	if _, err := interceptors.Repeat(4).MarshalText(); err == nil {
		t.Error("4 has a text")
	}
}
