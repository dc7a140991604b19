package interceptors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/astra-grpc/astra/interceptors"
)

func TestFallbackAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var errs []error
		s := newSuite(t,
			interceptors.WithFallback("*", func(context.Context, string, any, any, error) error {
				t.Error("a wider pattern's fallback was asked")
				return nil
			}),
			interceptors.WithFallback("/helloworld.Greeter/*", func(_ context.Context, m string, req, reply any, err error) error {
				errs = append(errs, err)
				out := reply.(*wrapperspb.StringValue)
				if out.Value != "" {
					t.Errorf("the reply still holds %q from a failed attempt", out.Value)
				}
				if m != method || req.(*wrapperspb.StringValue).Value != "ask" {
					t.Errorf("asked for %s, %v", m, req)
				}
				out.Value = "cached"
				return nil
			}))
		down := play(step{err: fails(codes.Unavailable).err, do: func(_ context.Context, reply any) { reply.(*wrapperspb.StringValue).Value = "half" }})
		var reply *wrapperspb.StringValue
		invoke := func() error {
			reply = wrapperspb.String("")
			return s.UnaryClientInterceptor()(context.Background(), method, wrapperspb.String("ask"), reply, nil, down.invoke)
		}
		if err := invoke(); err != nil || reply.Value != "cached" {
			t.Fatalf("%v, %q", err, reply.Value)
		}
		if len(errs) != 1 || errs[0] != down.steps[0].err {
			t.Fatalf("got %v, want the real error", errs)
		}
		for range 7 { // failed calls count against the server, rescued or not
			_ = invoke()
		}
		if last := errs[len(errs)-1]; !errors.Is(last, interceptors.ErrBreakerOpen) {
			t.Fatalf("got %v, want the refusal", last)
		}
	})
}

func TestFallbackOwnErrorAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := errors.New("nothing cached")
		var panics any
		s := newSuite(t, interceptors.WithFallback(method, func(context.Context, string, any, any, error) error {
			if panics != nil {
				panic(panics)
			}
			return own
		}))
		if err := call(s, play(fails(codes.NotFound))); err != own {
			t.Errorf("error %v, want the fallback's own", err)
		}
		panics = "in the fallback"
		defer func() {
			if got := recover(); got != panics {
				t.Errorf("recovered %v, want the fallback's panic", got)
			}
		}()
		_ = call(s, play(fails(codes.NotFound)))
	})
}

func TestFallbackAndTheCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s := newSuite(t,
			interceptors.WithPolicy(interceptors.Policy{Timeout: time.Second}),
			interceptors.WithFallback("*", func(ctx context.Context, _ string, _, _ any, _ error) error {
				asked++
				return ctx.Err()
			}))
		if err := call(s, play(step{hang: true})); err != nil || asked != 1 {
			t.Errorf("after the policy's Timeout: asked %d times, %v; want the caller's context, alive", asked, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(ms, cancel)
		wantCode(t, callWith(ctx, s, play(step{hang: true})), codes.Canceled)
		if asked != 1 {
			t.Error("asked for a caller who has gone")
		}
		if err := call(s, play(step{})); err != nil || asked != 1 {
			t.Error("asked after a success")
		}
	})
}
